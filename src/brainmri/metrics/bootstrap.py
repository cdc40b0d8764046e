"""Intervals that respect groups: images of one patient are not independent of each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
        return _exact(bool(hit.all()), len(totals), confidence)
    # Groups with the same counts are interchangeable, so it is enough to draw how often each kind of group occurs.
    kinds, how_many = np.unique(np.stack([hits, totals], axis=1), axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(totals), how_many / len(totals), size=resamples)
    drawn_hits, drawn_totals = (draws @ kinds).T
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn_hits / drawn_totals, [tail, 1 - tail])
    return [float(low), float(high)]


def _exact(right: bool, trials: int, confidence: float) -> list[float]:
    """The binomial (Clopper-Pearson) interval where all of the trials were right, or all wrong."""
    from scipy.stats import binomtest  # half a second to import

    found = binomtest(trials if right else 0, trials).proportion_ci(confidence)
    return [float(found.low), float(found.high)]


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


def auroc_bootstrap(
    scores: ArrayLike, positive: ArrayLike, groups: Sequence[str], *, confidence: float = 0.95, seed: int = 0
) -> list[float] | None:
    """Percentile bootstrap interval of the area under the ROC curve, drawing whole groups with replacement.

    Where the two kinds do not overlap all resamples are equal and the bootstrap would claim certainty. The exact
    binomial (Clopper-Pearson) interval is given instead, with as many trials as the rarer kind has groups.

    Args:
        scores: (N,). positive: (N,) whether each should have a high one; both kinds occur.
        groups: (N,) group ids.
        confidence: coverage of the two-sided interval, 0..1.
        seed: of the random draw; the same input gives the same interval.

    Returns:
        [low, high] in 0..1, or None where one kind has one group only.
    """
    values, truth, ids = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool), np.asarray(groups)
    fewest = min(len(set(ids[truth])), len(set(ids[~truth])))
    if fewest < 2:
        return None
    apart = values[truth].min() > values[~truth].max(), values[truth].max() < values[~truth].min()
    if any(apart):
        return _exact(bool(apart[0]), fewest, confidence)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(auroc_resamples(values, truth, groups, seed=seed), [tail, 1 - tail])
    return [float(low), float(high)]


def sensitivity_at(scores: NDArray[np.float64], positive: NDArray[np.bool_], specificity: float) -> float:
    """Share of the positive ones above the lowest threshold that leaves at least `specificity` of the others below.

    Args:
        scores: (N,). positive: (N,) whether each should have a high one; both kinds occur. specificity: 0..1.
    """
    limit = np.quantile(scores[~positive], specificity, method="inverted_cdf")
    return float((scores[positive] > limit).mean())


def sensitivity_at_bootstrap(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    groups: Sequence[str],
    specificity: float,
    *,
    resamples: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[float] | None:
    """Percentile bootstrap interval of `sensitivity_at`, drawing whole groups with replacement.

    Each resample sets its threshold anew, so that the interval also holds what a chance set of negative images does to
    the threshold. Where every positive one is above it (or none is), the exact binomial interval is given, each group
    counted as one trial.

    Returns:
        [low, high] in 0..1, or None where one kind has one group only.
    """
    ids = np.asarray(groups, dtype=str)
    of_positive = len(set(ids[positive]))
    if min(of_positive, len(set(ids[~positive]))) < 2:
        return None
    found = sensitivity_at(scores, positive, specificity)
    if found in (0, 1):
        return _exact(found == 1, of_positive, confidence)
    _, group = np.unique(ids, return_inverse=True)
    number = int(group.max()) + 1
    order = np.argsort(scores, kind="stable")
    values, up, member = scores[order], positive[order], group[order]
    low_values, high_values = values[~up], values[up]
    shares: list[NDArray[np.float64]] = []
    for drawn in _draws(number, len(values), resamples, seed):
        negatives = np.cumsum(drawn[:, member[~up]], axis=1)
        positives = np.cumsum(drawn[:, member[up]], axis=1)
        place = (negatives >= np.ceil(specificity * negatives[:, -1:] - 1e-9)).argmax(axis=1)
        below = np.searchsorted(high_values, low_values[place], side="right")
        total = positives[:, -1]
        under = np.where(below > 0, np.take_along_axis(positives, np.maximum(below - 1, 0)[:, None], 1)[:, 0], 0)
        usable = (total > 0) & (negatives[:, -1] > 0)
        shares.append(1 - under[usable] / total[usable])
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(shares), [tail, 1 - tail])
    return [float(low), float(high)]


def _draws(groups: int, items: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each group is drawn, (R, groups), a few resamples at a time, so that memory is bounded."""
    generator = np.random.default_rng(seed)
    at_once = max(1, 4_000_000 // max(items, groups))
    for first in range(0, resamples, at_once):
        yield generator.multinomial(groups, np.full(groups, 1 / groups), size=min(at_once, resamples - first))


def auroc_resamples(
    scores: ArrayLike, positive: ArrayLike, groups: Sequence[str], *, resamples: int = 2_000, seed: int = 0
) -> NDArray[np.float64]:
    """The area under the ROC curve of each resample (R,), drawn by group; NaN for one without both kinds.

    The draws depend on the groups and the seed alone, so that the areas of two scores of the same items are paired.
    """
    _, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    number = int(group.max()) + 1
    values, place = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
    truth = np.asarray(positive, dtype=bool)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(values)))
    areas = []
    for drawn in _draws(number, len(order), resamples, seed):
        times = drawn[:, group[order]]
        up = np.add.reduceat(times * truth[order], starts, axis=1)
        down = np.add.reduceat(times * ~truth[order], starts, axis=1)
        below = np.cumsum(down, axis=1) - down
        pairs = up.sum(axis=1) * down.sum(axis=1)
        won = (up * (below + 0.5 * down)).sum(axis=1)
        areas.append(np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0))
    return np.concatenate(areas)
