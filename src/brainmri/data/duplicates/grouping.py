"""Near duplicates and neighbouring slices, from greyscale thumbnails.

The same image: the correlation of two thumbnails, or of what is inside their borders, reaches 0.98, or the
similarity of their fine structures (brainmri.data.duplicates.similarity) 0.90, which other contrast and sharpening
hardly change. A group, hence one patient as far as images can tell: the same image, or structures a little less alike,
or files of one series with neighbouring numbers and structures still less alike (see `sequence_pairs`). What the
thresholds find and what they glue together on the 7,023 images of the Kaggle set: docs/LOG.md, 2026-11-24.

Sequences of slices are told by the numbers in their file names. Many sets were numbered in the order of their source,
patient by patient and slice by slice. Where that is so, two files with neighbouring numbers need not look very much
alike to be taken for slices of one patient. Whether it is so the set itself shows: neighbouring numbers are then alike
far more often than distant ones, which are other patients.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from brainmri.data.duplicates.index import candidate_blocks
from brainmri.data.duplicates.similarity import best_correlation, symmetry_components, whitened_descriptors

SAME_IMAGE = 0.98  # correlation
SAME_STRUCTURE = 0.90  # likeness of the fine structure: the same image, in another contrast perhaps
SAME_GROUP = 0.58  # likeness of the fine structure
LOOKS_ALIKE = 0.90  # correlation below which structures are not compared: of the pairs at 0.58, 94 % reach it


@dataclass(frozen=True)
class Grouping:
    """`image` and `group`: int64 arrays of shape (N,), numbered 0, 1, ... by first appearance.

    Equal images always share a group.
    """

    image: np.ndarray
    group: np.ndarray


def find_groups(
    thumbnails: np.ndarray,
    given: Sequence[str],
    *,
    contents: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    same_group: float = SAME_GROUP,
) -> Grouping:
    """Link images that are the same image, and those that look like slices of one patient.

    Two images are compared under identity, left-right mirror, upside-down mirror and a turn by 180 degrees; the best of
    the four poses counts. Links are closed transitively (single linkage).

    No link is wrong, and up to 4,159 different thumbnails none is missing. Among more, the search for alike images
    may miss a few (see brainmri.data.duplicates.index): a group then falls apart only if all links between two parts of
    it are missed. Any number of equal thumbnails, among them those without contrast, counts as one in the search. The
    same arguments give the same groups, whatever the number of threads.

    Args:
        thumbnails: uint8, shape (N, 64, 64).
        given: N group ids known beforehand (patients, say), "" where unknown. Equal ids always share a group. Two
            images with different ids share one only where they are the same image: that two slices look alike does
            not outweigh an id that says they are of two patients.
        contents: thumbnails without the border (brainmri.data.thumbnails.content_thumbnail); None: borders are not seen
            through.
        names: of the N files, relative paths; None: their numbers are not looked at.
        same_group: likeness of the structure, from which two images are taken for slices of one patient.

    Raises:
        ValueError: if the arguments do not have the same length.
    """
    for what, values in (("given group ids", given), ("contents", contents), ("names", names)):
        if values is not None and len(values) != len(thumbnails):
            raise ValueError(f"{len(thumbnails)} thumbnails but {len(values)} {what}: one per image is needed")
    parts = symmetry_components(thumbnails)
    kept, kind = _copies(parts)  # from here on, one of each kind of equal thumbnails stands for all of them
    parts, structure = parts[kept], whitened_descriptors(thumbnails[kept])
    unidentified = np.zeros(len(kept), dtype=bool)
    unidentified[kind[[not name for name in given]]] = True
    image = group = np.arange(len(kept))
    for first, second in candidate_blocks(parts, LOOKS_ALIKE):
        # Where thousands are alike, a few pairs link them, and to measure the millions of others would take minutes.
        apart = image[first] != image[second]
        first, second = first[apart], second[apart]
        likeness = best_correlation(structure, first, second)
        same = (best_correlation(parts, first, second) >= SAME_IMAGE) | (likeness >= SAME_STRUCTURE)
        linked = same | (likeness >= same_group) & (unidentified[first] | unidentified[second])
        image = joined(image, first[same], second[same])
        group = joined(group, first[linked], second[linked])
    if contents is not None:
        inside = symmetry_components(contents[kept])
        for first, second in candidate_blocks(inside, SAME_IMAGE):
            apart = image[first] != image[second]
            first, second = first[apart], second[apart]
            same = best_correlation(inside, first, second) >= SAME_IMAGE
            image = joined(image, first[same], second[same])
            group = joined(group, first[same], second[same])
    if names is not None:
        first, second = sequence_pairs(names, kind, structure, image, same_group)
        linked = unidentified[first] | unidentified[second]
        group = joined(group, first[linked], second[linked])
    known: dict[str, int] = {}
    told = [(row, known.setdefault(name, row)) for row, name in enumerate(given) if name]
    rows, anchors = np.array(told, dtype=np.int64).reshape(-1, 2).T
    group = joined(group, kind[rows], kind[anchors])
    return Grouping(image=by_appearance(image[kind]), group=by_appearance(group[kind]))


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


def joined(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The labels (0..N-1) after the sets that hold first[k] and second[k] have become one, for each k."""
    links = coo_array(
        (np.ones(len(first), dtype=bool), (labels[first], labels[second])), shape=(len(labels), len(labels))
    )
    return connected_components(links, directed=False)[1].astype(np.int64)[labels]


def by_appearance(labels: np.ndarray) -> np.ndarray:
    """The labels numbered 0, 1, ... by first appearance."""
    _, appearance, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty_like(appearance)
    rank[np.argsort(appearance)] = np.arange(len(appearance))
    return rank[inverse].astype(np.int64)


NEXT = (1, 2)  # numbers apart: perhaps of one patient
DISTANT = range(20, 61, 4)  # numbers apart: of two patients
LEAST = 0.2  # likeness of the structure below which no number is believed
STRANGERS = 0.01  # the share of strangers among the pairs that are linked, at most
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}$")  # of a file; "train_data.npz#17" ends in a number and has none
NUMBER = re.compile(r"(.*?)(\d+)(\D*)$", re.DOTALL)
Pairs = tuple[np.ndarray, np.ndarray]
NONE: Pairs = (np.empty(0, np.int64), np.empty(0, np.int64))


def sequence_pairs(
    names: Sequence[str], rows: np.ndarray, structure: np.ndarray, image: np.ndarray, most: float
) -> Pairs:
    """Pairs of files with neighbouring numbers that are alike enough to be of one patient.

    "Enough" is told by the set, for each series of names apart: the lowest likeness above which pairs of distant
    numbers make up at most 1 % of what is found. A series that does not show it (numbered at random, or short) gives
    no pair.

    Args:
        names: of the N files, relative paths; equal but for their last number, they are one series.
        rows: int (N,), where each file stands in the next two.
        structure: of `brainmri.data.duplicates.similarity.whitened_descriptors`, (M, 4, 256).
        image: int (M,), equal where two are the same image: such pairs say nothing about neighbours.
        most: likeness from which no number is needed.

    Returns:
        Two int64 arrays of one length, rows of `structure`.
    """
    found = [NONE]
    for row_of in _series(names, rows):
        first, second = _others(_apart(row_of, NEXT), image)
        likeness = best_correlation(structure, first, second)
        distant = best_correlation(structure, *_others(_apart(row_of, DISTANT), image))
        for threshold in np.arange(LEAST, most, 0.01):
            # One is added, so that few distant pairs do not pass for none among many.
            strangers = (np.count_nonzero(distant >= threshold) + 1) / (len(distant) + 1) * len(likeness)
            if strangers <= STRANGERS * np.count_nonzero(likeness >= threshold):
                found.append((first[likeness >= threshold], second[likeness >= threshold]))
                break
    return _together(found)


def pairs_apart(names: Sequence[str], rows: np.ndarray, distances: Sequence[int]) -> Pairs:
    """All pairs of files of one series whose numbers lie so far apart. Arguments as of `sequence_pairs`."""
    return _together([NONE, *(_apart(row_of, distances) for row_of in _series(names, rows))])


def _series(names: Sequence[str], rows: np.ndarray) -> Iterator[dict[int, int]]:
    """For each set of names that are equal but for their last number: the row of each number."""
    series: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row, name in zip(rows, names, strict=True):
        if match := NUMBER.match(SUFFIX.sub("", name)):
            before, number, after = match.groups()
            series[before, after].setdefault(int(number), int(row))
    return iter(series.values())


def _apart(row_of: dict[int, int], distances: Sequence[int]) -> Pairs:
    pairs = [
        (row, row_of[number + distance])
        for distance in distances
        for number, row in row_of.items()
        if number + distance in row_of
    ]
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return first, second


def _others(pairs: Pairs, image: np.ndarray) -> Pairs:
    first, second = pairs
    other = image[first] != image[second]
    return first[other], second[other]


def _together(pairs: Sequence[Pairs]) -> Pairs:
    first, second = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return first, second
