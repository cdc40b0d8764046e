"""Source folders -> one table of files. Nothing is opened but tables and the headers of arrays."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from brainmri.data.constants import LAYOUTS, SCANS
from brainmri.data.figshare_mat import is_matlab, mat_table
from brainmri.data.listing import entries, list_files
from brainmri.data.scan_files import kinds_below
from brainmri.data.tables import COLUMNS, SPLIT_NAMES, find_label_csv, has_labels, label_tables, read_label_csv
from brainmri.io.limits import MAX_PIXELS, is_too_long
from brainmri.io.open import is_archive
from brainmri.io.read import IMAGE_SUFFIXES

KAGGLE_SPLITS = {"training": "train", "testing": "test"}
MRI_FOLDER = "Brain Tumor MRI images"
CT_FOLDER = "Brain Tumor CT scan Images"
TUMOR_CLASSES = ("glioma", "meningioma", "pituitary")  # in the file names of kaggle-multimodal
BOTH = "holds both DICOM and NIfTI files: say with --layout which of them is read"
LOOKED_FOR = (
    "Training/<class>/* and Testing/<class>/* (kaggle-4class); "
    f'Healthy/* and Tumor/*, here or in "{MRI_FOLDER}" (kaggle-multimodal); '
    "train_data.npz and test_data.npz (npz); "
    "MATLAB files of figshare 1512427, 1.mat and so on (figshare-mat); "
    "metadata.csv, or a single CSV, with the columns file_name and label (csv); "
    "folders of images, one for each class, or those in train/, validation/ and test/ (imagefolder); "
    "DICOM series (dicom) or NIfTI volumes (nifti) at any depth below folders of classes"
)


def detect_layout(source: Path) -> str:
    """The name of the layout of `source` (one of `LAYOUTS`), from the names in it.

    Raises:
        ValueError: if `source` does not exist or no layout fits; says what was looked for and what was found.
    """
    if source.is_file():
        if source.suffix.lower() == ".csv":
            return "csv"
        scans = sorted(set(kinds_below(source)) & set(SCANS)) if is_archive(source) else []
        if len(scans) > 1:
            raise ValueError(f"{source} {BOTH}")
        if scans:
            return scans[0]
        raise ValueError(
            f"{source} is a file: expected a folder, a ZIP file or a CSV file (for arrays, the folder that holds "
            f"{NPZ_FILES[0]})"
        )
    _check_folder(source)
    if any((source / name).is_file() for name in NPZ_FILES):
        return "npz"
    kinds = kinds_below(source)
    scans = sorted(set(kinds) & set(SCANS))
    of_scans = bool(scans) and kinds["dicom"] + kinds["nifti"] >= kinds["image"]
    kaggle = ""
    if KAGGLE_SPLITS.keys() <= _folders(source).keys():
        kaggle = "kaggle-4class"
    elif _mri_folder(source):
        kaggle = "kaggle-multimodal"
    # A download may hold a metadata.csv of its own.
    if (table := find_label_csv(source)) and (of_scans or not kaggle or has_labels(table)):
        if of_scans:
            raise ValueError(
                f"{source} holds {table.name}, a table of labels, beside scans: prepare_data --layout "
                f"{' or '.join(scans)}, with --labels {table} where the classes stand in it, keeps the slices of a "
                "patient together; --layout csv takes each file of the table for a slice of its own"
            )
        return "csv"
    if kaggle and not of_scans:
        return kaggle
    if any(
        is_matlab(file)
        for file in [*entries(source), *(one for each in _folders(source).values() for one in entries(each))]
    ):
        return "figshare-mat"
    folders = list(_folders(source).values())
    if _has_splits(source):
        folders = [inner for folder in folders if folder.name.casefold() in SPLIT_NAMES for inner in entries(folder)]
    if any(_holds_images(folder) for folder in folders if folder.is_dir()):
        if of_scans:
            raise ValueError(
                f"{source} holds images beside scans: prepare_data --layout {' or '.join(scans)} reads the DICOM or "
                "NIfTI files, --layout imagefolder takes each file for a slice of its own"
            )
        return "imagefolder"
    if len(scans) > 1:
        raise ValueError(f"{source} {BOTH}")
    if scans:
        return scans[0]
    if kinds["pair"]:
        raise ValueError(
            f"{source} holds volumes as pairs of files (.hdr and .img: Analyze, or NIfTI in two files): convert each "
            "pair to a single .nii.gz file first"
        )
    raise ValueError(f"{source}: no layout fits. Looked for: {LOOKED_FOR}. Found: {_found(source)}")


def unwrapped(source: Path) -> Path:
    """`source`, or what is in it where it holds exactly one folder, as `archive/Training/...` of a download does.

    A folder that has a layout of its own is never looked into, and none below the third.
    """
    inner = source
    for _ in range(3):
        inside = entries(inner) if inner.is_dir() else []
        if len(inside) != 1 or not inside[0].is_dir() or _has_layout(inner):
            return inner if inner == source or _has_layout(inner) else source
        inner = inside[0]
    return inner if _has_layout(inner) else source


def _has_layout(folder: Path) -> bool:
    try:
        detect_layout(folder)
    except ValueError:
        return False
    return True


def read_layout(
    source: Path, layout: str, *, class_names: Sequence[str] = (), image_root: Path | None = None
) -> pd.DataFrame:
    """The table of all files of `source`; hidden files and those that operating systems leave behind are passed over.

    Files in class folders are all listed, whatever they are; images outside the class folders are listed with an
    empty label. `kaggle-multimodal` reads the MRI half only (see `left_out`).

    Args:
        class_names: of the layout npz: what the numbers 0, 1, ... in Y mean.
        image_root: of the layout csv: the folder that its paths are relative to, or lie in; its own if None.

    Raises:
        ValueError: if `layout` is unknown or does not fit `source`, or a table or array in it is not as expected.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}: expected one of {', '.join(LAYOUTS)}")
    if layout in SCANS:
        raise ValueError(
            f"{source} holds scans (layout {layout}): take slices of them first, by brainmri prepare_data {source} "
            "OUT, and give OUT"
        )
    if layout == "csv":
        return read_label_csv(source, image_root)
    _check_folder(source)
    if layout == "npz":
        return read_npz_table(source, class_names)
    if layout == "figshare-mat":
        table = mat_table(source, list_files(source))
        if table.empty:
            raise ValueError(f"{source} holds no MATLAB files (.mat), which the layout figshare-mat needs")
        return table
    if layout == "kaggle-multimodal":
        rows = _multimodal_rows(source)
    elif layout == "kaggle-4class":
        rows = _folder_rows(source, KAGGLE_SPLITS)
    else:
        rows = _folder_rows(source, SPLIT_NAMES if _has_splits(source) else {})
    table = pd.DataFrame(rows, columns=["path", "label", "source_split"]).assign(group="", site="")
    if not (table["label"] != "").any():
        raise ValueError(
            f"{source} does not have the layout {layout}. Expected one of: {LOOKED_FOR}. Found: {_found(source)}"
        )
    return table[list(COLUMNS)].sort_values("path", ignore_index=True)


def left_out(source: Path, layout: str) -> list[str]:
    """Sentences about the parts of `source` that the layout does not read, for the terminal."""
    folder = _mri_folder(source) if layout == "kaggle-multimodal" else None
    beside = _folders(folder.parent) if folder else {}
    return [
        f'"{path.name}" is left out: this layout reads the MRI half only'
        for name, path in beside.items()
        if name == CT_FOLDER.casefold()
    ]


def _folder_rows(source: Path, splits: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """`splits`: names (case-folded) of the folders above the class folders; empty if there are none above."""
    rows = []
    for file in list_files(source):
        inner = file.relative_to(source).parts
        split = splits.get(inner[0].casefold(), "")
        if splits:
            inner = inner[1:] if split else ()
        if len(inner) >= 2:
            rows.append((file.relative_to(source).as_posix(), inner[0], split))
        elif file.suffix.lower() in IMAGE_SUFFIXES:
            rows.append((file.relative_to(source).as_posix(), "", split))
    return rows


def _multimodal_rows(source: Path) -> list[tuple[str, str, str]]:
    folder = _mri_folder(source)
    if folder is None:
        return []
    rows = []
    for file in list_files(folder):
        inner = file.relative_to(folder).parts
        part = inner[0].casefold() if len(inner) >= 2 else ""
        if part == "healthy":
            label = "healthy"
        elif part == "tumor":
            named = [name for name in TUMOR_CLASSES if name in file.stem.casefold()]
            label = named[0] if len(named) == 1 else "tumor"  # the class of tumours whose kind the name does not tell
        elif file.suffix.lower() in IMAGE_SUFFIXES:
            label = ""
        else:
            continue
        rows.append((file.relative_to(source).as_posix(), label, ""))
    return rows


def _mri_folder(source: Path) -> Path | None:
    """The folder with Healthy/ and Tumor/: `source` itself, if it has no other class, or where the archive has it."""
    inside = _folders(source)
    others = [folder for name, folder in inside.items() if name not in ("healthy", "tumor")]
    places = [None if any(map(_holds_images, others)) else source, inside.get(MRI_FOLDER.casefold())]
    if "dataset" in inside:
        places.append(_folders(inside["dataset"]).get(MRI_FOLDER.casefold()))
    return next((place for place in places if place and {"healthy", "tumor"} <= _folders(place).keys()), None)


def _folders(folder: Path) -> dict[str, Path]:
    """The folders in `folder` by their names without regard to case."""
    return {entry.name.casefold(): entry for entry in entries(folder) if entry.is_dir()}


def _has_splits(source: Path) -> bool:
    """Whether a training folder with class folders in it stands at the top."""
    return any(
        SPLIT_NAMES.get(folder.name.casefold()) == "train" and any(inner.is_dir() for inner in entries(folder))
        for folder in entries(source)
        if folder.is_dir()
    )


def _holds_images(folder: Path) -> bool:
    return any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in entries(folder))


def _check_folder(source: Path) -> None:
    if not source.is_dir():
        raise ValueError(
            f"{source} is a file: this layout needs a folder" if source.exists() else f"{source} does not exist"
        )


def _found(source: Path) -> str:
    inside = entries(source)
    folders = [f"{entry.name}/" for entry in inside if entry.is_dir()]
    files = [entry.name for entry in inside if not entry.is_dir()]
    if not inside:
        return "an empty folder"
    listed = ", ".join(folders[:8] + files[:4])
    more = ", ..." if len(folders) > 8 or len(files) > 4 else ""
    tables = "".join(f"; {name}: {columns}" for name, columns in label_tables(source).items())
    return f"{len(folders)} folders and {len(files)} files: {listed}{more}{tables}"


NPZ_FILES = ("train_data.npz", "test_data.npz")
BINARY_CLASSES = ("notumor", "tumor")  # what 0 and 1 in Y mean


def read_npz_table(source: Path, class_names: Sequence[str] = ()) -> pd.DataFrame:
    """The table of both files; the paths are like "train_data.npz#17".

    Labels may be texts, whole numbers from 0, or one-hot: (N,) or (N, 1), or (N, C) for one-hot. `class_names` say what
    the numbers mean; without them 0 and 1 are `BINARY_CLASSES`, and others are unknown.

    Raises:
        ValueError: if a file or an array is missing, needs pickle, or has another shape or type than expected, or
            holds images that are too large.
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
                raise ValueError(f"{name}: X holds images of {shape[2]}x{shape[1]} pixels, which is too large")
            if dtype != np.uint8 and dtype.kind != "f":
                raise ValueError(f"{name}: X holds {dtype}, expected uint8, or float from 0 to 1")
        labels = _labels(source / name, class_names)
        if shape[0] != len(labels):
            raise ValueError(f"{name}: X has {shape[0]} images but Y has {len(labels)} labels")
        paths = [f"{name}#{row}" for row in range(len(labels))]
        tables.append(pd.DataFrame({"path": paths, "label": labels, "source_split": split, "group": "", "site": ""}))
    return pd.concat(tables)[list(COLUMNS)].sort_values("path", ignore_index=True)


def npz_images(file: Path) -> Iterator[np.ndarray]:
    """The images of `X` in order: (height, width) or (height, width, channels), in the type of the array."""
    with _member(file, "X") as (stream, shape, dtype):
        size = int(np.prod(shape[1:])) * dtype.itemsize
        for row in range(shape[0]):
            data = stream.read(size)
            if len(data) < size:
                raise ValueError(f"{file.name}: X is cut off at image {row} of {shape[0]}")
            yield np.frombuffer(data, dtype).reshape(shape[1:])


def _labels(file: Path, class_names: Sequence[str]) -> list[str]:
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
            f"{file.name}: Y holds {dtype} of shape {shape}, expected N numbers, N texts, or one-hot of shape (N, C)"
        )
    names = class_names or BINARY_CLASSES
    if values.ndim == 2:
        if not (np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all()):
            raise ValueError(f"{file.name}: Y has the shape {shape} but is not one-hot: a row has not one 1 and else 0")
        if values.shape[1] != len(names):
            raise ValueError(
                f"{file.name}: Y is one-hot over {values.shape[1]} classes, and the names of {len(names)} are known "
                f"({', '.join(names)}): give one for each, in their order, with --class_names"
            )
        values = values.argmax(1)
    if not np.isin(values, range(len(names))).all():
        found = ", ".join(f"{value:g}" for value in np.unique(values)[:6])
        known = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
        raise ValueError(
            f"{file.name}: Y holds the numbers {found}; names are known for {known} only: "
            "name the classes 0, 1, ... with --class_names, or save their names as texts"
        )
    return [names[int(value)] for value in values]


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
