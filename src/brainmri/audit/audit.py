"""A whole audit, from one or two data sets to the folder that holds everything found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainmri.audit.duplicates import Called, example_pairs, repetitions, scan, set_name
from brainmri.audit.external import CLEAN, MATCHES, clean, matches
from brainmri.audit.label_errors import LABELS, pairs_to_see, suspicious_labels
from brainmri.audit.report import EXAMPLES, GROUPS, summary, write_page
from brainmri.audit.self_test import calibrate as calibration_of
from brainmri.audit.shortcuts import shortcuts
from brainmri.data.layouts import read_layout
from brainmri.files import digest, digest_of_files
from brainmri.reporting.plots import PAIRS, pairs_figure
from brainmri.schemas import AuditReport, write

LABELS_DRAWN = 24  # of the labels to look at again
STEPS = (
    "Reading the images",
    "Looking for repetitions",
    "Looking for shortcuts",
    "Looking at the labels",
    "Drawing pairs",
)


def inputs_digest(data: Path, against: Path | None, *, calibrate: bool) -> str:
    """The digest of all that an audit depends on: the names and the bytes of every file.

    Raises:
        ValueError: if a data set is not there.
    """
    sets = [path for path in (data, against) if path]
    if missing := next((path for path in sets if not path.exists()), None):
        raise ValueError(f"{missing} does not exist")
    if packed := next((path for path in sets if path.is_file() and path.suffix.lower() != ".csv"), None):
        raise ValueError(f"{packed} is a file, and no CSV table: unpack an archive first and give its folder")
    return digest([[set_name(path), digest_of_files(*_read(path))] for path in sets], calibrate)


def _read(data: Path) -> list[Path]:
    """What is read of a data set: its folder, or a table and the images that it names."""
    if data.is_dir():
        return [data]
    names = read_layout(data, "csv")["path"]
    return [data, *(file for file in (data.parent / name for name in names) if file.is_file())]


def _seen(paths: pd.Series) -> NDArray[np.float32] | None:
    from brainmri.audit.image_features import image_features  # late: torch takes seconds

    return image_features(paths)


def audit(
    data: Path,
    against: Path | None,
    out: Path,
    *,
    calibrate: bool = False,
    called: Sequence[Called] = (),
    tell: Callable[[str], None] = lambda step: None,
) -> AuditReport:
    """Look into `data` and, if given, for its images in `against`; write `out` and return what audit.json holds.

    Neither data set is changed, and `out` is made only once something was found: audit.json, groups.csv and labels.csv
    (of `data`), with `against` matches.csv and clean.csv (of `against`), a PNG of example pairs for each kind that has
    some, and audit.html.

    Args:
        data, against: folders in any layout, or CSV tables (see `brainmri.data.layouts.detect_layout`).
        out: the folder to write into; figures of an audit before are removed from it.
        calibrate: also measure what the audit itself finds and joins wrongly (minutes).
        called: what the data sets and their files are called, in the place of the names that they have there.
        tell: is called with each of `STEPS` as it begins.

    Raises:
        ValueError: if one of them has no known layout, or no usable image.
    """
    with TemporaryDirectory(prefix="brainmri-audit-") as folder:
        tell(STEPS[0])
        scanned = scan(data, against, Path(folder), called)
        tell(STEPS[1])
        table, copies = repetitions(scanned)
        own = table[~table["other"]]
        calibration = calibration_of(scanned) if calibrate else None
        matched = matches(scanned, table, copies)
        external = clean(table, matched)
        tell(STEPS[2])
        traits = shortcuts(own)
        tell(STEPS[3])
        suspicious, checked = suspicious_labels(own, scanned.contents[own.index], _seen)
        found = summary(scanned, table, traits, calibration, external=len(external), labels=checked)
        tell(STEPS[4])
        out.mkdir(parents=True, exist_ok=True)
        own[GROUPS].to_csv(out / "groups.csv", index=False, float_format="%.4f", lineterminator="\n")
        suspicious.to_csv(out / LABELS, index=False, float_format="%.4f", lineterminator="\n")
        for name in (MATCHES, CLEAN):
            (out / name).unlink(missing_ok=True)  # of an audit before
        if against:
            matched.to_csv(out / MATCHES, index=False, float_format="%.4f", lineterminator="\n")
            external.to_csv(out / CLEAN, index=False, lineterminator="\n")
        examples = example_pairs(scanned, table, copies, PAIRS)
        examples["labels"] = pairs_to_see(own, suspicious, LABELS_DRAWN)
        for kind, pairs in examples.items():
            file = out / f"{kind}.png"
            file.unlink(missing_ok=True)  # of an audit before
            if pairs:
                pairs_figure(pairs, table, scanned.thumbnails, file, title=EXAMPLES[kind])
    write(found, out / "audit.json")
    write_page(found, out)
    return found
