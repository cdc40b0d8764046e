"""The layout `npz`: train_data.npz and test_data.npz, each with pictures `X` and labels `Y`.

The pictures are read one after the other from the archive, so that a file larger than the memory can be prepared.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from brainmri.data.bounds import MAX_PIXELS, is_too_long
from brainmri.data.tables import COLUMNS

NPZ_FILES = ("train_data.npz", "test_data.npz")
BINARY_CLASSES = ("notumor", "tumor")  # what 0 and 1 in Y mean


def read_npz_table(source: Path) -> pd.DataFrame:
    """The table of both files; the paths are like "train_data.npz#17".

    Labels may be 0/1 (`BINARY_CLASSES`), one-hot over these two, or texts; with shape (N,) or (N, 1), or (N, 2) for
    one-hot.

    Raises:
        ValueError: if a file or an array is missing, needs pickle, or has another shape or type than expected, or
            holds pictures that are too large.
    """
    tables = []
    for name, split in zip(NPZ_FILES, ("train", "test"), strict=True):
        if not (source / name).is_file():
            raise ValueError(f"{source}: the layout npz needs {' and '.join(NPZ_FILES)}, but there is no {name}")
        with _member(source / name, "X") as (_, shape, dtype):
            if len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)):
                raise ValueError(
                    f"{name}: X has the shape {shape}, expected (N, height, width) or (N, height, width, 1 or 3)"
                )
            if shape[1] * shape[2] > MAX_PIXELS or is_too_long(shape[2], shape[1]):
                raise ValueError(f"{name}: X holds pictures of {shape[2]}x{shape[1]} pixels, which is too large")
            if dtype != np.uint8 and dtype.kind != "f":
                raise ValueError(f"{name}: X holds {dtype}, expected uint8, or float from 0 to 1")
        labels = _labels(source / name)
        if shape[0] != len(labels):
            raise ValueError(f"{name}: X has {shape[0]} pictures but Y has {len(labels)} labels")
        paths = [f"{name}#{row}" for row in range(len(labels))]
        tables.append(pd.DataFrame({"path": paths, "label": labels, "source_split": split, "group": "", "site": ""}))
    return pd.concat(tables)[list(COLUMNS)].sort_values("path", ignore_index=True)


def npz_pictures(file: Path) -> Iterator[np.ndarray]:
    """The pictures of `X` in order: (height, width) or (height, width, channels), in the type of the array."""
    with _member(file, "X") as (stream, shape, dtype):
        size = int(np.prod(shape[1:])) * dtype.itemsize
        for row in range(shape[0]):
            data = stream.read(size)
            if len(data) < size:
                raise ValueError(f"{file.name}: X is cut off at picture {row} of {shape[0]}")
            yield np.frombuffer(data, dtype).reshape(shape[1:])


def _labels(file: Path) -> list[str]:
    with _member(file, "Y") as (stream, shape, dtype):
        values = np.frombuffer(stream.read(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind == "U" and values.ndim == 1:
        return [str(value).strip() for value in values]
    if dtype.kind not in "buif" or values.ndim not in (1, 2):
        raise ValueError(
            f"{file.name}: Y holds {dtype} of shape {shape}, expected N numbers, N texts, or (N, 2) one-hot"
        )
    if values.ndim == 2:
        if values.shape[1] != len(BINARY_CLASSES) or not (np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all()):
            raise ValueError(
                f"{file.name}: Y has the shape {shape} but is not one-hot over {len(BINARY_CLASSES)} classes"
            )
        values = values.argmax(1)
    if not np.isin(values, (0, 1)).all():
        found = ", ".join(f"{value:g}" for value in np.unique(values)[:6])
        raise ValueError(
            f"{file.name}: Y holds the numbers {found}; names are known for 0 (notumor) and 1 (tumor) only: "
            "save the class names as texts instead"
        )
    return [BINARY_CLASSES[int(value)] for value in values]


@contextmanager
def _member(file: Path, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype]]:
    """A stream that stands at the first value of an array inside an .npz, with the shape and type of the array."""
    try:
        with zipfile.ZipFile(file) as archive:
            if f"{name}.npy" not in archive.namelist():
                found = ", ".join(entry.removesuffix(".npy") for entry in archive.namelist()) or "nothing"
                raise ValueError(f"{file.name}: no array {name} in it; it holds {found}")
            with archive.open(f"{name}.npy") as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(stream)
                if dtype.hasobject:
                    raise ValueError(
                        f"{file.name}: {name} holds Python objects, which are never unpickled: save plain numbers"
                    )
                if fortran and len(shape) > 1:
                    raise ValueError(
                        f"{file.name}: {name} is stored column by column: save np.ascontiguousarray({name})"
                    )
                yield stream, shape, dtype
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file.name} is not a whole .npz file: {error}") from error
