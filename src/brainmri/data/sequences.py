"""Slices that follow each other in a series, told by the numbers in their file names.

Many sets were numbered in the order of their source, patient by patient and slice by slice. Where that is so, two files
with neighbouring numbers need not look very much alike to be taken for slices of one patient. Whether it is so the set
itself shows: neighbouring numbers are then alike far more often than distant ones, which are other patients.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from brainmri.data.likeness import best_correlation

NEXT = (1, 2)  # numbers apart: perhaps of one patient
DISTANT = range(20, 61, 4)  # numbers apart: of two patients
LEAST = 0.2  # likeness of the structure below which no number is believed
STRANGERS = 0.01  # the share of strangers among the pairs that are linked, at most
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}$")  # of a file; "train_data.npz#17" ends in a number and has none
NUMBER = re.compile(r"(.*?)(\d+)(\D*)$", re.DOTALL)

Pairs = tuple[np.ndarray, np.ndarray]
NONE: Pairs = (np.empty(0, np.int64), np.empty(0, np.int64))


def sequence_pairs(
    names: Sequence[str], rows: np.ndarray, structure: np.ndarray, picture: np.ndarray, most: float
) -> Pairs:
    """Pairs of files with neighbouring numbers that are alike enough to be of one patient.

    "Enough" is told by the set, for each series of names apart: the lowest likeness above which pairs of distant
    numbers make up at most 1 % of what is found. A series that does not show it (numbered at random, or short) gives
    no pair.

    Args:
        names: of the N files, relative paths; equal but for their last number, they are one series.
        rows: int (N,), where each file stands in the next two.
        structure: of `brainmri.data.structure.structure_parts`, (M, 4, 256).
        picture: int (M,), equal where two are the same picture: such pairs say nothing about neighbours.
        most: likeness from which no number is needed.

    Returns:
        Two int64 arrays of one length, rows of `structure`.
    """
    found = [NONE]
    for row_of in _series(names, rows):
        first, second = _others(_apart(row_of, NEXT), picture)
        likeness = best_correlation(structure, first, second)
        distant = best_correlation(structure, *_others(_apart(row_of, DISTANT), picture))
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


def _others(pairs: Pairs, picture: np.ndarray) -> Pairs:
    first, second = pairs
    other = picture[first] != picture[second]
    return first[other], second[other]


def _together(pairs: Sequence[Pairs]) -> Pairs:
    first, second = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return first, second
