"""Pairs of images of which one was cut out of the other, where the cut went through the head.

A border that was cut off is seen through elsewhere (brainmri.data.thumbnails.content_thumbnail); what was cut inside
the head changes the whole thumbnail. Three steps find such pairs, in both directions, as each image is looked for in
each:

1. Windows of each image, of 95 to 70 % of both its sides, or 95 or 90 % of one, at all places 5 % apart, as
   descriptors of 63 numbers: the coefficients of a discrete cosine transform of the fine structure. One product of
   matrices gives them for all places along a side, and a mirror only changes signs. Each window lies in one of the
   cells around the centres of a k-means (faiss) of the whole images, and each whole image, in its four poses, is held
   against the windows in the cells nearest to it.
2. The window is fitted to the whole image: Gauss-Newton steps on its four edges, two at 16x16 and four at 32x32. In
   between, the fine structure drops most pairs of different heads.
3. The fitted window and the whole image must be the same image (see brainmri.data.duplicates.similarity).

A cell holds as many whole images however many there are, so that time grows with their number and not with that of
their pairs. All of it runs in one thread, so that the same images give the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from brainmri.data.duplicates.index import inverted_file, load_faiss
from brainmri.data.duplicates.similarity import best_correlation, fine_structure, whitened_descriptors

Floats = np.ndarray  # float32
Rows = NDArray[np.int64]
THUMBNAIL, HALF, SIDE = 64, 32, 16  # pixels: windows are fitted on thumbnails, and described from halves of them
STEP, SMALLEST = 0.05, 6  # a window has 1 - k * STEP of the side, k up to SMALLEST, at k + 1 places along it
SIZES = [*((k, k) for k in range(1, SMALLEST + 1)), (0, 1), (1, 0), (0, 2), (2, 0)]  # k of height and width
SIGMA = 2.0  # of the neighbourhood whose mean and contrast are taken out, in pixels of 32x32
WAVES = 8  # of the cosine transform, along each side
WHITENED = 0.35  # power of the variance by which a coefficient is divided: what all heads share counts less
CELL, CELLS_SEEN = 32, 10  # whole images in a cell, on average, and cells whose windows each is held against
LIKE = 0.65  # similarity of a window and a whole image from which they are compared
CANDIDATES = 12  # images, each in a pose, that one image may be cut out of, at most, that are compared
BEST = 3  # of them that are fitted again, and then at 32x32
BLOCK = 512  # images whose windows are made at once,
QUERIES = 8192  # windows whose cells are found at once, and
PAIRS = 128  # pairs that are fitted at once: these bound the memory
# Correlation of the fine structure at 16x16 that a pair must reach before it is fitted, and after it was.
BEFORE, AFTER, LAST = 0.25, 0.62, 0.78
COARSE, FINE = 1, 2  # steps of a fit at 16x16 and at 32x32; each is made twice
FITTED = 0.92  # correlation at 32x32
DAMPING = 1e-3  # of the steps, so that an image without slopes has some solution
MOST = 0.05  # of the side, that an edge moves in one step
FLIPS = ((1, 1), (1, -1), (-1, 1), (-1, -1))  # as SIGNS: identity, left-right mirror, upside-down mirror, turn
SAME_CROP = 0.90  # similarity of the fine structure
LEAST_CUT = 0.01  # of a side: images of which less is cut were compared as a whole


@dataclass(frozen=True)
class Crops:
    """whole, part: int64 (M,), rows: `part` was cut out of `whole`. similarity: float32 (M,), of the fine structure."""

    whole: Rows
    part: Rows
    similarity: Floats


@dataclass(frozen=True)
class Candidates:
    """Pairs that may be one image.

    Attributes:
        whole, part: (M,), rows. pose: (M,), of the part, a row of `FLIPS`. box: float32 (M, 4), the window of the
            whole: top, bottom, left and right, 0..1.
    """

    whole: Rows
    part: Rows
    pose: Rows
    box: Floats

    def __getitem__(self, rows: NDArray[np.int64 | np.bool_] | slice) -> Candidates:
        return Candidates(self.whole[rows], self.part[rows], self.pose[rows], self.box[rows])

    def flipped(self, images: Floats) -> Floats:
        """The images of the parts, in their poses."""
        chosen = images[self.part]
        for axis in (0, 1):
            turned = np.array(FLIPS)[self.pose, axis] < 0
            chosen[turned] = np.flip(chosen[turned], axis=axis + 1)
        return chosen


def find_crops(thumbnails: NDArray[np.uint8]) -> Crops:
    """The pairs of which one image was cut out of the other, perhaps mirrored or turned by 180 degrees.

    Args:
        thumbnails: uint8, shape (N, 64, 64), each of another image.
    """
    if len(thumbnails) < 2:
        return Crops(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    with ThreadpoolController().limit(limits=1):
        return _found(thumbnails)


def _found(thumbnails: NDArray[np.uint8]) -> Crops:
    count = len(thumbnails)
    details = np.concatenate(
        [fine_structure(thumbnails[start : start + 4096], SIGMA) for start in range(0, count, 4096)]
    )
    small = _unit(_halved(details, SIDE).reshape(count, -1)).reshape(count, SIDE, SIDE)
    found = _candidates(details)
    found = found[_like(details, small, found) >= BEFORE]
    halves = _halved(thumbnails, HALF)
    quarters = _halved(thumbnails, SIDE)
    for _ in range(2):
        found, _ = _fit(halves, quarters, found, COARSE)
        found = _best(found, _like(details, small, found))
    found, _ = _fit(thumbnails, halves, found, FINE)
    found = found[_like(details, small, found) >= LAST]
    found, correlation = _fit(thumbnails, halves, found, FINE)
    sides = found.box[:, 1::2] - found.box[:, ::2]
    found = found[(correlation >= FITTED) & (sides.min(axis=1) <= 1 - LEAST_CUT)]
    similarity = _similarity(thumbnails, found)
    best = np.lexsort((-similarity, found.part, found.whole))  # of a pair that was found in two poses
    best = best[np.diff(found.whole[best] * count + found.part[best], prepend=-1) != 0]
    best = best[similarity[best] >= SAME_CROP]
    return Crops(found.whole[best], found.part[best], similarity[best])


def _best(pairs: Candidates, like: Floats) -> Candidates:
    """The pairs of at least `AFTER`, `BEST` for each part at most."""
    order = np.lexsort((pairs.pose, pairs.whole, -like, pairs.part))
    return pairs[order[(_ranks(pairs.part[order]) < BEST) & (like[order] >= AFTER)]]


def _candidates(details: Floats) -> Candidates:
    """details: of `fine_structure`, of two images or more."""
    count, numbers = len(details), WAVES * WAVES
    waves = _waves()
    whole = (waves @ _sampler(0, 1)) @ details @ (waves @ _sampler(0, 1)).T
    whole = whole.reshape(count, numbers)
    whole[:, 0] = 0  # the mean
    variance = np.mean(_scaled(whole) ** 2, axis=0)
    weights = np.maximum(variance, 1e-5) ** -WHITENED
    weights[0] = 0
    whole = _scaled(whole * weights)
    odd = np.where(np.arange(WAVES) % 2, -1, 1)
    signs = [np.outer(odd if down < 0 else odd**2, odd if right < 0 else odd**2).ravel() for down, right in FLIPS]
    posed = np.concatenate([whole * sign.astype(np.float32) for sign in signs])
    cells = inverted_file(load_faiss(), posed, CELLS_SEEN, CELL)
    centres = cells.quantizer.reconstruct_n(0, cells.nlist)
    looked_into = cells.quantizer.search(posed, cells.nprobe)[1]
    searchers = [entries // cells.nprobe for entries in _by_cell(looked_into.ravel(), cells.nlist)]
    boxes = _boxes()
    least = np.full(count, LIKE, np.float32)  # that a further pair of each part must reach
    found = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    for start in range(0, count, BLOCK):
        windows = _scaled(_windows(details[start : start + BLOCK]).reshape(-1, numbers) * weights)
        hits = [found]
        for rows, searching in zip(_by_cell(_nearest(windows, centres), cells.nlist), searchers, strict=True):
            like = posed[searching] @ windows[rows].T
            hit = np.flatnonzero(like >= least[searching % count][:, None])
            searcher, row = np.divmod(hit, max(len(rows), 1))
            hits.append((searching[searcher], start * len(boxes) + rows[row], like.ravel()[hit]))
        posed_part, window, like = (np.concatenate(column) for column in zip(*hits, strict=True))
        pose, part = np.divmod(posed_part, count)
        owner = window // len(boxes)
        # The best window of each pair and pose (heads are nearly symmetric), then the best pairs for each part.
        key = (part * count + owner) * len(FLIPS) + pose
        order = np.lexsort((-like, key))
        order = order[np.diff(key[order], prepend=-1) != 0]
        order = order[part[order] != owner[order]]
        order = order[np.lexsort((key[order], -like[order], part[order]))]
        rank = _ranks(part[order])
        last = order[rank == CANDIDATES - 1]
        least[part[last]] = like[last]
        order = order[rank < CANDIDATES]
        found = posed_part[order], window[order], like[order]
    pose, part = np.divmod(found[0], count)
    whole_row, box = np.divmod(found[1], len(boxes))
    return Candidates(whole_row, part, pose, boxes[box])


def _by_cell(cells: Rows, number: int) -> list[Rows]:
    """For each of so many cells the places in `cells` where it stands."""
    order = np.argsort(cells, kind="stable")
    return np.split(order, np.searchsorted(cells[order], np.arange(1, number)))


def _nearest(windows: Floats, centres: Floats) -> Rows:
    """(W,): the cell of each window."""
    half = np.einsum("np,np->n", centres, centres) / 2
    blocks = [windows[start : start + QUERIES] @ centres.T - half for start in range(0, len(windows), QUERIES)]
    return np.concatenate([block.argmax(axis=1) for block in blocks])


def _ranks(parts: Rows) -> Rows:
    """0, 1, ... in each stretch of equal, sorted numbers."""
    return np.arange(len(parts)) - np.searchsorted(parts, parts)


def _places() -> Iterator[tuple[int, float, float]]:
    for k in range(SMALLEST + 1):
        for place in range(k + 1):
            yield k, place * STEP, place * STEP + 1 - k * STEP


def _boxes() -> Floats:
    """(W, 4): top, bottom, left and right of the windows, in the order of `_windows`."""
    places = list(_places())
    return np.array(
        [
            (*y[1:], *x[1:])
            for height, width in SIZES
            for y in places
            if y[0] == height
            for x in places
            if x[0] == width
        ],
        np.float32,
    )


def _windows(details: Floats) -> Floats:
    """(N, W, WAVES, WAVES): the cosine transform of the windows of each image."""
    samplers, count = _samplers(), len(details)
    of_size = [slice(k * (k + 1) // 2, (k + 1) * (k + 2) // 2) for k in range(SMALLEST + 1)]  # of the places
    rows = (samplers.reshape(-1, HALF) @ details).reshape(count, len(samplers), WAVES, HALF)
    found = np.empty((count, sum((y + 1) * (x + 1) for y, x in SIZES), WAVES, WAVES), np.float32)
    start = 0
    for height, width in SIZES:
        number = (height + 1) * (width + 1)
        cut = rows[:, of_size[height]].reshape(-1, HALF) @ samplers[of_size[width]].reshape(-1, HALF).T
        cut = cut.reshape(count, height + 1, WAVES, width + 1, WAVES).transpose(0, 1, 3, 2, 4)
        found[:, start : start + number] = cut.reshape(count, number, WAVES, WAVES)
        start += number
    return found


@cache
def _samplers() -> Floats:
    """(places, WAVES, HALF): from a row of an image to the cosine transform of each stretch of it."""
    return np.stack([_waves() @ _sampler(low, high) for _, low, high in _places()])


def _waves() -> Floats:
    """(WAVES, SIDE): the cosines, of which the first is constant."""
    places = (np.arange(SIDE) + 0.5) / SIDE
    return np.cos(np.pi * np.arange(WAVES)[:, None] * places).astype(np.float32)


def _sampler(low: float, high: float) -> Floats:
    """(SIDE, HALF): the means over SIDE equal stretches of low..high (0..1) of a row."""
    edges = np.linspace(low, high, SIDE + 1) * HALF
    pixels = np.arange(HALF)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(overlap, 0) / (edges[1] - edges[0])).astype(np.float32)


def _unit(flat: Floats) -> Floats:
    return _scaled(flat - flat.mean(1, keepdims=True))


def _scaled(flat: Floats) -> Floats:
    return flat / np.maximum(np.sqrt(np.einsum("np,np->n", flat, flat)), 1e-6)[:, None]


def _halved(images: NDArray[np.uint8] | Floats, side: int) -> Floats:
    """float32 (M, side, side): the means of equal squares."""
    factor = images.shape[1] // side
    wide = images if images.dtype == np.float32 else images.astype(np.uint16)
    rows = reduce(np.add, [wide[:, k::factor] for k in range(factor)])
    return reduce(np.add, [rows[:, :, k::factor] for k in range(factor)]).astype(np.float32) / factor**2


def _like(details: Floats, small: Floats, pairs: Candidates) -> Floats:
    """(M,): the correlation of the fine structure of the windows and the parts. small: (N, 16, 16), of unit length."""
    found = [np.empty(0, np.float32)]
    for start in range(0, len(pairs.whole), PAIRS):
        block = pairs[start : start + PAIRS]
        found.append(_correlation(_cut(details[block.whole], block.box, SIDE), block.flipped(small)))
    return np.concatenate(found)


def _correlation(images: Floats, others: Floats) -> Floats:
    """(M,): of each pair. others: of mean 0 and unit length."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("np,np->n", flat, flat))
    return np.asarray(np.einsum("np,np->n", flat, others.reshape(flat.shape)) / np.maximum(length, 1e-6))


def _similarity(thumbnails: NDArray[np.uint8], pairs: Candidates) -> Floats:
    """(M,): of the fine structure of the whole part and the window that was cut for it."""
    found = [np.empty(0, np.float32)]
    for start in range(0, len(pairs.whole), PAIRS):
        block = pairs[start : start + PAIRS]
        cut = np.round(_cut(thumbnails[block.whole].astype(np.float32), block.box, THUMBNAIL)).astype(np.uint8)
        structure = whitened_descriptors(np.concatenate([cut, block.flipped(thumbnails)]))
        first = np.arange(len(cut))
        found.append(best_correlation(structure, first, first + len(cut)))
    return np.concatenate(found)


def _fit(images: NDArray[np.uint8] | Floats, parts: Floats, pairs: Candidates, steps: int) -> tuple[Candidates, Floats]:
    """The pairs with the windows of `images` most like the `parts` near theirs, and their correlations.

    images: (N, 2 * side, 2 * side). parts: (N, side, side).
    """
    boxes, correlations = [np.empty((0, 4), np.float32)], [np.empty(0, np.float32)]
    for start in range(0, len(pairs.whole), PAIRS):
        block = pairs[start : start + PAIRS]
        box, correlation = _fitted(images[block.whole].astype(np.float32), block.flipped(parts), block.box, steps)
        boxes.append(box)
        correlations.append(correlation)
    return Candidates(pairs.whole, pairs.part, pairs.pose, np.concatenate(boxes)), np.concatenate(correlations)


def _fitted(images: Floats, targets: Floats, box: Floats, steps: int) -> tuple[Floats, Floats]:
    """The windows of `images` most like `targets` (M, side, side) near `box`, and their correlations."""
    side = targets.shape[1]
    middle = (np.arange(side, dtype=np.float32) + 0.5) / side
    weights = np.stack([1 - middle, middle])
    flat = targets.reshape(len(targets), -1)
    unit = _unit(flat)
    best, best_box = np.full(len(box), -1, np.float32), box
    for step in range(steps + 1):
        cut = _cut(images, box, side)
        correlation = _correlation(cut, unit)
        better = correlation > best
        best, best_box = np.where(better, correlation, best), np.where(better[:, None], box, best_box)
        if step == steps:
            return best_box, best
        # d cut / d edge: the slope of the cut along the axis, by how far the edge moves a pixel; then gain and offset.
        height, width = box[:, 1] - box[:, 0], box[:, 3] - box[:, 2]
        down = _slope(cut) * (side / height)[:, None, None]
        right = _slope(cut.transpose(0, 2, 1)).transpose(0, 2, 1) * (side / width)[:, None, None]
        slopes = [down * weights[0][:, None], down * weights[1][:, None], right * weights[0], right * weights[1]]
        terms = np.stack([*slopes, cut, np.ones_like(cut)], axis=1).reshape(len(cut), 6, -1)
        normal = terms @ terms.transpose(0, 2, 1)
        scale = np.sqrt(np.maximum(np.einsum("nkk->nk", normal), 1e-6))
        normal = normal / (scale[:, :, None] * scale[:, None]) + DAMPING * np.eye(6, dtype=np.float32)
        right_side = (terms @ flat[:, :, None])[..., 0] / scale
        found = np.linalg.solve(normal, right_side[..., None])[..., 0] / scale
        gain = np.where(found[:, 4:5] > 0.2, found[:, 4:5], 1)
        box = box + np.clip(found[:, :4] / gain, -MOST, MOST).astype(np.float32)
        box[:, 1], box[:, 3] = np.maximum(box[:, 1], box[:, 0] + 0.4), np.maximum(box[:, 3], box[:, 2] + 0.4)
    raise AssertionError


def _slope(images: Floats) -> Floats:
    """As `np.gradient` along axis 1, faster."""
    slope = np.empty_like(images)
    slope[:, 1:-1] = (images[:, 2:] - images[:, :-2]) / 2
    slope[:, 0], slope[:, -1] = images[:, 1] - images[:, 0], images[:, -1] - images[:, -2]
    return slope


def _cut(images: Floats, box: Floats, side: int) -> Floats:
    """float32 (M, side, side): the windows, bilinear between the pixels."""
    size = images.shape[1]
    middle = (np.arange(side, dtype=np.float32) + 0.5) / side
    pixels = np.arange(size, dtype=np.float32)
    weights = []
    for low, high in ((box[:, 0:1], box[:, 1:2]), (box[:, 2:3], box[:, 3:4])):
        place = np.clip((low + (high - low) * middle) * size - 0.5, 0, size - 1)
        weights.append(np.maximum(1 - np.abs(place[:, :, None] - pixels), 0))  # (M, side, size)
    return np.asarray(weights[0] @ images @ weights[1].transpose(0, 2, 1))
