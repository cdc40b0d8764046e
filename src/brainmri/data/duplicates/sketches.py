"""Sketches of a run's training and validation images, 128 bytes each, by which they are known again in other data.

A sketch is the signs of the 1,024 numbers of a whitened descriptor (see `brainmri.data.duplicates.similarity`).
Two descriptors at the angle a differ in the share a / pi of their signs, so that the share of equal signs tells how
alike two images are; a mirrored image is found because a pose only changes the signs of whole parts. What of an
image could be drawn from its sketch was not tried: it stays in the run folder and is not published with the model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from brainmri.data.dataset import PreparedData
from brainmri.data.duplicates.similarity import SIGNS, whitened_descriptors
from brainmri.data.thumbnails import thumbnail
from brainmri.errors import reading
from brainmri.io.read import prepared_image

FILES = {"train": "training_images.npy", "validation": "validation_images.npy"}  # in a run folder
BYTES, PARTS = 128, 4
# Share of equal signs from which on two images are one: copies encoded again (JPEG of quality 30), mirrored, blurred,
# in other contrast or of half the side have 0.83 and more; the 1,404 test images of the Kaggle set, none of whose
# groups is in the training part, have 0.76 at most with its 4,917 training images (docs/LOG.md, 2026-11-29).
SAME = 0.82
BLOCK = 256  # images at once


def sketches_of(data: PreparedData, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The sketches (N, 128) of the images at `rows`, read from their files."""
    names = data.index["file_name"].iloc[rows].tolist()
    found = np.empty((len(names), BYTES), dtype=np.uint8)
    with tqdm(total=len(names), desc="hashing the images", unit="image", disable=None) as progress:
        for start in range(0, len(names), BLOCK):
            part = names[start : start + BLOCK]
            found[start : start + len(part)] = sketches(
                np.stack([thumbnail(prepared_image(data.root / name)) for name in part])
            )
            progress.update(len(part))
    return found


def sketches(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The sketches (N, 128) of thumbnails, uint8 (N, 64, 64)."""
    found = np.empty((len(thumbnails), BYTES), dtype=np.uint8)
    for start in range(0, len(thumbnails), BLOCK):
        part = whitened_descriptors(thumbnails[start : start + BLOCK])
        found[start : start + BLOCK] = np.packbits(part.reshape(len(part), -1) > 0, axis=1)
    return found


def likeness(some: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float64]:
    """For each of `some` (N, 128) the share of equal signs (0..1) with the most alike of `others`, in any pose."""
    known = _signs(others)
    found = np.zeros(len(some))
    for start in range(0, len(some), BLOCK):
        dots = np.matmul(_signs(some[start : start + BLOCK]), known.transpose(0, 2, 1))  # (parts, block, others)
        for signs in SIGNS:
            best = np.tensordot(signs, dots, 1).max(axis=1, initial=-8 * BYTES)
            found[start : start + BLOCK] = np.maximum(found[start : start + BLOCK], 0.5 + best / (16 * BYTES))
    return found


def read_sketches(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """The sketches of a run folder, by split; none of a run of an earlier version or of streamed data.

    Raises:
        ValueError: if a file is damaged.
    """
    return {split: _read(folder / name) for split, name in FILES.items() if (folder / name).is_file()}


def _read(path: Path) -> NDArray[np.uint8]:
    with reading(path):
        found = np.load(path, allow_pickle=False)
    if found.dtype != np.uint8 or found.ndim != 2 or found.shape[1] != BYTES:
        raise ValueError(f"{path} is not what a training wrote: train again, or remove it")
    return found


def _signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 (4, N, 256) of -1 and 1."""
    bits = np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1
    return bits.reshape(len(packed), PARTS, -1).transpose(1, 0, 2)
