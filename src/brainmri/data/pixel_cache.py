"""Each image decoded and resized once, into memory-mapped uint8 arrays shared by processes and runs.

Whatever else of every image is needed later (its thumbnail, statistics of the whole) is taken in the same pass over the
files: reading them again takes longer than anything that is then done with them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from brainmri.data.dataset import PreparedData
from brainmri.data.file_digests import file_digests
from brainmri.data.statistics import global_statistics
from brainmri.data.storage import SET_CACHE, allocated_memmap, alone, cache_folder
from brainmri.data.thumbnails import thumbnail
from brainmri.environment import available_cpus
from brainmri.errors import writing
from brainmri.io.decode import resized
from brainmri.io.read import prepared_image

VERSION = 3  # raise it when images are decoded in another way, or more of them is kept
SHOWN = 3  # broken files, by name
BLOCK = 256  # images that wait to be written, at most
SUMMARY = 64 * 64 + 7 * 8  # bytes of a thumbnail and of the statistics


@dataclass(frozen=True)
class PixelCache:
    """Every image of a data set at one size. Nearly all slices are grey, and those have their one channel stored once.

    first: uint8 (N, size, size), the only channel of a grey image, the red one of a coloured image.
    colour: uint8 (K, 3, size, size), the coloured images. colour_row: int64 (N,), where an image stands in `colour`, -1
    for a grey one.
    """

    first: np.ndarray
    colour: np.ndarray
    colour_row: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The images at `rows` in one gather, uint8: (B, 1, size, size) where all are grey, else (B, 3, size, size)."""
        first = self.first[rows][:, None]
        place = self.colour_row[rows]
        coloured = place >= 0
        if not coloured.any():
            return first
        pixels = np.repeat(first, 3, 1)
        pixels[coloured] = self.colour[place[coloured]]
        return pixels


@dataclass(frozen=True)
class Summaries:
    """Of every image of a data set: `thumbnail`, uint8 (N, 64, 64), and `global_statistics`, float64 (N, 7)."""

    thumbnails: np.ndarray
    statistics: np.ndarray


def pixel_cache(data: PreparedData, size: int) -> PixelCache:
    """The images of `data` at size x size, in the order of `data.index`; decoded where that was not done yet.

    Raises:
        ValueError, OSError: as `decoded`.
    """
    folder = decoded(data, size)
    colour_row = np.load(folder / "colour_row.npy")
    coloured = int((colour_row >= 0).sum())
    shape = (coloured, 3, size, size)  # an empty file cannot be mapped
    colour = np.memmap(folder / "colour.bin", np.uint8, "r", shape=shape) if coloured else np.empty(shape, np.uint8)
    return PixelCache(np.load(folder / "first.npy", mmap_mode="r"), colour, colour_row)


def image_summaries(data: PreparedData, size: int = 64) -> Summaries:
    """Thumbnails and statistics of the images of `data`, in the order of `data.index`.

    size: of a `pixel_cache` that there is already, so that no file is read for them.

    Raises:
        ValueError, OSError: as `decoded`.
    """
    folder = decoded(data, size)
    return Summaries(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("thumbnails", "statistics")))


def decoded(data: PreparedData, size: int) -> Path:
    """The folder with what was decoded of the images of `data`, which is done where it was not done yet.

    It is kept by the bytes that the files hold now, in that order, and by nothing else: an edited file is decoded
    anew, and a copy of the folder, a fold of it and its merged classes share one cache. One process writes while others
    wait; what a killed one left is written anew, as only a finished folder gets its name.

    Raises:
        ValueError: if files cannot be decoded, or change while they are read; names them.
        OSError: if there is no space; says where, and how much is needed.
    """
    digests = file_digests(data.root, data.index["file_name"].tolist())
    key = hashlib.sha256("".join([str(VERSION), *digests]).encode()).hexdigest()[:32]
    folder = cache_folder() / "pixels" / f"{key}-{size}"
    needed = len(data.index) * (size * size + SUMMARY)
    with writing(folder.parent, needed, SET_CACHE):
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with alone(folder.with_suffix(".lock"), "Another process is decoding these images: waiting for it."):
                if not folder.exists():
                    _write(data, digests, size, folder.with_suffix(".unfinished"), folder)
    return folder


def _write(data: PreparedData, digests: list[str], size: int, unfinished: Path, folder: Path) -> None:
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        count = len(digests)
        first = allocated_memmap(unfinished / "first.npy", np.uint8, (count, size, size))
        thumbnails = allocated_memmap(unfinished / "thumbnails.npy", np.uint8, (count, 64, 64))
        statistics = allocated_memmap(unfinished / "statistics.npy", np.float64, (count, 7))
        colour_row = np.full(count, -1, np.int64)
        broken = []
        with (
            (unfinished / "colour.bin").open("wb") as colour,
            tqdm(total=count, desc=f"decoding to {size}x{size}", unit="image", disable=None) as progress,
        ):
            for row, found in enumerate(_drawn(data, digests, size)):
                if isinstance(found, str):
                    broken.append(found)
                    continue
                pixels, thumbnails[row], statistics[row] = found
                first[row] = pixels[0]
                if len(pixels) > 1:
                    colour_row[row] = colour.tell() // pixels.size
                    colour.write(pixels.tobytes())
                progress.update()
        if broken:
            more = f", and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
            raise ValueError(f"{'; '.join(broken[:SHOWN])}{more}: prepare the data again")
        for array in (first, thumbnails, statistics):
            array.flush()
        np.save(unfinished / "colour_row.npy", colour_row)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _drawn(
    data: PreparedData, digests: list[str], size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray] | str]:
    """Of each image its pixels, thumbnail and statistics, or why it is broken: Pillow decodes on all processors."""

    def one(name: str, digest: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | str:
        try:
            image = prepared_image(data.root / name, digest)
        except ValueError as error:
            return str(error)
        return resized(image, size), thumbnail(image), global_statistics(image)

    names = data.index["file_name"].tolist()
    with ThreadPoolExecutor(available_cpus()) as pool:
        for start in range(0, len(names), BLOCK):
            yield from pool.map(one, names[start : start + BLOCK], digests[start : start + BLOCK])
