"""Whole groups dealt to parts of given shares: another seed, another partition, and each of them balanced.

`StratifiedGroupKFold` deals the groups largest first, and its shuffle reaches only groups of equal spread: where every
patient has another number of slices, it gives one partition for all seeds. There `drawn_partition` takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

ALIKE = 3  # groups with equally many images of each class
CANDIDATES = 64  # drawn for a block of seeds
KEPT = CANDIDATES // 2  # of them, and seeds of a block
DISORDER = 1.0  # standard deviation of what is added to the logarithm of a group's size before groups are sorted by it


def counts_by_group(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Images of each group and class, int64 (G, C), of the class and the group number of each image."""
    counts = np.zeros((int(groups.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (groups, labels), 1)
    return counts


def shuffle_decides(counts: np.ndarray) -> bool:
    """Whether a shuffle among groups of equal spread decides which fold most groups get into.

    That is so where, in every class, at least half of the groups have `ALIKE` - 1 equal ones, with which the shuffle
    makes them change places. (An equal spread in another class changes nothing: whichever comes first, each goes where
    its class lacks it.)

    Args:
        counts: images of each group and class (G, C).
    """
    _, kind, alike = np.unique(counts, axis=0, return_inverse=True, return_counts=True)
    free = alike[kind.reshape(-1)] >= ALIKE
    return all(free[counts[:, label] > 0].mean() >= 0.5 for label in range(counts.shape[1]))


def drawn_partition(
    counts: np.ndarray, shares: Sequence[float], seed: int, *, interchangeable: bool = False
) -> np.ndarray:
    """The part of each group, int64 (G,), 0..P-1: parts that have about `shares` of every class.

    Candidates are drawn: groups in a random order, larger ones rather earlier, each into the part that lacks it most.
    What is balanced are the images and the groups of every class, and those of all classes together. A class with as
    many groups as there are parts is in every part, if its groups hold no other class. `KEPT` seeds that follow each
    other share one block of candidates. They take the different ones of them in turn: of those that miss no share by
    more than the largest group of a class (and one group in number), or are in the better half, the `KEPT` closest.

    Args:
        counts: images of each group and class (G, C); every class has one.
        shares: of the parts, above 0, 1 together.
        interchangeable: the parts are folds, whose numbers say nothing: two partitions that differ in those only are
            one.
    """
    block, turn = divmod(seed, KEPT)
    candidates = _candidates(counts, np.asarray(shares, dtype=np.float64), block)
    if interchangeable:
        candidates = [replace(one, parts=_renumbered(one.parts, len(shares))) for one in candidates]
    candidates.sort(key=lambda one: one.distance)
    different: dict[bytes, Candidate] = {}
    for one in candidates:
        different.setdefault(one.parts.tobytes(), one)
    half = -(-len(different) // 2)
    kept = [one for rank, one in enumerate(different.values()) if rank < half or one.missed <= 1][:KEPT]
    return kept[turn % len(kept)].parts


@dataclass(frozen=True)
class Candidate:
    """Attributes:
    parts: of each group, int64 (G,).
    distance: the sum over the parts, and over all that is balanced, of (share - wanted)^2 / wanted; a class that a part
        lacks although it could have it weighs more than all else.
    missed: the most by which the share of a class is missed in a part, where 1 is the largest group of the class for
        its images, and one group for its groups.
    """

    parts: np.ndarray
    distance: float
    missed: float


def _candidates(counts: np.ndarray, shares: np.ndarray, block: int) -> list[Candidate]:
    """`CANDIDATES` partitions, drawn side by side."""
    groups, classes = counts.shape
    present = counts > 0
    balanced = np.hstack([counts, present, counts.sum(1, keepdims=True), np.ones((groups, 1))]).astype(np.float64)
    balanced /= balanced.sum(0)
    # The older generator, whose numbers no version of numpy may change: a split is made again with the next one.
    disorder = DISORDER * np.random.RandomState(block).standard_normal((CANDIDATES, groups))
    order = np.argsort(-(np.log(counts.sum(1)) + disorder), axis=1, kind="stable")
    each, wanted = np.arange(CANDIDATES), shares[None, :, None]
    parts = np.empty((CANDIDATES, groups), dtype=np.int64)
    inside = np.zeros((CANDIDATES, len(shares), balanced.shape[1]))
    has = np.zeros((CANDIDATES, len(shares), classes), dtype=bool)
    left = np.tile(present.sum(0), (CANDIDATES, 1))
    for group in order.T:
        added, here = balanced[group][:, None], present[group]
        farther = ((2 * (inside - wanted) + added) * added / wanted).sum(2)
        needed = here & (left <= (~has).sum(1))  # as many groups are left as parts lack the class
        farther += 1e6 * (needed[:, None] & has).sum(2)
        part = farther.round(9).argmin(1)  # rounded, so that no machine's last digit decides
        parts[each, group] = part
        inside[each, part] += balanced[group]
        has[each, part] |= here
        left -= here
    lacking = np.maximum(0, np.minimum(len(shares), present.sum(0)) - has.sum(1)).sum(1)
    distances = (1e6 * lacking + ((inside - wanted) ** 2 / wanted).sum((1, 2))).round(9)
    missed = (np.abs(inside - wanted) / balanced.max(0))[..., : 2 * classes].max((1, 2))
    found = zip(parts, distances.tolist(), missed.round(9).tolist(), strict=True)
    return [Candidate(*one) for one in found]


def _renumbered(part: np.ndarray, parts: int) -> np.ndarray:
    """The same partition, its parts numbered in the order of their first groups."""
    firsts = np.array([np.argmax(part == number) if (part == number).any() else len(part) for number in range(parts)])
    numbers = np.empty(parts, dtype=np.int64)
    numbers[np.argsort(firsts, kind="stable")] = np.arange(parts)
    renumbered: np.ndarray = numbers[part]
    return renumbered
