"""Each image decoded and resized once, into memory-mapped uint8 arrays shared by processes and runs."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from brainmri.data.dataset import PreparedData
from brainmri.data.file_digests import file_digests
from brainmri.data.storage import SET_CACHE, allocated_memmap, alone, cache_folder
from brainmri.errors import writing
from brainmri.io.decode import resized
from brainmri.io.read import prepared_image

SHOWN = 3  # broken files, by name


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


def pixel_cache(data: PreparedData, size: int) -> PixelCache:
    """The images of `data` at size x size, in the order of `data.index`; decoded where that was not done yet.

    It is kept by the bytes that the files hold now, in that order, and by nothing else: an edited file is decoded
    anew, and a copy of the folder, a fold of it and its merged classes share one cache. One process writes while others
    wait; what a killed one left is written anew, as only a finished folder gets its name.

    Raises:
        ValueError: if files cannot be decoded, or change while they are read; names them.
        OSError: if there is no space; says where, and how much is needed.
    """
    digests = file_digests(data.root, data.index["file_name"].tolist())
    key = hashlib.sha256("".join(digests).encode()).hexdigest()[:32]
    folder = cache_folder() / "pixels" / f"{key}-{size}"
    needed = len(data.index) * size * size
    with writing(folder.parent, needed, SET_CACHE):
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with alone(folder.with_suffix(".lock"), "Another process is decoding these images: waiting for it."):
                if not folder.exists():
                    _write(data, digests, size, folder.with_suffix(".unfinished"), folder)
    colour_row = np.load(folder / "colour_row.npy")
    coloured = int((colour_row >= 0).sum())
    shape = (coloured, 3, size, size)  # an empty file cannot be mapped
    colour = np.memmap(folder / "colour.bin", np.uint8, "r", shape=shape) if coloured else np.empty(shape, np.uint8)
    return PixelCache(np.load(folder / "first.npy", mmap_mode="r"), colour, colour_row)


def _write(data: PreparedData, digests: list[str], size: int, unfinished: Path, folder: Path) -> None:
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        first = allocated_memmap(unfinished / "first.npy", np.uint8, (len(digests), size, size))
        colour_row = np.full(len(digests), -1, np.int64)
        broken = []
        with (
            (unfinished / "colour.bin").open("wb") as colour,
            tqdm(total=len(digests), desc=f"decoding to {size}x{size}", unit="image", disable=None) as progress,
        ):
            for row, (name, digest) in enumerate(zip(data.index["file_name"], digests, strict=True)):
                try:
                    pixels = resized(prepared_image(data.root / name, digest), size)
                except ValueError as error:
                    broken.append(str(error))
                    continue
                first[row] = pixels[0]
                if len(pixels) > 1:
                    colour_row[row] = colour.tell() // pixels.size
                    colour.write(pixels.tobytes())
                progress.update()
        if broken:
            more = f", and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
            raise ValueError(f"{'; '.join(broken[:SHOWN])}{more}: prepare the data again")
        first.flush()
        np.save(unfinished / "colour_row.npy", colour_row)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
