"""Near duplicates and groups, on images made here whose relations are known."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

from benchmarks.grouping import extended, recall
from brainmri.data.duplicates.grouping import LOOKS_ALIKE, SAME_GROUP, SAME_IMAGE, SAME_STRUCTURE, find_groups
from brainmri.data.duplicates.index import near_pairs
from brainmri.data.duplicates.similarity import (
    WHITENING,
    best_correlation,
    fit_whitening,
    reduced,
    smooth,
    symmetry_components,
    whitened_descriptors,
)
from brainmri.data.phantom.generate import phantom_thumbnails
from brainmri.data.thumbnails import content_thumbnail, thumbnail

from .sources import REPOSITORY

REAL_DATA = Path(os.environ.get("BRAINMRI_REAL_DATA", REPOSITORY.parent / "shared/data/brain-tumor-mri-224"))


def images(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random images that correlate little with each other: uint8 (count, 64, 64)."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(count, 8, 8))
    return np.kron(coarse, np.ones((8, 8))).astype(np.uint8)


def test_images_are_halved_and_smoothed_as_numpy_and_scipy_do_it() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (7, 64, 64)).astype(np.uint8)
    for thumbnails in (noise, noise[:, ::-1], noise[:, :, ::-1], noise.transpose(0, 2, 1)):
        halved = reduced(thumbnails)
        assert np.array_equal(halved, thumbnails.reshape(7, 32, 2, 32, 2).mean((2, 4)))
        smoothed = gaussian_filter(halved, (0, 2, 2), mode="nearest")
        assert smooth(halved, 2.0) == pytest.approx(smoothed, abs=1e-3)


def test_mirrors_turns_and_contrast_are_the_same_picture() -> None:
    one, other = images(2)
    noisy = np.clip(one + np.random.default_rng(1).normal(0, 3, one.shape), 0, 255).astype(np.uint8)
    forms = [one, one[:, ::-1], other, one[::-1], one[::-1, ::-1], one // 2 + 40, noisy]
    grouping = find_groups(np.stack(forms), [""] * len(forms))
    assert grouping.image.tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert grouping.group.tolist() == [0, 0, 1, 0, 0, 0, 0]


def test_a_quarter_turn_and_a_negative_are_other_images() -> None:
    (one,) = images(1)
    grouping = find_groups(np.stack([one, np.rot90(one), 255 - one]), [""] * 3)
    assert grouping.group.tolist() == [0, 1, 2]


def neighbour(one: np.ndarray, rows: int = 1) -> np.ndarray:
    """The image moved down: by one row its structure is alike to 0.7 or 0.8, by two it is another one."""
    return np.roll(one, rows, axis=0)


def test_neighbouring_slices_share_a_group_but_are_not_one_image() -> None:
    (one,) = images(1)
    grouping = find_groups(np.stack([one, neighbour(one), neighbour(one, 3)]), [""] * 3)
    assert grouping.image.tolist() == [0, 1, 2]
    assert grouping.group.tolist() == [0, 0, 1]


def test_given_ids_hold_together_and_outweigh_likeness_but_not_identity() -> None:
    one, _, third = images(3)
    near = neighbour(one)
    grouping = find_groups(np.stack([one, third, near]), ["patient 1", "patient 1", "patient 2"])
    assert grouping.group.tolist() == [0, 0, 1]
    grouping = find_groups(np.stack([one, third, near]), ["patient 1", "patient 1", ""])
    assert grouping.group.tolist() == [0, 0, 0]
    grouping = find_groups(np.stack([one, third, one[:, ::-1]]), ["patient 1", "patient 1", "patient 2"])
    assert grouping.group.tolist() == [0, 0, 0]
    assert grouping.image.tolist() == [0, 1, 0]


def test_images_without_contrast_group_with_each_other_only() -> None:
    flat = np.stack([np.full((64, 64), level, np.uint8) for level in (0, 90)])
    assert find_groups(np.concatenate([flat, images(2)]), [""] * 4).group.tolist() == [0, 0, 1, 2]


def brute_force(thumbnails: np.ndarray, threshold: float) -> set[tuple[int, int]]:
    """All pairs i < j that reach the threshold, by the textbook."""
    small = thumbnails.reshape(-1, 32, 2, 32, 2).mean((2, 4))
    upright = small.reshape(len(small), -1)
    best = np.full((len(small), len(small)), -1.0)
    for pose in (small, small[:, ::-1], small[:, :, ::-1], small[:, ::-1, ::-1]):
        best = np.maximum(best, np.corrcoef(pose.reshape(len(small), -1), upright)[: len(small), len(small) :])
    return {(int(i), int(j)) for i, j in np.argwhere(np.triu(best, 1) >= threshold)}


def partition(count: int, pairs: set[tuple[int, int]]) -> list[int]:
    """The components of the pairs, numbered by first appearance."""
    label = list(range(count))
    for i, j in sorted(pairs):
        low, high = sorted((label[i], label[j]))
        if low != high:
            label = [low if own == high else own for own in label]
    numbers: dict[int, int] = {}
    return [numbers.setdefault(own, len(numbers)) for own in label]


@pytest.fixture(scope="module")
def collection() -> np.ndarray:
    """Phantom slices and new images made of them, a third of them near duplicates: uint8 (5000, 64, 64)."""
    return np.concatenate(list(extended(phantom_thumbnails(32), 5000)))


@pytest.mark.integration
@pytest.mark.parametrize("threshold", [0.85, 0.95, 0.98])
def test_the_pairs_are_those_of_comparing_all_with_all(collection: np.ndarray, threshold: float) -> None:
    thumbnails = collection[:900]
    first, second, correlation = near_pairs(thumbnails, threshold)
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    assert len(pairs) > 100
    assert len(set(pairs)) == len(pairs)
    assert brute_force(thumbnails, threshold + 1e-5) <= set(pairs) <= brute_force(thumbnails, threshold - 1e-5)
    assert correlation.min() >= threshold
    assert correlation.max() <= 1 + 1e-5


@pytest.mark.integration
def test_groups_are_those_of_comparing_all_with_all(collection: np.ndarray) -> None:
    thumbnails = collection[:1200]
    grouping = find_groups(thumbnails, [""] * len(thumbnails))
    near = np.array(sorted(brute_force(thumbnails, LOOKS_ALIKE)))
    likeness = best_correlation(whitened_descriptors(thumbnails), near[:, 0], near[:, 1])
    alike, own = ({(int(i), int(j)) for i, j in near[likeness >= least]} for least in (SAME_GROUP, SAME_STRUCTURE))
    same = brute_force(thumbnails, SAME_IMAGE) | own
    assert grouping.image.tolist() == partition(len(thumbnails), same)
    assert grouping.group.tolist() == partition(len(thumbnails), same | alike)


@pytest.mark.integration
def test_among_more_images_than_are_looked_through_hardly_a_pair_is_missed(collection: np.ndarray) -> None:
    (result,) = recall(collection, [0.95])
    assert result["pairs"] > 1500
    assert result["recall"] >= 0.99
    assert result["wrong"] == 0


@pytest.mark.integration
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 199), st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_every_pose_of_a_image_is_found_among_many(poses: list[tuple[int, bool, bool]]) -> None:
    others = images(200)
    copies = np.stack([others[k][:: -1 if v else 1, :: -1 if h else 1] for k, v, h in poses])
    grouping = find_groups(np.concatenate([others, copies // 2 + 30]), [""] * (200 + len(poses)))
    assert grouping.image.tolist() == [*range(200), *(k for k, _, _ in poses)]


def test_a_crowd_of_images_all_alike_is_one_and_hides_no_other() -> None:
    rng = np.random.default_rng(0)
    one, twin, *others = phantom_thumbnails(32)[:40]
    crowd = np.clip(one + rng.normal(0, 4, (700, 64, 64)), 0, 255).astype(np.uint8)
    thumbnails = np.concatenate([crowd, [twin, twin[:, ::-1]], others])
    shuffled = rng.permutation(len(thumbnails))
    grouping = find_groups(thumbnails[shuffled], [""] * len(thumbnails))
    image = grouping.image[np.argsort(shuffled)]
    assert len(set(image[:700])) == 1
    assert image[700] == image[701]
    assert image[700] not in image[:700]


def test_thousands_of_blank_or_equal_images_are_one_each() -> None:
    one, other = images(2)
    blank = np.arange(20_000, dtype=np.uint8)[:, None, None].repeat(64, axis=1).repeat(64, axis=2)
    grouping = find_groups(np.concatenate([blank, np.stack([one] * 5000), [other]]), [""] * 25_001)
    assert grouping.image.tolist() == [0] * 20_000 + [1] * 5000 + [2]


def test_an_unidentified_copy_links_what_its_identified_copy_may_not() -> None:
    (one,) = images(1)
    near = neighbour(one)
    assert find_groups(np.stack([one, near]), ["patient 1", "patient 2"]).group.tolist() == [0, 1]
    assert find_groups(np.stack([one, near, one]), ["patient 1", "patient 2", ""]).group.tolist() == [0, 0, 0]


@pytest.mark.integration
def test_the_groups_do_not_depend_on_the_number_of_threads(collection: np.ndarray) -> None:
    with threadpool_limits(1):
        one = find_groups(collection, [""] * len(collection))
    with threadpool_limits(4):
        four = find_groups(collection, [""] * len(collection))
    np.testing.assert_array_equal(one.image, four.image)
    np.testing.assert_array_equal(one.group, four.group)


def test_nothing_has_no_groups() -> None:
    nothing = np.empty((0, 64, 64), np.uint8)
    assert find_groups(nothing, []).group.tolist() == []
    assert [len(column) for column in near_pairs(nothing, 0.9)] == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the 7,023 real images are not here (set BRAINMRI_REAL_DATA)")
def test_recall_on_the_real_set() -> None:
    files = sorted(file for file in REAL_DATA.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for result in recall(np.stack([thumbnail(Image.open(file)) for file in files])):
        assert result["recall"] >= 0.99
        assert result["wrong"] <= 2  # rounding, right at the threshold


def test_the_two_arguments_must_fit() -> None:
    with pytest.raises(ValueError, match="3 thumbnails but 2 given"):
        find_groups(images(3), ["", ""])
    with pytest.raises(ValueError, match="3 thumbnails but 2 contents"):
        find_groups(images(3), [""] * 3, contents=images(2))
    with pytest.raises(ValueError, match="3 thumbnails but 4 names"):
        find_groups(images(3), [""] * 3, names=list("abcd"))


def test_a_image_with_another_border_is_the_same_one_where_the_border_is_known() -> None:
    one, other = (Image.fromarray(image.repeat(4, 0).repeat(4, 1)) for image in phantom_thumbnails(1)[[0, 4]])
    images = [one, other, ImageOps.mirror(ImageOps.expand(one, (30, 10, 20, 40)))]
    thumbnails, contents = (np.stack([view(source) for source in images]) for view in (thumbnail, content_thumbnail))
    assert find_groups(thumbnails, [""] * 3).image.tolist() == [0, 1, 2]
    assert find_groups(thumbnails, [""] * 3, contents=contents).image.tolist() == [0, 1, 0]


def test_another_contrast_that_correlates_less_is_the_same_picture() -> None:
    one, other = phantom_thumbnails(2)[[2, 13]]
    burnt = np.clip(one * 2.5, 0, 255).astype(np.uint8)
    thumbnails = np.stack([one, burnt[::-1], other])
    assert best_correlation(symmetry_components(thumbnails), np.array([0]), np.array([1])) < SAME_IMAGE
    assert find_groups(thumbnails, [""] * 3).image.tolist() == [0, 0, 1]


def test_fine_structure_tells_more_than_the_outline() -> None:
    slices = phantom_thumbnails(20)
    lighter = np.clip(slices * np.linspace(0.6, 1.3, 64), 0, 255).astype(np.uint8)  # brighter from left to right
    rows = np.arange(len(slices))
    alike = best_correlation(whitened_descriptors(np.concatenate([slices, lighter])), rows, rows + len(rows))
    assert alike.min() > 0.9
    strangers = best_correlation(whitened_descriptors(slices), rows[:-9], rows[9:])  # 9 slices a subject
    assert np.quantile(strangers, 0.95) < SAME_GROUP


@pytest.mark.slow
def test_the_whitening_that_is_shipped_is_the_one_of_the_phantom_set() -> None:
    again = fit_whitening(phantom_thumbnails(144)).astype(np.float32)
    np.testing.assert_allclose(again, np.load(WHITENING).astype(np.float32), atol=0.02 * np.abs(again).max())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=12), st.integers(0, 99))
def test_equal_ids_always_share_a_group_and_images_nest_in_groups(ids: list[str], seed: int) -> None:
    thumbnails = images(len(ids), seed)
    grouping = find_groups(thumbnails, ids)
    for name in set(ids) - {""}:
        assert len({group for group, own in zip(grouping.group, ids, strict=True) if own == name}) == 1
    for image in set(grouping.image):
        assert len(set(grouping.group[grouping.image == image])) == 1
    assert grouping.group[0] == 0
    assert set(grouping.group) == set(range(grouping.group.max() + 1))
