"""Whether a source and the settings of `prepare` fit each other."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from brainmri.data.checking import Checked
from brainmri.data.constants import SCANS
from brainmri.data.layouts import detect_layout
from brainmri.data.scan_files import kinds_below
from brainmri.data.scan_options import ScanOptions
from brainmri.data.tables import find_label_csv, label_tables


def layout_of(source: Path, scans: ScanOptions | None) -> str:
    """Where the settings are those of scans, a table beside them holds labels of theirs, not of images."""
    if scans is not None and source.is_dir() and find_label_csv(source):
        kinds = kinds_below(source)
        of_scans = [name for name in SCANS if name in kinds]
        if len(of_scans) == 1:
            return of_scans[0]
    return detect_layout(source)


def check_settings_of(layout: str, class_names: list[str] | None, image_root: Path | None) -> None:
    """Raises ValueError for a setting that the layout has no use for."""
    for flag, value, use in (("--class_names", class_names, "npz"), ("--image_root", image_root, "csv")):
        if value is not None and layout != use:
            raise ValueError(f"{flag} is for the layout {use}, and this source has the layout {layout}: leave it out")
    if image_root is not None and not image_root.is_dir():
        raise ValueError(f"--image_root {image_root}: no such folder")
    if class_names is not None and len(set(class_names)) < max(2, len(class_names)):
        raise ValueError(f"--class_names {' '.join(class_names)}: at least two names that differ are needed")


def site_of(holdout: str) -> str:
    column, equals, name = holdout.partition("=")
    if column != "site" or not equals or not name:
        raise ValueError(f"--holdout {holdout}: expected site=NAME")
    return name


def check_places(source: Path, root: Path, out: Path, table: pd.DataFrame) -> None:
    if source.is_relative_to(out):
        raise ValueError(f"the source {source} lies inside the output folder {out}: choose another output folder")
    if out.is_relative_to(root) and (
        source.is_dir() or any((root / path).is_relative_to(out) for path in table["path"])
    ):
        raise ValueError(
            f"the output folder {out} lies inside the source {root}, which is never changed: choose another one"
        )


def check_folders(source: Path, table: pd.DataFrame) -> None:
    """Raises ValueError where one folder of images is taken for the only class, though a table may hold the labels."""
    classes = set(table["label"]) - {""}
    if len(classes) == 1 and (tables := label_tables(source)):
        told = "; ".join(f"{name}: {columns}" for name, columns in tables.items())
        raise ValueError(
            f"only one class, {classes.pop()} (a folder of images): at least two are needed. Where a table holds the "
            f"labels, it needs the columns file_name and label; {told}"
        )


def check_classes(checked: Checked, table: pd.DataFrame) -> None:
    classes = sorted(set(checked.usable["label"]))
    if len(classes) < 2:
        lost = sorted(set(table["label"]) - {*classes, ""})
        more = f" (no usable image of {', '.join(lost)})" if lost else ""
        raise ValueError(f"only one class, {classes[0]}{more}: at least two are needed")
