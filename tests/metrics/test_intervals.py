import time

import numpy as np
import pytest
from scipy.stats import bootstrap

from brainmri.metrics.bootstrap import group_bootstrap, group_bootstrap_mean


def clustered(groups=80, size=10, seed=0):
    """Groups that are wholly right (80 %) or wholly wrong."""
    right = np.random.default_rng(seed).random(groups) < 0.8
    return np.repeat(right, size), [f"g{i // size}" for i in range(groups * size)]


def test_by_group_is_wider_than_by_image_on_clustered_data():
    correct, groups = clustered()
    low, high = group_bootstrap(correct, groups)
    image_low, image_high = group_bootstrap(correct, [str(i) for i in range(len(correct))])
    # Ten equal images per group: the standard error, and so the width, grows by sqrt(10).
    assert (high - low) / (image_high - image_low) == pytest.approx(np.sqrt(10), rel=0.1)


def scipys_interval(sums, totals):
    found = bootstrap(
        (sums, totals),
        lambda k, n, axis: k.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        rng=1,
    ).confidence_interval
    return [found.low, found.high]


def test_agrees_with_scipy_bootstrap_over_groups_of_unequal_size():
    rng = np.random.default_rng(3)
    totals = rng.integers(1, 12, size=150)
    hits = rng.binomial(totals, 0.85)
    correct = np.concatenate([np.arange(n) < k for k, n in zip(hits, totals, strict=True)])
    groups = [f"g{i}" for i, n in enumerate(totals) for _ in range(n)]
    expected = scipys_interval(hits, totals)
    assert group_bootstrap(correct, groups) == pytest.approx(expected, abs=0.003)


def test_covers_the_true_accuracy_about_95_times_of_100():
    hits = 0
    for seed in range(200):
        low, high = group_bootstrap(*clustered(seed=seed), resamples=2000)
        hits += low <= 0.8 <= high
    assert 180 <= hits <= 199


def test_same_input_same_interval_and_order_does_not_matter():
    correct, groups = clustered()
    order = np.random.default_rng(1).permutation(len(correct))
    assert group_bootstrap(correct, groups) == group_bootstrap(correct[order], [groups[i] for i in order])
    assert group_bootstrap(correct, groups, seed=1) != group_bootstrap(correct, groups, seed=2)


def test_one_group_has_no_interval():
    assert group_bootstrap([True, False], ["g", "g"]) is None


def test_no_errors_is_not_certainty():
    """Twenty groups without an error: exact lower bound 0.025 ** (1/20), as for twenty images."""
    low, high = group_bootstrap([True] * 60, [f"g{i // 3}" for i in range(60)])
    assert low == pytest.approx(0.025 ** (1 / 20))
    assert high == 1
    assert group_bootstrap([False] * 60, [f"g{i // 3}" for i in range(60)]) == pytest.approx([0, 1 - low])


def test_ten_thousand_resamples_of_a_large_test_set_take_less_than_a_second():
    rng = np.random.default_rng(0)
    groups = [str(g) for g in rng.integers(4000, size=20_000)]
    start = time.perf_counter()
    group_bootstrap(rng.random(20_000) < 0.9, groups)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(("correct", "groups"), [([], []), ([True], ["a", "b"])])
def test_lengths_are_checked(correct, groups):
    with pytest.raises(ValueError, match="one each and at least one"):
        group_bootstrap(correct, groups)


def test_the_mean_of_any_values_agrees_with_scipy_and_with_the_accuracy():
    rng = np.random.default_rng(4)
    totals = rng.integers(1, 12, size=150)
    values = np.concatenate([rng.normal(rng.normal(), 0.1, size=n) for n in totals])
    groups = [f"g{i}" for i, n in enumerate(totals) for _ in range(n)]
    sums = [values[np.array(groups) == f"g{i}"].sum() for i in range(150)]
    expected = scipys_interval(sums, totals)
    assert group_bootstrap_mean(values, groups) == pytest.approx(expected, abs=0.01)
    assert group_bootstrap_mean(values > 0, groups) == pytest.approx(group_bootstrap(values > 0, groups), abs=0.01)
    assert group_bootstrap_mean(values, groups) == group_bootstrap_mean(values, groups)
    assert group_bootstrap_mean([0.5, 0.7], ["g", "g"]) is None
    with pytest.raises(ValueError, match="1 values for 2 group ids"):
        group_bootstrap_mean([0.5], ["g", "h"])
