"""`patients.html`: every patient's answer with the slices that carry it, the most suspicious patient first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from PIL import Image

from brainmri.evaluation.pooling import slice_names
from brainmri.io.inputs import Rejected
from brainmri.reporting.html import write_page
from brainmri.wording import POOLING, RESEARCH_ONLY

if TYPE_CHECKING:
    from brainmri.evaluation.pooling import PatientPrediction
    from brainmri.io.inputs import Input

SHOWN = 6  # slices of a patient
SIDE = 320  # pixels of a picture, at most
PICTURES = "slices"


@dataclass(frozen=True)
class ShownSlice:
    """A slice on the page.

    Attributes:
        name: its plane and number, or its file.
        picture: where it lies, relative to the page; None where it cannot be read any more.
        label: its likeliest class. tumour: its tumour probability, or None. share: its part of the answer. Both 0..1.
        outside: whether it is out of distribution.
    """

    name: str
    picture: str | None
    label: str
    tumour: float | None
    share: float
    outside: bool


def write_patient_page(
    folder: Path, model: str, patients: Mapping[str, PatientPrediction], inputs: Iterable[Input]
) -> Path:
    """Write `patients.html` and the pictures that it shows into `folder`, which is made if need be.

    The slices are read again, one scan in memory at a time.

    Args:
        model: its name.
        patients: the answer of each.
        inputs: where their slices come from.
    """
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    order = sorted(patients, key=lambda one: -(patients[one].tumour_probability or 0.0))
    first = {name: _first(patients[name].slices) for name in order}
    pictures = _pictures(folder, order, first, inputs)
    return write_page(
        folder / "patients.html",
        "patients_page.html.jinja",
        model=model,
        patients=[(name, patients[name], POOLING[patients[name].pooling]) for name in order],
        slices={name: _shown(first[name], pictures) for name in order},
        limits=[RESEARCH_ONLY],
    )


def _first(slices: pd.DataFrame) -> pd.DataFrame:
    """The first rows, named: those of the largest shares, and then the most suspicious ones."""
    named = slices.assign(name=slice_names(slices))
    return named.sort_values("share", ascending=False, kind="stable").head(SHOWN)


def _pictures(
    folder: Path, order: list[str], first: Mapping[str, pd.DataFrame], inputs: Iterable[Input]
) -> dict[tuple[str, int], str]:
    """Write the pictures; returns where each lies, by the path and number of its slice."""
    found: dict[tuple[str, int], str] = {}
    wanted = {
        (path, index): number
        for number, name in enumerate(order)
        for path, index in zip(first[name]["path"], first[name]["slice"], strict=True)
    }
    files = {path for path, _ in wanted}
    for one in inputs:
        if not files & {one.path, *(part.name for part in one.parts)}:
            continue
        scan = one.open()
        if isinstance(scan, Rejected):
            continue
        for index, path in enumerate(one.files(scan)):
            if (path, index) not in wanted:
                continue
            picture = scan.image(scan.planes[0], index)
            picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            place = f"{PICTURES}/{wanted[path, index]:05d}-{len(found):06d}.jpg"
            picture.save(folder / place, quality=90)
            found[path, index] = place
    return found


def _shown(rows: pd.DataFrame, pictures: Mapping[tuple[str, int], str]) -> list[ShownSlice]:
    tumour = rows["tumour_probability"] if "tumour_probability" in rows else [None] * len(rows)
    columns = (rows["path"], rows["slice"], rows["name"], rows["predicted"], tumour, rows["share"])
    return [
        ShownSlice(name, pictures.get((path, index)), label, suspicion, share, bool(outside))
        for path, index, name, label, suspicion, share, outside in zip(
            *columns, rows["out_of_distribution"], strict=True
        )
    ]
