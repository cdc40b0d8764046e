"""Intervals that respect groups: images of one patient are not independent of each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def group_bootstrap(
    correct: ArrayLike, groups: Sequence[str], *, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> list[float] | None:
    """Percentile bootstrap interval of the accuracy, drawing whole groups with replacement.

    Groups are drawn and not images, because the slices of one patient tend to be right or wrong together; drawing
    images would give an interval that is too narrow.

    If every image is right (or every one wrong), all resamples are equal and the bootstrap would claim certainty. The
    exact binomial (Clopper-Pearson) interval is given instead, each group counted as one trial.

    Args:
        correct: (N,) true where the image was classified rightly.
        groups: (N,) group ids.
        resamples: number of bootstrap samples.
        confidence: coverage of the two-sided interval, 0..1.
        seed: of the random draw; the same input gives the same interval.

    Returns:
        [low, high] in 0..1, or None where there is only one group: one draw says nothing about how groups differ.

    Raises:
        ValueError: `correct` and `groups` differ in length, or are empty.
    """
    hit = np.asarray(correct, dtype=bool)
    if len(hit) != len(groups) or len(hit) == 0:
        raise ValueError(f"{len(hit)} results for {len(groups)} group ids; one each and at least one are expected.")
    _, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    totals = np.bincount(group)
    hits = np.bincount(group, weights=hit).astype(np.int64)
    if len(totals) == 1:
        return None
    if hit.all() or not hit.any():
        from scipy.stats import binomtest  # half a second to import

        exact = binomtest(len(totals) if hit.all() else 0, len(totals)).proportion_ci(confidence)
        return [float(exact.low), float(exact.high)]
    # Groups with the same counts are interchangeable, so it is enough to draw how often each kind of group occurs.
    kinds, how_many = np.unique(np.stack([hits, totals], axis=1), axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(totals), how_many / len(totals), size=resamples)
    drawn_hits, drawn_totals = (draws @ kinds).T
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn_hits / drawn_totals, [tail, 1 - tail])
    return [float(low), float(high)]


def group_bootstrap_mean(
    values: ArrayLike, groups: Sequence[str], *, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> list[float] | None:
    """Percentile bootstrap interval of the mean of any values, drawing whole groups with replacement.

    For shares of hits and misses take `group_bootstrap`: where all values are equal, this claims certainty.

    Args:
        values: (N,) one number for each image.
        groups: (N,) group ids.
        resamples: number of bootstrap samples.
        confidence: coverage of the two-sided interval, 0..1.
        seed: of the random draw; the same input gives the same interval.

    Returns:
        [low, high], or None where there is only one group.

    Raises:
        ValueError: `values` and `groups` differ in length, or are empty.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) != len(groups) or len(numbers) == 0:
        raise ValueError(f"{len(numbers)} values for {len(groups)} group ids; one each and at least one are expected.")
    _, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    totals, sums = np.bincount(group), np.bincount(group, weights=numbers)
    if len(totals) == 1:
        return None
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(0, resamples, 1000):  # a thousand at a time bound the memory
        drawn = generator.integers(len(totals), size=(1000, len(totals)))
        means.append(sums[drawn].sum(axis=1) / totals[drawn].sum(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means)[:resamples], [tail, 1 - tail])
    return [float(low), float(high)]
