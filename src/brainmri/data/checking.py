"""Every file of a source is opened once: checked, reduced to a thumbnail, and its bytes put aside for writing."""

from __future__ import annotations

import hashlib
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from brainmri.data.figshare_mat import mat_image
from brainmri.data.layouts import NPZ_FILES, npz_images
from brainmri.data.thumbnails import content_thumbnail, thumbnail
from brainmri.io.decode import RejectedImage, pixel_hash
from brainmri.io.read import CheckedImage, check_array, read_image
from brainmri.wording import counted

# Threads, not processes: they end with the process that is killed, and a script that calls `prepare` needs no
# `if __name__ == "__main__"`. On 2 cores (2026-11-22), 3,500 JPEGs of 224x224 took 3.0 s in one thread or two, 2.0 s in
# two processes; 400 of 512x512 took 2.2 s in one thread, 1.6 s in two, no less in two processes.
WORKERS = 2
AHEAD = 64  # images in work or waiting at one time; bounds the memory
REASONS = 4  # that a message lists
NO_LABEL = "no label: it stands outside the class folders, or its label in the table is empty"


class CheckedFile(NamedTuple):
    """What is kept of an image: suffix and SHA-256 of the bytes that were put aside, and

    thumbnail, content: uint8 (64, 64), of the whole and without its border. pixels: see `pixel_hash`. format, bytes: of
    the file that was read.
    """

    thumbnail: np.ndarray
    content: np.ndarray
    suffix: str
    sha256: str
    pixels: str
    format: str
    bytes: int


IMAGE_COLUMNS = ("suffix", "sha256", "pixels", "format", "bytes")


@dataclass(frozen=True)
class Checked:
    """What the check found.

    usable: the rows of the table that hold an image, with the new columns `staged` (the file with the bytes to
    write), `suffix`, `sha256`, `pixels`, `format` and `bytes`. thumbnails, contents: uint8, (N, 64, 64), in the same
    order: whole images, and without their borders. rejected: columns path and reason.
    """

    usable: pd.DataFrame
    thumbnails: np.ndarray
    contents: np.ndarray
    rejected: pd.DataFrame


def check_files(root: Path, table: pd.DataFrame, layout: str, staged: Path) -> Checked:
    """Check all files of `table` (see brainmri.data.layouts), whose paths are relative to `root`.

    Puts the bytes to be written into the folder `staged`. Shows a progress bar in a terminal.

    Raises:
        ValueError: if not one image is usable (the first reasons are listed).
    """
    files = [staged / f"{row:08d}" for row in range(len(table))]
    results: list[CheckedFile | str] = [NO_LABEL] * len(table)
    labelled = (table["label"] != "").tolist()
    images = _npz_images(root, table) if layout == "npz" else _files(root, table, layout)
    jobs = (
        (row, partial(put_aside, read, files[row])) for row, read in images if labelled[row] or layout == "figshare-mat"
    )
    with tqdm(total=len(table), desc="reading", unit="file", disable=None) as bar, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # about oddities inside files that are read all the same
        for row, result in in_threads(jobs):
            results[row] = result
            bar.update()
    usable = [isinstance(result, CheckedFile) for result in results]
    kept = [result for result in results if isinstance(result, CheckedFile)]
    reasons = [result for result in results if isinstance(result, str)]
    rejected = table.loc[np.logical_not(usable), ["path"]].assign(reason=reasons).reset_index(drop=True)
    if not kept:
        first = "; ".join(f"{path}: {reason}" for path, reason in rejected.head(3).itertuples(index=False))
        raise ValueError(f"not one usable image among {len(table)} files" + (f": {first}" if first else ""))
    columns = {name: [getattr(image, name) for image in kept] for name in IMAGE_COLUMNS}
    usable_rows = table.assign(staged=[str(file) for file in files])[usable].assign(**columns).reset_index(drop=True)
    thumbnails, contents = (np.stack([getattr(image, name) for image in kept]) for name in ("thumbnail", "content"))
    return Checked(usable_rows, thumbnails, contents, rejected)


def rejected_summary(rejected: pd.DataFrame) -> str:
    """How many files (or slices) were rejected and for which reasons, the most frequent first; "" for none."""
    if rejected.empty:
        return ""
    reasons = rejected["reason"].str.rstrip(".").value_counts(sort=True).head(REASONS)
    told = "; ".join(f"{reason} ({count})" for reason, count in reasons.items())
    return f"{counted(len(rejected), 'file or slice', 'files and slices')} rejected: {told}"


def put_aside(read: Callable[[], CheckedImage], file: Path) -> CheckedFile | str:
    """Read an image and write the bytes that are kept of it into `file`; the reason, if it cannot be used."""
    try:
        checked = read()
    except RejectedImage as error:
        return str(error)
    file.write_bytes(checked.encoded)
    return CheckedFile(
        thumbnail=thumbnail(checked.image),
        content=content_thumbnail(checked.image),
        suffix=checked.suffix,
        sha256=hashlib.sha256(checked.encoded).hexdigest(),
        pixels=pixel_hash(checked.image),
        format=checked.format,
        bytes=checked.size,
    )


def _files(root: Path, table: pd.DataFrame, layout: str) -> Iterator[tuple[int, Callable[[], CheckedImage]]]:
    for row, path in enumerate(table["path"]):
        yield row, partial(mat_image if layout == "figshare-mat" else read_image, root / path)


def _npz_images(root: Path, table: pd.DataFrame) -> Iterator[tuple[int, Callable[[], CheckedImage]]]:
    rows = {path: row for row, path in enumerate(table["path"])}
    for name in NPZ_FILES:
        for number, values in enumerate(npz_images(root / name)):
            yield rows[f"{name}#{number}"], partial(check_array, values)


def in_threads(
    jobs: Iterator[tuple[int, Callable[[], CheckedFile | str]]],
) -> Iterator[tuple[int, CheckedFile | str]]:
    """The results in order. Jobs are taken from the iterator only as far as `AHEAD`."""
    waiting: deque[tuple[int, Future[CheckedFile | str]]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        for row, job in jobs:
            waiting.append((row, pool.submit(job)))
            if len(waiting) >= AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
