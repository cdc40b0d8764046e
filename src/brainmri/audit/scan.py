"""The pictures of one or two data sets in any layout, as one table to look for repetitions in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from brainmri.data.checking import Checked, check_files
from brainmri.data.layouts import detect_layout, read_layout
from brainmri.data.storage import telling_of_space


@dataclass(frozen=True)
class Scan:
    """What was read.

    table: a row for each usable picture: `file_name` (relative to its data set), `label`, `part` (its split, or the
    data set's name where it has no splits or is the second one), `other` (whether it is of the second data set),
    `pixels` (hash of the decoded pixels), `format` and `bytes` of its file, and `path` (the picture alone, in a file of
    its own). thumbnails, contents: uint8 (N, 64, 64), in the same order: whole pictures, and without their borders.
    rejected: `file_name` and `reason` of the files of both that are no pictures.
    """

    name: str
    against: str | None
    table: pd.DataFrame
    thumbnails: np.ndarray
    contents: np.ndarray
    rejected: pd.DataFrame


def scan(source: Path, against: Path | None, folder: Path, names: Sequence[str] = ()) -> Scan:
    """Read every picture of `source` and, if given, of a second data set. Neither is changed.

    folder: an empty one, where a copy of every picture is put; it must stay as long as the scan is used. names: of the
    data sets, in the place of those of their folders.

    Raises:
        ValueError: if one of them has no known layout, or no usable picture.
        OSError: if there is no space in `folder`; says how much there is.
    """
    called = list(names) or [set_name(source)] + ([set_name(against)] if against else [])
    with telling_of_space(folder, instead="set TMPDIR to a folder on another disk"):
        parts = [_read(source, folder / "own", called[0], other=False)]
        if against:
            parts.append(_read(against, folder / "other", called[1], other=True))
    tables, checked = zip(*parts, strict=True)
    return Scan(
        name=called[0],
        against=called[1] if against else None,
        table=pd.concat(tables, ignore_index=True),
        thumbnails=np.concatenate([one.thumbnails for one in checked]),
        contents=np.concatenate([one.contents for one in checked]),
        rejected=pd.concat([one.rejected for one in checked], ignore_index=True).rename(columns={"path": "file_name"}),
    )


def set_name(source: Path) -> str:
    """What a data set is called: its folder, or its table without the suffix."""
    return source.resolve().stem if source.is_file() else source.resolve().name


def _read(source: Path, folder: Path, name: str, *, other: bool) -> tuple[pd.DataFrame, Checked]:
    layout = detect_layout(source)
    root = source.parent if source.is_file() else source
    folder.mkdir()
    checked = check_files(root, read_layout(source, layout), layout, folder)
    rows = checked.usable
    table = rows[["path", "label", "pixels", "format", "bytes"]].rename(columns={"path": "file_name"})
    table["part"] = name if other else rows["source_split"].where(rows["source_split"] != "", name)
    table["other"] = other
    table["path"] = rows["staged"]
    return table, checked
