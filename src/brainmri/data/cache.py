"""Each image decoded and resized once, into memory-mapped uint8 arrays shared by processes and runs."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm.auto import tqdm

from brainmri.data.dataset import SPLITS, PreparedData, load_prepared
from brainmri.data.resizing import resized


def cache_folder() -> Path:
    """Where caches live: `$BRAINMRI_CACHE`, else `~/.cache/brainmri`."""
    return Path(os.environ.get("BRAINMRI_CACHE", "~/.cache/brainmri")).expanduser()


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

    One process writes while others wait; what a killed one left is written anew, as only a finished folder gets its
    name.
    """
    folder = cache_folder() / "pixels" / f"{data.info['fingerprint']}-{size}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                _write(data, size, folder.with_suffix(".unfinished"), folder)
    colour_row = np.load(folder / "colour_row.npy")
    coloured = int((colour_row >= 0).sum())
    shape = (coloured, 3, size, size)  # an empty file cannot be mapped
    colour = np.memmap(folder / "colour.bin", np.uint8, "r", shape=shape) if coloured else np.empty(shape, np.uint8)
    return PixelCache(np.load(folder / "first.npy", mmap_mode="r"), colour, colour_row)


def _write(data: PreparedData, size: int, unfinished: Path, folder: Path) -> None:
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        splits = load_prepared(data.root)
        first = np.lib.format.open_memmap(unfinished / "first.npy", "w+", np.uint8, (len(data.index), size, size))
        colour_row = np.full(len(data.index), -1, np.int64)
        with (
            (unfinished / "colour.bin").open("wb") as colour,
            tqdm(total=len(data.index), desc=f"decoding to {size}x{size}", unit="image") as progress,
        ):
            for split in SPLITS:
                for row, image in zip(data.rows(split), splits[split]["image"], strict=True):
                    pixels = resized(image, size)
                    first[row] = pixels[0]
                    if len(pixels) > 1:
                        colour_row[row] = colour.tell() // pixels.size
                        colour.write(pixels.tobytes())
                    progress.update()
        first.flush()
        np.save(unfinished / "colour_row.npy", colour_row)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
