"""Pairs of images of which one was cut out of the other, where the cut went through the head.

A border that was cut off is seen through elsewhere (brainmri.data.thumbnails.content_thumbnail); what was cut inside
the head changes the whole thumbnail. Three steps find such pairs, in both directions, as each image is looked for in
each:

1. Windows of each image, of 95 to 70 % of its sides at all places 5 % apart, as descriptors of 96 numbers: the
   principal components of the fine structure at 16x16. An inverted file (faiss) gives for each window the whole images,
   in four poses, that are most like it.
2. The window is fitted to the whole image: Gauss-Newton steps on its four edges, at 16x16 and then at 32x32.
3. The fitted window and the whole image must be the same image (see brainmri.data.duplicates.similarity).

The time grows with the number of images; all of it runs in one thread, so that the same images give the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from threadpoolctl import ThreadpoolController

from brainmri.data.duplicates.index import inverted_file, load_faiss
from brainmri.data.duplicates.similarity import FAINT, FLOOR, best_correlation, reduced, whitened_descriptors

Floats = np.ndarray  # float32
Rows = NDArray[np.int64]
THUMBNAIL, HALF, SIDE = 64, 32, 16  # pixels: windows are fitted on thumbnails, and described from halves of them
STEP, SMALLEST = 0.05, 6  # a window has 1 - k * STEP of the side, k up to SMALLEST, at k + 1 places along it
SIGMA = 2.0  # of the neighbourhood whose mean and contrast are taken out, in pixels of 32x32
COMPONENTS = 96
WHITENED = 0.35  # power of the variance by which a component is divided: what all heads share counts less
FITTED = 500  # images whose windows the components are fitted on, at most
CELLS_SEEN = 8
NEAREST = 8  # whole images that each window is held against; some may be poses of the image that it is of
LIKE = 0.4  # similarity of a window and a whole image from which they are fitted
CANDIDATES = 4  # images, each in a pose, that one image may be cut out of, at most, that are fitted
BLOCK = 8  # images whose windows are made at once, and
PAIRS = 32  # pairs that are fitted at once: few, whose arrays stay in the caches
LEVELS = ((16, 4, 0.85), (32, 4, 0.92))  # side, steps, and the correlation that a pair must reach to go on
DAMPING = 1e-3  # of the steps, so that an image without slopes has some solution
MOST = 0.05  # of the side, that an edge moves in one step
FLIPS = ((1, 1), (1, -1), (-1, 1), (-1, -1))  # as SIGNS: identity, left-right mirror, upside-down mirror, turn
SAME_CROP = 0.90  # similarity of the fine structure


@dataclass(frozen=True)
class Crops:
    """whole, part: int64 (M,), rows: `part` was cut out of `whole`. similarity: float32 (M,), of the fine structure."""

    whole: Rows
    part: Rows
    similarity: Floats


def find_crops(thumbnails: NDArray[np.uint8]) -> Crops:
    """The pairs of which one image was cut out of the other, perhaps mirrored or turned by 180 degrees.

    Args:
        thumbnails: uint8, shape (N, 64, 64), each of another image.
    """
    whole, part, pose, box = _candidates(thumbnails)
    found = [Crops(whole[:0], part[:0], np.empty(0, np.float32))]
    for start in range(0, len(whole), PAIRS):
        rows = slice(start, start + PAIRS)
        found.append(_fitted(thumbnails, whole[rows], part[rows], pose[rows], box[rows]))
    whole, part, similarity = (
        np.concatenate([getattr(one, name) for one in found]) for name in ("whole", "part", "similarity")
    )
    best = np.lexsort((-similarity, part, whole))  # of a pair that was found in two poses
    best = best[np.diff(whole[best] * len(thumbnails) + part[best], prepend=-1) != 0]
    return Crops(whole[best], part[best], similarity[best])


def _candidates(thumbnails: NDArray[np.uint8]) -> tuple[Rows, Rows, Rows, Floats]:
    """whole, part, pose of the part (a row of `FLIPS`), and the window (M, 4): top, bottom, left and right, 0..1."""
    count = len(thumbnails)
    nothing = np.empty(0, np.int64)
    if count < 2:
        return nothing, nothing, nothing, np.empty((0, 4), np.float32)
    faiss = load_faiss()
    everything = _sampler(0, 1)
    basis = _components(thumbnails[:: -(-count // FITTED)])
    wholes = np.empty((len(FLIPS), count, COMPONENTS), np.float32)
    for start in range(0, count, 4096):
        small = everything @ _details(thumbnails[start : start + 4096]) @ everything.T
        for flip, (down, right) in enumerate(FLIPS):
            flipped = small[:, ::down, ::right].reshape(len(small), -1)
            wholes[flip, start : start + 4096] = _scaled(_unit(flipped) @ basis)
    threads = ThreadpoolController()
    with threads.limit(limits=1):
        index = inverted_file(faiss, np.ascontiguousarray(wholes.reshape(-1, COMPONENTS)), CELLS_SEEN)
    boxes = _boxes()
    found = [(nothing, nothing, nothing, nothing, np.empty(0, np.float32))]
    for start in range(0, count, BLOCK):
        described = _windows(thumbnails[start : start + BLOCK], basis)  # (n, W, COMPONENTS)
        with threads.limit(limits=1):
            distance, near = index.search(described.reshape(-1, COMPONENTS), NEAREST)
        number = np.repeat(np.arange(len(described) * len(boxes)), NEAREST)
        owner, near, like = start + number // len(boxes), near.ravel(), 1 - distance.ravel() / 2
        kept = (near >= 0) & (near % count != owner) & (like >= LIKE)
        found.append((owner[kept], near[kept] % count, near[kept] // count, number[kept] % len(boxes), like[kept]))
    whole, part, pose, window, like = (np.concatenate(column) for column in zip(*found, strict=True))
    # The best window of each pair and pose (heads are nearly symmetric), then the best pairs for each part.
    order = np.lexsort((window, -like, pose, whole, part))
    key = (part[order] * count + whole[order]) * len(FLIPS) + pose[order]
    order = order[np.diff(key, prepend=-1) != 0]
    order = order[np.lexsort((pose[order], whole[order], -like[order], part[order]))]
    rank = np.arange(len(order)) - np.searchsorted(part[order], part[order])
    order = order[rank < CANDIDATES]
    return whole[order], part[order], pose[order], boxes[window[order]]


def _components(thumbnails: NDArray[np.uint8]) -> Floats:
    """(SIDE * SIDE, COMPONENTS): the principal components of the windows of these images in the four poses."""
    windows = _unit(_windows(thumbnails, np.eye(SIDE * SIDE, dtype=np.float32)).reshape(-1, SIDE * SIDE))
    covariance = (windows.T @ windows).reshape(SIDE, SIDE, SIDE, SIDE)
    posed = sum(covariance[::down, ::right, ::down, ::right] for down, right in FLIPS)
    variances, directions = np.linalg.eigh(np.asarray(posed).reshape(SIDE * SIDE, -1))
    strength = np.maximum(variances, FLOOR * variances.sum())
    return np.asarray((directions * strength**-WHITENED)[:, : -COMPONENTS - 1 : -1])


def _places() -> Iterator[tuple[int, float, float]]:
    for k in range(1, SMALLEST + 1):
        for place in range(k + 1):
            yield k, place * STEP, place * STEP + 1 - k * STEP


def _boxes() -> Floats:
    """(W, 4): top, bottom, left and right of the windows, in the order of `_windows`."""
    places = list(_places())
    return np.array([(*y[1:], *x[1:]) for y in places for x in places if x[0] == y[0]], np.float32)


def _windows(thumbnails: NDArray[np.uint8], basis: Floats) -> Floats:
    """(N, W, COMPONENTS): the descriptors of the windows of each image."""
    places = list(_places())
    samplers = np.stack([_sampler(low, high) for _, low, high in places])
    details = _details(thumbnails)
    rows = samplers.reshape(-1, HALF) @ details  # (N, places * SIDE, HALF)
    rows = rows.reshape(len(details), len(places), SIDE, HALF)
    found = []
    for k in range(1, SMALLEST + 1):
        own = [number for number, place in enumerate(places) if place[0] == k]
        columns = samplers[own].reshape(-1, HALF).T
        cut = (rows[:, own].reshape(-1, HALF) @ columns).reshape(len(details), k + 1, SIDE, k + 1, SIDE)
        found.append(cut.transpose(0, 1, 3, 2, 4).reshape(len(details), -1, SIDE * SIDE))
    flat = np.concatenate(found, axis=1).reshape(-1, SIDE * SIDE)
    # The components are orthogonal to a constant image, so that its mean need not be taken away first.
    return _scaled(flat @ basis).reshape(len(details), -1, basis.shape[1])


def _sampler(low: float, high: float) -> Floats:
    """(SIDE, HALF): the means over SIDE equal stretches of low..high (0..1) of a row."""
    edges = np.linspace(low, high, SIDE + 1) * HALF
    pixels = np.arange(HALF)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(overlap, 0) / (edges[1] - edges[0])).astype(np.float32)


def _details(thumbnails: NDArray[np.uint8]) -> Floats:
    """(N, HALF, HALF): the fine structure, without local mean and contrast."""
    grey = reduced(thumbnails)
    detail = grey - gaussian_filter(grey, (0, SIGMA, SIGMA), mode="nearest")
    return detail / (np.sqrt(gaussian_filter(detail**2, (0, SIGMA, SIGMA), mode="nearest")) + FAINT)


def _unit(flat: Floats) -> Floats:
    return _scaled(flat - flat.mean(1, keepdims=True))


def _scaled(flat: Floats) -> Floats:
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _fitted(thumbnails: NDArray[np.uint8], whole: Rows, part: Rows, pose: Rows, box: Floats) -> Crops:
    """Those of the pairs that are one image."""
    flips = np.array(FLIPS)[pose]
    parts = thumbnails[part]
    parts = np.where(flips[:, 0, None, None] < 0, parts[:, ::-1], parts)
    parts = np.where(flips[:, 1, None, None] < 0, parts[:, :, ::-1], parts)
    alive = np.arange(len(whole))
    box = box.copy()
    for side, steps, least in LEVELS:
        if not len(alive):
            break
        source = _halved(thumbnails[whole[alive]], 2 * side)
        box[alive], correlation = _fit(source, _halved(parts[alive], side), box[alive], steps)
        alive = alive[correlation >= least]
    if not len(alive):
        return Crops(alive, alive, np.empty(0, np.float32))
    cut = np.round(_cut(thumbnails[whole[alive]].astype(np.float32), box[alive], THUMBNAIL))
    first = np.arange(len(alive))
    structure = whitened_descriptors(np.concatenate([cut.astype(np.uint8), parts[alive]]))
    similarity = best_correlation(structure, first, first + len(alive))
    same = similarity >= SAME_CROP
    return Crops(whole[alive[same]], part[alive[same]], similarity[same])


def _halved(images: NDArray[np.uint8] | Floats, side: int) -> Floats:
    """float32 (M, side, side): the means of equal squares."""
    factor = images.shape[1] // side
    return images.reshape(len(images), side, factor, side, factor).mean((2, 4), dtype=np.float32)


def _fit(images: Floats, targets: Floats, box: Floats, steps: int) -> tuple[Floats, Floats]:
    """The windows of `images` most like `targets` (M, side, side) near `box`, and their correlations."""
    side = targets.shape[1]
    middle = (np.arange(side, dtype=np.float32) + 0.5) / side
    weights = np.stack([1 - middle, middle])
    best, best_box = np.full(len(box), -1, np.float32), box
    for step in range(steps + 1):
        cut = _cut(images, box, side)
        flat = _unit(cut.reshape(len(cut), -1))
        correlation = np.einsum("np,np->n", flat, _unit(targets.reshape(len(cut), -1)))
        better = correlation > best
        best, best_box = np.where(better, correlation, best), np.where(better[:, None], box, best_box)
        if step == steps:
            return best_box, best
        # d cut / d edge: the slope of the cut along the axis, by how far the edge moves a pixel; then gain and offset.
        height, width = box[:, 1] - box[:, 0], box[:, 3] - box[:, 2]
        down = np.gradient(cut, axis=1) * (side / height)[:, None, None]
        right = np.gradient(cut, axis=2) * (side / width)[:, None, None]
        slopes = [down * weights[0][:, None], down * weights[1][:, None], right * weights[0], right * weights[1]]
        terms = np.stack([*slopes, cut, np.ones_like(cut)], axis=1).reshape(len(cut), 6, -1)
        normal = terms @ terms.transpose(0, 2, 1)
        scale = np.sqrt(np.maximum(np.einsum("nkk->nk", normal), 1e-6))
        normal = normal / (scale[:, :, None] * scale[:, None]) + DAMPING * np.eye(6, dtype=np.float32)
        right_side = (terms @ targets.reshape(len(cut), -1, 1))[..., 0] / scale
        found = np.linalg.solve(normal, right_side[..., None])[..., 0] / scale
        gain = np.where(found[:, 4:5] > 0.2, found[:, 4:5], 1)
        box = box + np.clip(found[:, :4] / gain, -MOST, MOST).astype(np.float32)
        box[:, 1], box[:, 3] = np.maximum(box[:, 1], box[:, 0] + 0.4), np.maximum(box[:, 3], box[:, 2] + 0.4)
    raise AssertionError


def _cut(images: Floats, box: Floats, side: int) -> Floats:
    """float32 (M, side, side): the windows, bilinear between the pixels."""
    size = images.shape[1]
    middle = (np.arange(side, dtype=np.float32) + 0.5) / side
    low_high = []
    for low, high in ((box[:, 0:1], box[:, 1:2]), (box[:, 2:3], box[:, 3:4])):
        place = np.clip((low + (high - low) * middle) * size - 0.5, 0, size - 1.001)
        below = place.astype(np.int64)
        low_high.append((below, place - below))
    (y, dy), (x, dx) = low_high
    number = np.arange(len(images))[:, None]
    above = images[number, y] * (1 - dy)[..., None] + images[number, y + 1] * dy[..., None]  # (M, side, size)
    left = np.take_along_axis(above, x[:, None, :], axis=2)
    following = np.take_along_axis(above, x[:, None, :] + 1, axis=2)
    return left * (1 - dx)[:, None, :] + following * dx[:, None, :]
