"""Robustness: the same images, corrupted in seven ways at five strengths; and accuracy by class and site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from brainmri.data.dataset import class_without_tumour
from brainmri.data.splits import part_by_group
from brainmri.io.read import prepared_image
from brainmri.metrics.bootstrap import group_bootstrap, group_bootstrap_mean
from brainmri.metrics.detection import operating_point
from brainmri.schemas import (
    CorruptionKind,
    DrawnImages,
    GroupAccuracies,
    GroupAccuracy,
    OperatingPoint,
    RobustnessResult,
    RobustnessRow,
    ScoredModelAndData,
    WorstGroups,
)
from brainmri.transforms.corruptions import CORRUPTIONS, STRENGTHS, Pixels, corrupted

if TYPE_CHECKING:
    from brainmri.data.dataset import PreparedData
    from brainmri.evaluation.class_mapping import ClassMatch
    from brainmri.evaluation.evaluate import Evaluation
    from brainmri.evaluation.scored import ScoredModel

CLEAN = "clean"
SEED = 0  # of drawing images


@dataclass(frozen=True)
class RobustnessStudy:
    """contents: of `robustness.json`. example: one of the drawn images, and its file name, to show."""

    contents: RobustnessResult
    example: Pixels
    example_name: str


def robustness_study(
    subject: ScoredModel, data: PreparedData, match: ClassMatch, evaluation: Evaluation, *, images: int, batch_size: int
) -> RobustnessStudy:
    """Corrupt about `images` of the images that `evaluation` scored, and classify them again.

    Args:
        evaluation: of this subject on these data; what it answered to the images as they are is taken from there.
        images: how many to corrupt; whole groups of them are drawn, each class in its share.

    Raises:
        ValueError: if the subject is a table of predictions.
    """
    classify = check_subject(subject)
    scored = evaluation.predictions[["file_name", "group_id", "label"]].reset_index(drop=True)
    sites = dict(zip(data.index["file_name"], data.index["site"], strict=True))
    answers = evaluation.probabilities.argmax(1)
    scored = scored.assign(site=scored["file_name"].map(sites), right=answers == evaluation.labels)

    drawn = drawn_by_group(scored, images)
    table, labels, clean = scored[drawn], evaluation.labels[drawn], answers[drawn]
    again = corrupted_answers(
        lambda drawn: match.scored(classify(drawn)).argmax(1),
        data.root,
        table["file_name"].tolist(),
        batch_size=batch_size,
    )
    rows = [row(CLEAN, 0, clean, clean, table, labels, match.classes)]
    for kind, strengths in again.items():
        rows += [row(kind, k, one, clean, table, labels, match.classes) for k, one in enumerate(strengths, 1)]

    shared = {name: getattr(evaluation.contents, name) for name in ScoredModelAndData.model_fields}
    contents = RobustnessResult(
        **shared,
        images=DrawnImages(scored=len(scored), drawn=len(table), statement=_statement(scored, table)),
        corruptions={
            kind: CorruptionKind(unit=one.unit, values=list(one.values), meaning=one.meaning)
            for kind, one in CORRUPTIONS.items()
        },
        majority=float(np.bincount(labels).max() / len(labels)),
        rows=rows,
        groups=worst_groups(scored),
    )
    name = table["file_name"].iloc[0]
    return RobustnessStudy(contents, read_image(data.root / name), name)


def check_subject(subject: ScoredModel) -> Callable[[list[Image.Image]], NDArray[np.float64]]:
    """How the subject classifies images.

    Raises:
        ValueError: if it is a table of predictions, which cannot.
    """
    if subject.classify is None:
        raise ValueError(
            f"{subject.name} holds answers to the images as they are: --robustness needs the model itself, to show it "
            "corrupted ones"
        )
    return subject.classify


def drawn_by_group(table: pd.DataFrame, images: int) -> NDArray[np.bool_]:
    """Which rows of `table` (file_name, label, group_id) are drawn: whole groups, about `images` images in all, about
    the same share of every class; always the same ones, whatever the order of the rows. All, where there are no more or
    each class is a single group."""
    if images >= len(table) or table.groupby("label")["group_id"].nunique().max() < 2:
        return np.ones(len(table), dtype=bool)
    part = part_by_group(table.sort_values("file_name"), images / len(table), SEED)
    return part.reindex(table.index).to_numpy(dtype=bool)


def corrupted_answers(
    answer: Callable[[list[Image.Image]], NDArray[np.int64]], root: Path, names: list[str], *, batch_size: int
) -> dict[str, NDArray[np.int64]]:
    """What `answer` (RGB images to class numbers) says to every corruption of the images `names`: (5, N) for each
    kind. Every file is read once."""
    answers = {kind: np.empty((STRENGTHS, len(names)), dtype=np.int64) for kind in CORRUPTIONS}
    total = len(names) * len(CORRUPTIONS) * STRENGTHS
    with tqdm(total=total, desc="robustness", unit="image", disable=None) as progress:
        for start in range(0, len(names), batch_size):
            some = names[start : start + batch_size]
            drawn = [read_image(root / name) for name in some]
            for kind in CORRUPTIONS:
                for strength in range(1, STRENGTHS + 1):
                    worse = [corrupted(one, kind, strength, name) for one, name in zip(drawn, some, strict=True)]
                    found = answer([Image.fromarray(one).convert("RGB") for one in worse])
                    answers[kind][strength - 1, start : start + len(some)] = found
                    progress.update(len(some))
    return answers


def read_image(path: Path) -> Pixels:
    """An image of a prepared set: uint8 (H, W) of a grey one, else (H, W, 3)."""
    return np.array(prepared_image(path))


def row(
    kind: str,
    strength: int,
    answers: NDArray[np.int64],
    clean: NDArray[np.int64],
    table: pd.DataFrame,
    labels: NDArray[np.int64],
    classes: list[str],
) -> RobustnessRow:
    """The figures of one corruption at one strength. Every share has its 95 % interval, resampled by group.

    Args:
        answers, clean, labels: (N,) class numbers: what was said, what was said to the images as they are, the truth.
        table: group_id and label of the images.
    """
    right, groups = answers == labels, table["group_id"].to_numpy(dtype=str)
    lost = (clean == labels).astype(np.int64) - right
    lowest = worst(accuracies(table.assign(right=right), ["label"]))
    name = class_without_tumour(classes)
    told = OperatingPoint()
    if name is not None:
        negative = classes.index(name)
        told = operating_point(answers != negative, labels != negative, np.ones(len(labels), dtype=bool), groups)
    return RobustnessRow(
        kind=kind,
        strength=strength,
        value=CORRUPTIONS[kind].values[strength - 1] if strength else None,
        unit=CORRUPTIONS[kind].unit if strength else None,
        n=len(labels),
        groups=len(np.unique(groups)),
        accuracy=float(right.mean()),
        accuracy_ci95=group_bootstrap(right, groups.tolist()),
        drop=float(lost.mean()) if strength else None,
        drop_ci95=difference_interval(lost, groups.tolist()) if strength else None,
        changed=int((answers != clean).sum()),
        tumours=told.tumours,
        others=told.others,
        sensitivity=told.sensitivity,
        sensitivity_ci95=told.sensitivity_ci95,
        specificity=told.specificity,
        specificity_ci95=told.specificity_ci95,
        worst_class=lowest.label if lowest else None,
        worst_class_n=lowest.n if lowest else None,
        worst_class_accuracy=lowest.accuracy if lowest else None,
        worst_class_accuracy_ci95=lowest.accuracy_ci95 if lowest else None,
    )


def difference_interval(differences: NDArray[np.int64], groups: list[str]) -> list[float] | None:
    """95 % interval of the mean of (N,) differences, each -1, 0 or 1, resampled by group; None for a single group.

    Where all are equal the bootstrap would claim certainty. Then it is told how many groups, of as many as these, may
    differ all the same: the exact binomial bound, to both sides of no difference.
    """
    first = int(differences[0])
    if (differences != first).any():
        return group_bootstrap_mean(differences, groups)
    exact = group_bootstrap(differences != 0, groups)
    if exact is None:
        return None
    return sorted(first * bound for bound in exact) if first else [-exact[1], exact[1]]


def _statement(scored: pd.DataFrame, drawn: pd.DataFrame) -> str:
    if len(scored) == len(drawn):
        return f"All {len(scored):,} images were corrupted."
    groups = f"{drawn['group_id'].nunique():,} whole groups of {scored['group_id'].nunique():,}"
    images = f"{len(drawn):,} of the {len(scored):,} images were drawn to be corrupted"
    return f"{images}: {groups}, classes in about their shares."


SMALLEST = 20  # images; of fewer an accuracy says too little for their group to be called the worst
PARTS = {"class": ["label"], "site": ["site"], "class_and_site": ["label", "site"]}


def worst_groups(table: pd.DataFrame) -> WorstGroups:
    """Accuracy of every class, every site and every class of every site.

    Args:
        table: a row for each image: `right` (bool), `label`, `site` ("" where it is not known), `group_id`.
    """
    known = bool((table["site"] != "").any())
    found: dict[str, GroupAccuracies | None] = {}
    for part, columns in PARTS.items():
        entries = accuracies(table, columns) if known or "site" not in columns else None
        found[part] = None if entries is None else GroupAccuracies(all=entries, worst=worst(entries))
    return WorstGroups.model_validate({"smallest": SMALLEST, **found})


def accuracies(table: pd.DataFrame, columns: list[str]) -> list[GroupAccuracy]:
    """One entry for each value of `columns` (`label` and/or `site`) that occurs.

    It is `judged` where it has images enough, and two groups, to be called the worst.
    """
    entries = []
    for values, rows in table.groupby(columns):
        interval = group_bootstrap(rows["right"], rows["group_id"].tolist())
        entries.append(
            GroupAccuracy(
                **dict(zip(columns, map(str, values), strict=True)),
                n=len(rows),
                groups=int(rows["group_id"].nunique()),
                accuracy=float(rows["right"].mean()),
                accuracy_ci95=interval,
                judged=len(rows) >= SMALLEST and interval is not None,
            )
        )
    return entries


def worst(entries: list[GroupAccuracy]) -> GroupAccuracy | None:
    """The judged entry of the lowest accuracy; None where none is judged."""
    return min((one for one in entries if one.judged), key=lambda one: one.accuracy, default=None)
