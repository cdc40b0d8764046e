"""Grouping at scale: seconds, peak memory and groups for sets of several sizes, and recall against all pairs.

Real thumbnails are extended by new images made from them, see `extended`. Phantom slices stand in for real ones.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from brainmri.data.duplicates.grouping import find_groups
from brainmri.data.duplicates.index import near_pairs
from brainmri.data.duplicates.similarity import SIGNS, symmetry_components
from brainmri.data.phantom.generate import phantom_thumbnails
from brainmri.data.storage import allocated_memmap
from brainmri.data.thumbnails import content_thumbnail

SIZES = (1_000, 7_000, 20_000, 100_000)
THRESHOLDS = (0.85, 0.90, 0.95, 0.98)
PHANTOM_SUBJECTS = 32  # as seed images, with 9 slices each
DUPLICATES = 0.3  # the share of near duplicates among the made thumbnails; of the real 7,023 a half are such
BLOCK = 512  # thumbnails made, or rows compared with all, at once; bounds the memory
STATUS = Path("/proc/self/status")


def measure(sizes: Sequence[int] = SIZES, thumbnails: np.ndarray | None = None) -> list[dict[str, Any]]:
    """Group sets of the given sizes, each in a process of its own.

    Args:
        sizes: numbers of images.
        thumbnails: uint8, shape (N, 64, 64): the real ones come first; where a size exceeds them, `extended` goes on.
            None: phantom slices.

    Returns:
        For each size a dict: `size`, `seconds` (of find_groups alone), `peak_mib` (of the whole process, its libraries
        included; None on Windows), `groups` (how many) and `largest_group` (images).

    Raises:
        RuntimeError: with what the process wrote, if grouping failed in it.
    """
    seeds = phantom_thumbnails(PHANTOM_SUBJECTS) if thumbnails is None else thumbnails
    results = []
    with tempfile.TemporaryDirectory(prefix="brainmri-grouping-") as folder:
        file = Path(folder) / "views.npy"
        for size in sizes:
            # To disk block by block: this process need not hold what the other one is to group.
            views = allocated_memmap(file, np.uint8, (2, size, 64, 64))
            start = 0
            for block in extended(seeds, size):
                rows = slice(start, start + len(block))
                views[0, rows] = block
                views[1, rows] = [content_thumbnail(Image.fromarray(image)) for image in block]
                start = rows.stop
            del views
            process = subprocess.run([sys.executable, "-P", __file__, str(file)], capture_output=True, text=True)
            if process.returncode:
                raise RuntimeError(f"grouping {size} images failed with {process.returncode}:\n{process.stderr}")
            results.append({"size": size, **json.loads(process.stdout)})
    return results


def recall(
    thumbnails: np.ndarray, thresholds: Sequence[float] = THRESHOLDS, *, queries: int | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """The share of all pairs at or above each threshold that `near_pairs` finds, found by comparing all with all.

    Args:
        thumbnails: uint8, shape (N, 64, 64). All pairs take 4 s for 7,000 on two cores, and grow with the square.
        thresholds: correlations, 0..1.
        queries: only the pairs of so many images, drawn at random, with all others; None: all pairs.
        seed: of the draw.

    Returns:
        For each threshold a dict: `threshold`, `pairs` (of all with all), `recall` (0..1, None without pairs) and
        `wrong` (pairs found that all with all does not give; more than a few, at the threshold, would be an error).
    """
    count = len(thumbnails)
    chosen = np.ones(count, dtype=bool)
    if queries is not None:
        chosen[np.random.default_rng(seed).permutation(count)[queries:]] = False
    first, second, correlation = exact_pairs(thumbnails, min(thresholds), np.flatnonzero(chosen))
    results = []
    for threshold in thresholds:
        near = correlation >= threshold
        true = first[near] * count + second[near]
        i, j, _ = near_pairs(thumbnails, threshold)
        asked = chosen[i] | chosen[j]
        found = i[asked] * count + j[asked]
        hits = len(np.intersect1d(true, found, assume_unique=True))
        results.append(
            {
                "threshold": threshold,
                "pairs": len(true),
                "recall": hits / len(true) if len(true) else None,
                "wrong": len(found) - hits,
            }
        )
    return results


def exact_pairs(
    thumbnails: np.ndarray, threshold: float, queries: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `near_pairs` looks for, by comparing all with all: i < j and correlation of each pair, in no order.

    Args:
        thumbnails: uint8, shape (N, 64, 64).
        threshold: 0..1.
        queries: rows; only pairs with one of them at least. None: all rows.
    """
    parts = symmetry_components(thumbnails)
    flat = parts.reshape(len(parts), -1)
    queries = np.arange(len(parts)) if queries is None else queries
    asked = np.zeros(len(parts), dtype=bool)
    asked[queries] = True
    firsts, seconds, correlations = [], [], []
    for start in range(0, len(queries), BLOCK):
        rows = queries[start : start + BLOCK]
        best = np.full((len(rows), len(parts)), -1, dtype=np.float32)
        for signs in SIGNS:
            pose = (parts[rows] * signs[:, None]).reshape(len(rows), -1)
            np.maximum(best, pose @ flat.T, out=best)
        row, second = np.nonzero(best >= threshold)
        first = rows[row]
        once = (second > first) | ~asked[second] & (second != first)  # a pair of two queries is met twice
        firsts.append(np.minimum(first, second)[once])
        seconds.append(np.maximum(first, second)[once])
        correlations.append(best[row, second][once])
    if not firsts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(correlations)


def extended(seeds: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """`size` thumbnails in blocks, uint8 (n, 64, 64): the first of `seeds`, then made ones. The same at each call.

    A made thumbnail is a new image: one of `seeds` turned by up to 15 degrees, zoomed, moved and bent smoothly, into
    which another is blended with up to 0.4, with a new contrast and noise. Or, three times in ten, it is a near
    duplicate of an earlier one of the same block: perhaps mirrored or turned by 180 degrees, with a slightly other
    contrast and little noise.

    Raises:
        ValueError: without any seed.
    """
    if not len(seeds):
        raise ValueError("no thumbnail to extend: at least one is needed")
    for start in range(0, min(size, len(seeds)), BLOCK):
        yield seeds[start : min(start + BLOCK, size)]
    for start in range(len(seeds), size, BLOCK):
        rng = np.random.default_rng([1, start])
        block = np.empty((min(BLOCK, size - start), 64, 64), dtype=np.uint8)
        for row in range(len(block)):
            if row and rng.random() < DUPLICATES:
                block[row] = _near_duplicate(rng, block[rng.integers(row)])
            else:
                one, other = rng.integers(len(seeds), size=2)
                block[row] = _new_image(rng, seeds[one], seeds[other])
        yield block


def _new_image(rng: np.random.Generator, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    share = rng.uniform(0, 0.4)
    mixed = (1 - share) * _warped(rng, one) + share * _warped(rng, other)
    return _shown(rng, mixed, gamma=rng.uniform(0.6, 1.6), noise=rng.uniform(1, 8))


def _near_duplicate(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    upside_down, mirrored = rng.choice([1, -1], size=2)
    turned = image[::upside_down, ::mirrored].astype(np.float64)
    return _shown(rng, turned, gamma=rng.uniform(0.8, 1.25), noise=rng.uniform(0, 10))


def _warped(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    angle = np.deg2rad(rng.uniform(-15, 15))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    grid = np.stack(np.meshgrid(np.arange(64), np.arange(64), indexing="ij")) - 31.5
    moved = np.tensordot(turn * rng.uniform(0.85, 1.18, size=2), grid, axes=1) + rng.uniform(-3, 3, size=(2, 1, 1))
    # Smooth bends: two waves of random direction, 32 to 128 pixels long, of up to 1.5 pixels.
    for _ in range(2):
        wave = rng.normal(size=2)
        wave *= 2 * np.pi / rng.uniform(32, 128) / np.linalg.norm(wave)
        phase = np.tensordot(wave, grid, axes=1) + rng.uniform(0, 2 * np.pi)
        moved = moved + rng.uniform(-1.5, 1.5, size=(2, 1, 1)) * np.sin(phase)
    return map_coordinates(image.astype(np.float64), moved + 31.5, order=1, mode="nearest")


def _shown(rng: np.random.Generator, image: np.ndarray, *, gamma: float, noise: float) -> np.ndarray:
    values = 255 * (np.clip(image, 0, 255) / 255) ** gamma
    return np.clip(np.round(values + rng.normal(0, noise, size=values.shape)), 0, 255).astype(np.uint8)


def _peak_mib() -> float | None:
    """The most memory this process has held so far, in MiB."""
    if STATUS.exists():  # not getrusage: on Linux that counts from the memory of the process that started this one
        peak = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())
        return int(peak[1]) / 2**10 if peak else None
    if sys.platform == "win32":
        return None
    import resource

    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


def _group(file: Path) -> dict[str, Any]:
    thumbnails, contents = np.load(file)
    start = time.perf_counter()
    grouping = find_groups(thumbnails, [""] * len(thumbnails), contents=contents)
    seconds = time.perf_counter() - start
    sizes = np.bincount(grouping.group)
    return {
        "seconds": round(seconds, 2),
        "peak_mib": _peak_mib(),
        "groups": len(sizes),
        "largest_group": int(sizes.max(initial=0)),
    }


if __name__ == "__main__":
    print(json.dumps(_group(Path(sys.argv[1]))))
