"""The pictures of one or two data sets in any layout, as one table to look for repetitions in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from brainmri.data.checking import Checked, check_files
from brainmri.data.layouts import detect_layout, read_layout
from brainmri.faults import writing


@dataclass(frozen=True)
class Called:
    """What a data set and its files are called, where that is not what their folder and paths say.

    files: by the path in the folder.
    """

    name: str
    files: Mapping[str, str] = field(default_factory=dict)


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


def scan(source: Path, against: Path | None, folder: Path, called: Sequence[Called] = ()) -> Scan:
    """Read every picture of `source` and, if given, of a second data set. Neither is changed.

    folder: an empty one, where a copy of every picture is put; it must stay as long as the scan is used. called: the
    data sets and their files, in the place of the names that they have there.

    Raises:
        ValueError: if one of them has no known layout, or no usable picture.
        OSError: if there is no space in `folder`; says how much there is.
    """
    called = called or [Called(set_name(one)) for one in (source, against) if one]
    with writing(folder, instead="set TMPDIR to a folder on another disk"):
        parts = [_read(source, folder / "own", called[0], other=False)]
        if against:
            parts.append(_read(against, folder / "other", called[1], other=True))
    tables, checked = zip(*parts, strict=True)
    return Scan(
        name=called[0].name,
        against=called[1].name if against else None,
        table=pd.concat(tables, ignore_index=True),
        thumbnails=np.concatenate([one.thumbnails for one in checked]),
        contents=np.concatenate([one.contents for one in checked]),
        rejected=pd.concat([one.rejected for one in checked], ignore_index=True).rename(columns={"path": "file_name"}),
    )


def set_name(source: Path) -> str:
    """What a data set is called: its folder, or its table without the suffix."""
    return source.resolve().stem if source.is_file() else source.resolve().name


def _read(source: Path, folder: Path, called: Called, *, other: bool) -> tuple[pd.DataFrame, Checked]:
    layout = detect_layout(source)
    root = source.parent if source.is_file() else source
    folder.mkdir()
    checked = check_files(root, read_layout(source, layout), layout, folder)
    names = dict(called.files)
    for part in (checked.usable, checked.rejected):
        part["path"] = [names.get(path, path) for path in part["path"]]
    rows = checked.usable
    table = rows[["path", "label", "pixels", "format", "bytes"]].rename(columns={"path": "file_name"})
    table["part"] = called.name if other else rows["source_split"].where(rows["source_split"] != "", called.name)
    table["other"] = other
    table["path"] = rows["staged"]
    return table, checked
