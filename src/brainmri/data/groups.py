"""Near duplicates and neighbouring slices, from greyscale thumbnails by normalised correlation.

The thresholds were chosen on the 7,023 images of the Kaggle set by looking at pairs on both sides of each
(docs/LOG.md, 2026-11-22): above 0.98 a pair is the same picture, or rarely the next slice of it; above 0.95 most pairs
are slices of one patient; at 0.90 most pairs are strangers, and single linkage glues over a thousand of them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SAME_PICTURE = 0.98
SAME_GROUP = 0.95
SIDE = (
    32  # thumbnails are reduced to 32x32 first: enough to tell slices apart, and robust to sharpening and re-encoding
)
BLOCK = 512  # rows compared at once; memory is 4 * BLOCK * N floats


@dataclass(frozen=True)
class Grouping:
    """`picture` and `group`: int64 arrays of shape (N,), numbered 0, 1, ... by first appearance.

    Equal pictures always share a group.
    """

    picture: np.ndarray
    group: np.ndarray


def find_groups(thumbnails: np.ndarray, given: Sequence[str]) -> Grouping:
    """Link images that are the same picture, and those that look like slices of one patient.

    Two images are compared under identity, left-right mirror, upside-down mirror and a turn by 180 degrees; the best of
    the four correlations counts. Links are closed transitively (single linkage).

    Args:
        thumbnails: uint8, shape (N, 64, 64).
        given: N group ids known beforehand (patients, say), "" where unknown. Equal ids always share a group. Two
            images with different ids share one only where they are the same picture: that two slices look alike does
            not outweigh an id that says they are of two patients.

    Raises:
        ValueError: if the two arguments do not have the same length.
    """
    count = len(thumbnails)
    if len(given) != count:
        raise ValueError(f"{count} thumbnails but {len(given)} given group ids: one id (or an empty text) per image")
    first, second, correlation = near_pairs(thumbnails, SAME_GROUP)
    same = correlation >= SAME_PICTURE
    identified = np.array([bool(name) for name in given])
    linked = same | ~(identified[first] & identified[second])
    known: dict[str, int] = {}
    told = [(row, known.setdefault(name, row)) for row, name in enumerate(given) if name]
    rows, anchors = np.array(told, dtype=np.int64).reshape(-1, 2).T
    return Grouping(
        picture=_components(count, first[same], second[same]),
        group=_components(count, np.concatenate([first[linked], rows]), np.concatenate([second[linked], anchors])),
    )


def near_pairs(thumbnails: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs (i < j) whose best correlation over the four poses reaches `threshold`, by comparing all with all.

    Returns three arrays of one length: i, j and the correlation (-1..1). An image without any contrast correlates with
    nothing but other such images, with which its correlation counts as 1.
    """
    small = thumbnails.reshape(len(thumbnails), SIDE, 64 // SIDE, SIDE, 64 // SIDE).mean((2, 4), dtype=np.float32)
    poses = [_unit(pose) for pose in (small, small[:, :, ::-1], small[:, ::-1], small[:, ::-1, ::-1])]
    upright = poses[0].T.copy()
    firsts, seconds, correlations = [], [], []
    for start in range(0, len(small), BLOCK):
        best = poses[0][start : start + BLOCK] @ upright[:, start:]
        for pose in poses[1:]:
            np.maximum(best, pose[start : start + BLOCK] @ upright[:, start:], out=best)
        rows, columns = np.nonzero(best >= threshold)
        keep = columns > rows  # both count from `start`, so this is i < j
        firsts.append(rows[keep] + start)
        seconds.append(columns[keep] + start)
        correlations.append(best[rows[keep], columns[keep]])
    if not firsts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(correlations)


def _unit(images: np.ndarray) -> np.ndarray:
    """Flatten to zero mean and unit length; images without contrast all become the same unit vector."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    blank = length[:, 0] < 1e-3
    flat = flat / np.where(length < 1e-3, 1, length)
    # Alternating signs over the rows: far from any picture, and the same in all four poses but for its sign.
    flat[blank] = np.tile([1.0, -1.0], flat.shape[1] // 2) / np.sqrt(flat.shape[1])
    return flat.astype(np.float32)


def _components(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    links = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(count, count))
    labels = connected_components(links, directed=False)[1]
    _, appearance, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty_like(appearance)
    rank[np.argsort(appearance)] = np.arange(len(appearance))
    return rank[inverse].astype(np.int64)
