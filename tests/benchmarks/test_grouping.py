"""The grouping benchmark: what it measures, and the images it makes."""

import numpy as np
import pytest

from benchmarks.grouping import exact_pairs, extended, measure, recall
from brainmri.data.phantom.generate import phantom_thumbnails


@pytest.fixture(scope="module")
def slices() -> np.ndarray:
    return phantom_thumbnails(32)


@pytest.mark.integration
def test_measures_every_size_in_a_process_of_its_own() -> None:
    results = measure([40, 600])
    assert [result["size"] for result in results] == [40, 600]
    for result in results:
        assert 0 < result["seconds"] < 60
        assert 1 <= result["groups"] <= result["size"]
        assert 1 <= result["largest_group"] <= result["size"] - result["groups"] + 1


@pytest.mark.integration
@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows does not tell the peak")
def test_the_peak_is_not_that_of_the_caller() -> None:
    held = np.ones(2**27)  # 1 GiB
    (result,) = measure([40])
    assert 20 < result["peak_mib"] < held.nbytes / 2**20


@pytest.mark.integration
def test_given_thumbnails_come_first_and_the_made_ones_are_the_same_each_time(slices: np.ndarray) -> None:
    seeds = slices[:50]
    made = [np.concatenate(list(extended(seeds, 300))) for _ in range(2)]
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0][:50], seeds)
    np.testing.assert_array_equal(np.concatenate(list(extended(seeds, 20))), seeds[:20])


def test_most_made_thumbnails_are_new_images_and_some_near_duplicates(slices: np.ndarray) -> None:
    made = np.concatenate(list(extended(slices, 1300)))[300:]
    first, second, _ = exact_pairs(made, 0.95)
    assert 0.2 < len(set(first) | set(second)) / len(made) < 0.7


def test_no_thumbnail_cannot_be_extended() -> None:
    with pytest.raises(ValueError, match="at least one"):
        list(extended(np.empty((0, 64, 64), np.uint8), 5))


def test_the_pairs_of_some_queries_are_those_of_all_that_hold_one(slices: np.ndarray) -> None:
    first, second, _ = exact_pairs(slices, 0.8)
    asked = np.array([3, 50, 51, 52, 200])
    some = exact_pairs(slices, 0.8, asked)
    expected = {(i, j) for i, j in zip(first, second, strict=True) if i in asked or j in asked}
    assert len(some[0]) == len(expected) > 10
    assert set(zip(some[0], some[1], strict=True)) == expected


def test_recall_counts_against_all_pairs(slices: np.ndarray) -> None:
    high, low = recall(slices, [1.1, 0.8])
    assert (high["pairs"], high["recall"]) == (0, None)
    assert (low["recall"], low["wrong"]) == (1, 0)
    (sampled,) = recall(slices, [0.8], queries=60)
    assert 0 < sampled["pairs"] < low["pairs"]
    assert sampled["recall"] == 1
