"""The pictures of one or two data sets in any layout, as one table to look for repetitions in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from brainmri.data.checking import check_files
from brainmri.data.layouts import detect_layout, read_layout


@dataclass(frozen=True)
class Scan:
    """What was read.

    table: a row for each usable picture: `file_name` (relative to its data set), `label`, `part` (its split, or the
    data set's name where it has no splits or is the second one), `other` (whether it is of the second data set),
    `pixels` (hash of the decoded pixels) and `path` (the file). thumbnails: uint8 (N, 64, 64), in the same order.
    rejected: `file_name` and `reason` of the files of both that are no pictures.
    """

    name: str
    against: str | None
    table: pd.DataFrame
    thumbnails: np.ndarray
    rejected: pd.DataFrame


def scan(source: Path, against: Path | None = None) -> Scan:
    """Read every picture of `source` and, if given, of a second data set. Neither is changed.

    Raises:
        ValueError: if one of them has no known layout, or no usable picture.
    """
    names = [_name(source)] + ([_name(against)] if against else [])
    parts = [_read(source, other=None)] + ([_read(against, other=names[1])] if against else [])
    tables, thumbnails, rejected = zip(*parts, strict=True)
    return Scan(
        name=names[0],
        against=names[1] if against else None,
        table=pd.concat(tables, ignore_index=True),
        thumbnails=np.concatenate(thumbnails),
        rejected=pd.concat(rejected, ignore_index=True),
    )


def _name(source: Path) -> str:
    return source.resolve().stem if source.is_file() else source.resolve().name


def _read(source: Path, other: str | None) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    layout = detect_layout(source)
    root = source.parent if source.is_file() else source
    with TemporaryDirectory(prefix="brainmri-audit-") as folder:
        checked = check_files(root, read_layout(source, layout), layout, Path(folder))
    rows = checked.usable
    table = pd.DataFrame({"file_name": rows["path"], "label": rows["label"], "pixels": rows["pixels"]})
    table["part"] = other or rows["source_split"].where(rows["source_split"] != "", _name(source))
    table["other"] = other is not None
    table["path"] = [str(root / name) for name in rows["path"]]
    return table, checked.thumbnails, checked.rejected.rename(columns={"path": "file_name"})
