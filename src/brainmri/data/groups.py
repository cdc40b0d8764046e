"""Near duplicates and neighbouring slices, from greyscale thumbnails by normalised correlation.

The thresholds were chosen on the 7,023 images of the Kaggle set by looking at pairs on both sides of each
(docs/LOG.md, 2026-11-22): above 0.98 a pair is the same picture, or rarely the next slice of it; above 0.95 most pairs
are slices of one patient; at 0.90 most pairs are strangers, and single linkage glues over a thousand of them together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from brainmri.data.likeness import best_correlation, mirror_parts
from brainmri.data.neighbours import candidate_blocks

SAME_PICTURE = 0.98
SAME_GROUP = 0.95


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

    No link is wrong, and up to 4,159 different thumbnails none is missing. Among more, the search for alike pictures
    may miss a few (see brainmri.data.neighbours): a group then falls apart only if all links between two parts of it
    are missed. Any number of equal thumbnails, among them those without contrast, counts as one in the search. The same
    arguments give the same groups, whatever the number of threads.

    Args:
        thumbnails: uint8, shape (N, 64, 64).
        given: N group ids known beforehand (patients, say), "" where unknown. Equal ids always share a group. Two
            images with different ids share one only where they are the same picture: that two slices look alike does
            not outweigh an id that says they are of two patients.

    Raises:
        ValueError: if the two arguments do not have the same length.
    """
    if len(given) != len(thumbnails):
        raise ValueError(
            f"{len(thumbnails)} thumbnails but {len(given)} given group ids: one id (or an empty text) per image"
        )
    parts = mirror_parts(thumbnails)
    kept, kind = _copies(parts)  # from here on, one of each kind of equal thumbnails stands for all of them
    parts = parts[kept]
    unidentified = np.zeros(len(kept), dtype=bool)
    unidentified[kind[[not name for name in given]]] = True
    picture = group = np.arange(len(kept))
    for first, second in candidate_blocks(parts, SAME_GROUP):
        # Where thousands are alike, a few pairs link them, and to measure the millions of others would take minutes.
        apart = picture[first] != picture[second]
        first, second = first[apart], second[apart]
        correlation = best_correlation(parts, first, second)
        same = correlation >= SAME_PICTURE
        linked = same | (correlation >= SAME_GROUP) & (unidentified[first] | unidentified[second])
        picture = _joined(picture, first[same], second[same])
        group = _joined(group, first[linked], second[linked])
    known: dict[str, int] = {}
    told = [(row, known.setdefault(name, row)) for row, name in enumerate(given) if name]
    rows, anchors = np.array(told, dtype=np.int64).reshape(-1, 2).T
    group = _joined(group, kind[rows], kind[anchors])
    return Grouping(picture=_by_appearance(picture[kind]), group=_by_appearance(group[kind]))


def _copies(parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each kind of equal rows, and the kind of each row: 0, 1, ... by first appearance."""
    kinds: dict[bytes, int] = {}
    kind = np.empty(len(parts), dtype=np.int64)
    kept: list[int] = []
    for row, values in enumerate(parts):
        kind[row] = kinds.setdefault(hashlib.sha256(values).digest(), len(kinds))
        if kind[row] == len(kept):
            kept.append(row)
    return np.array(kept, dtype=np.int64), kind


def _joined(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The labels (0..N-1) after the sets that hold first[k] and second[k] have become one, for each k."""
    links = coo_array(
        (np.ones(len(first), dtype=bool), (labels[first], labels[second])), shape=(len(labels), len(labels))
    )
    return connected_components(links, directed=False)[1].astype(np.int64)[labels]


def _by_appearance(labels: np.ndarray) -> np.ndarray:
    _, appearance, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty_like(appearance)
    rank[np.argsort(appearance)] = np.arange(len(appearance))
    return rank[inverse].astype(np.int64)
