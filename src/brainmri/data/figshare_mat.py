"""The layout `figshare-mat`: the tumour slices of Jun Cheng as figshare has them, one MATLAB v7.3 (HDF5) file a slice.

Each file holds the struct `cjdata`: `image` (int16), `label` (1, 2, 3), `PID` (the patient, as the codes of letters)
and `tumorMask`; `cvind.mat` holds one of five folds for each slice, in the order of the files' numbers.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainmri.data.masks import polygons_of
from brainmri.data.pseudonyms import pseudonym
from brainmri.io.decode import RejectedImage
from brainmri.io.intensity import grey, head_range
from brainmri.io.limits import MAX_PIXELS, is_too_long
from brainmri.io.read import CheckedImage, checked_png

if TYPE_CHECKING:
    import h5py

SUFFIX, FOLDS = ".mat", "cvind.mat"
STARTS = b"MATLAB 7.3 MAT-file"
LABELS = {1: "meningioma", 2: "glioma", 3: "pituitary"}
TEST_FOLD = 5
LONGEST_ID = 64  # letters


def is_matlab(file: Path) -> bool:
    """Whether a file is a MATLAB file of this kind, by its first bytes."""
    if file.suffix.lower() != SUFFIX or not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(len(STARTS)) == STARTS


def mat_table(source: Path, files: list[Path]) -> pd.DataFrame:
    """The table of the slices among `files`, which lie in `source`: path, label, source_split, group and site.

    The group stands for the patient under a key that is made here and kept nowhere. Where `cvind.mat` lies there and
    fits, fold 5 is the source's test split. A file that cannot be read is listed without a label.
    """
    key = secrets.token_bytes(32)
    slices = sorted((file for file in files if file.suffix.lower() == SUFFIX and file.name != FOLDS), key=_number)
    rows = []
    for file in slices:
        try:
            with _opened(file) as data:
                label, patient = LABELS[_label(data)], _patient(data)
        except RejectedImage:
            label, patient = "", ""  # `mat_image` says why
        group = pseudonym(key, patient) if patient else ""
        rows.append((file.relative_to(source).as_posix(), label, "", group, ""))
    table = pd.DataFrame(rows, columns=["path", "label", "source_split", "group", "site"])
    folds = _folds([file for file in files if file.name == FOLDS])
    if len(folds) == len(table):
        table["source_split"] = np.where(folds == TEST_FOLD, "test", "train")
    return table.sort_values("path", ignore_index=True)


def mat_image(file: Path) -> CheckedImage:
    """The slice in a file, scaled from its robust range (`brainmri.io.intensity`) to 8 bits.

    Raises:
        RejectedImage: if the file is broken, of another kind, or its label or image cannot be used.
    """
    with _opened(file) as data:
        _label(data)
        values = _array(data, "image")
    if not np.isfinite(values).all():
        raise RejectedImage("holds values that are no numbers (NaN) or infinite")
    limits = head_range(values)
    if limits is None:
        raise RejectedImage(f"blank: every pixel is {values.flat[0]:g}")
    return checked_png(grey(values, *limits), "MATLAB", file.stat().st_size)


def mat_outlines(source: Path, paths: list[str]) -> pd.DataFrame:
    """The masks as polygons: a row of path and polygon for each part of a mask."""
    rows = []
    for path in paths:
        try:
            with _opened(source / path) as data:
                mask = _array(data, "tumorMask") > 0
        except RejectedImage:
            continue  # the file, or its mask, cannot be read: it has no outline
        rows += [(path, polygon) for polygon in polygons_of(mask)]
    return pd.DataFrame(rows, columns=["path", "polygon"])


@contextmanager
def _opened(file: Path) -> Iterator[h5py.Group]:
    """`cjdata` of a file; whatever is wrong with it is a RejectedImage."""
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            if not isinstance(opened.get("cjdata"), h5py.Group):
                raise RejectedImage("a MATLAB file without the struct cjdata")
            yield opened["cjdata"]
    except RejectedImage:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise RejectedImage("broken MATLAB file, or none of version 7.3") from error


def _label(data: h5py.Group) -> int:
    label = data["label"]
    found = int(label[()].flat[0]) if label.size == 1 else 0
    if found not in LABELS:
        raise RejectedImage(f"the label {found} is none of {', '.join(map(str, LABELS))}")
    return found


def _patient(data: h5py.Group) -> str:
    codes = data["PID"]
    return "".join(chr(int(code)) for code in codes[()].flat) if codes.size <= LONGEST_ID else ""


def _array(data: h5py.Group, name: str) -> NDArray[np.number]:
    """A matrix, its rows as rows: MATLAB stores them as columns."""
    stored = data[name]
    if stored.ndim != 2 or stored.size > MAX_PIXELS or is_too_long(*stored.shape):
        raise RejectedImage(f"{name} has the shape {stored.shape}: no image that is read")
    return np.asarray(stored[()]).T


def _folds(files: list[Path]) -> NDArray[np.int64]:
    """The numbers in `cvind.mat`, 1 to 5; none without the file, or if it holds something else."""
    import h5py

    if len(files) != 1:
        return np.empty(0, np.int64)
    try:
        with h5py.File(files[0], "r") as opened:
            folds = np.asarray(opened["cvind"]).reshape(-1).astype(np.int64)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return np.empty(0, np.int64)
    return folds if np.isin(folds, range(1, TEST_FOLD + 1)).all() else np.empty(0, np.int64)


def _number(file: Path) -> tuple[int, str]:
    return int(file.stem) if file.stem.isdigit() else -1, file.name
