"""A tumour gives way to the tissue of a head like its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from brainmri.data.masks import polygon_mask
from brainmri.data.pixel_cache import PixelCache
from brainmri.transforms.config import PARAMETERS, Augmentation
from brainmri.transforms.copy_paste import CopyPaste
from brainmri.transforms.tumour_removal import SimilarHeads, laid_over

SIDE = 96
GLIOMA, HEALTHY = 0, 1


def square(left: float, top: float, size: float = 0.12) -> np.ndarray:
    right, bottom = left + size, top + size
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


LEFT, RIGHT, MIDDLE = square(0.25, 0.25), square(0.63, 0.25), square(0.44, 0.5)


def head(level: float = 100, tumour: np.ndarray | None = None, wide: float = 0.8, sideways: bool = False) -> np.ndarray:
    """A head with a skull and dark ventricles, uint8 (SIDE, SIDE); as seen from the side, with a dark nose."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    far = (x / wide) ** 2 + (y / 0.9) ** 2
    image = np.where(far < 1, np.where(far > 0.85, 2 * level, level + 10 * y), 0)
    image[(abs(abs(x / wide) - 0.3) < 0.06) & (abs(y) < 0.15)] = level / 3
    if sideways:
        image[(x < -0.2) & (y > 0.3)] /= 3
        image[(x > 0.3) & (y < -0.4)] *= 0.5
    if tumour is not None:
        image[polygon_mask([tumour], SIDE)] = 2.2 * level
    return image.clip(0, 255).astype(np.uint8)


def cache(*images: np.ndarray) -> PixelCache:
    return PixelCache(np.stack(images), np.empty((0, 3, SIDE, SIDE), np.uint8), np.full(len(images), -1))


def region(tumour: np.ndarray, wider: int = 0) -> np.ndarray:
    mask = polygon_mask([tumour], SIDE)
    return binary_dilation(mask, iterations=wider) if wider else mask


def removed(similar: SimilarHeads, pixels: PixelCache, row: int, number: float = 0.0) -> np.ndarray | None:
    found = similar.without_tumour(pixels.read(np.array([row]))[0], row, pixels, number)
    return None if found is None else found[0]


def test_another_heads_tissue_takes_its_place_at_the_level_around_it() -> None:
    """Here from a head that is a third narrower and half as bright, and that has a tumour elsewhere."""
    pixels = cache(head(100, MIDDLE, sideways=True), head(50, LEFT, wide=0.55, sideways=True))
    after = removed(SimilarHeads(pixels, [0, 1], [], {0: [MIDDLE], 1: [LEFT]}), pixels, 0)
    assert after is not None
    expected = head(100, sideways=True)
    inside = region(MIDDLE)
    assert abs(after[inside].mean() - expected[inside].mean()) < 10 < 60 < abs(head(100, MIDDLE)[inside].mean() - 100)
    far = ~region(MIDDLE, 10)
    np.testing.assert_array_equal(after[far], pixels.first[0][far])


def test_a_head_may_give_its_own_other_half() -> None:
    pixels = cache(head(100, LEFT))
    similar = SimilarHeads(pixels, [0], [], {0: [LEFT]})
    assert similar.choices == {0: [(0, True)]}
    after = removed(similar, pixels, 0)
    assert after is not None
    assert abs(after.astype(int) - head(100)).max() <= 30  # of 120 that the tumour had stood out
    assert abs(after.astype(int) - head(100))[region(LEFT)].mean() < 4


def test_no_head_with_a_tumour_there_gives_and_none_that_looks_otherwise() -> None:
    strange = np.zeros((SIDE, SIDE), np.uint8)
    strange[10:80, 10:80] = np.random.default_rng(0).integers(40, 255, (70, 70))
    pixels = cache(head(100, MIDDLE), head(100, MIDDLE), strange)
    similar = SimilarHeads(pixels, [0, 1], [2], {0: [MIDDLE], 1: [MIDDLE]})
    assert similar.choices == {}  # a tumour in the middle is at its mirror image's place too
    assert removed(similar, pixels, 0) is None
    assert removed(similar, pixels, 2) is None


@pytest.mark.parametrize("size", [0.002, 0.006, 0.02])
def test_a_tumour_of_few_pixels_does_not_stay_as_what_a_head_has_there(size: float) -> None:
    """Neither its own image nor another file of the same one gives it back as healthy tissue."""
    side = 4 * SIDE
    small, healthy = square(0.3, 0.3, size), np.kron(head(100), np.ones((4, 4), np.uint8))
    inside = polygon_mask([small], side)
    ill = np.where(inside, np.uint8(220), healthy)
    images = np.stack([ill, ill, healthy])
    pixels = PixelCache(images, np.empty((0, 3, side, side), np.uint8), np.full(3, -1))
    similar = SimilarHeads(pixels, [0, 1], [2], {0: [small], 1: [small]})
    assert set(similar.choices[0]) == {(0, True), (1, True), (2, False), (2, True)}
    for number in (0.0, 0.3, 0.6, 0.9):
        after = removed(similar, pixels, 0, number)
        assert after is not None
        assert after[inside].max() < 130


@settings(max_examples=25, deadline=None)
@given(
    st.integers(40, 110),
    st.integers(40, 110),
    st.floats(0.5, 0.85),
    st.sampled_from([LEFT, RIGHT, MIDDLE]),
    st.floats(0, 0.999),
)
def test_only_what_is_at_the_tumour_changes(
    level: int, other: int, wide: float, tumour: np.ndarray, number: float
) -> None:
    pixels = cache(head(level, tumour), head(other, wide=wide))
    after = removed(SimilarHeads(pixels, [0], [1], {0: [tumour]}), pixels, 0, number)
    assert after is not None
    np.testing.assert_array_equal(after[~region(tumour, 10)], pixels.first[0][~region(tumour, 10)])
    stood_out = pixels.first[0][region(tumour)].mean() - level
    assert abs(after[region(tumour)].mean() - level) < 0.5 * stood_out


@pytest.mark.parametrize("draw", [0.2, 0.4])
def test_the_image_is_healthy_then_and_stays_as_it_is_where_the_draw_says_so(draw: float) -> None:
    pixels = cache(head(100, LEFT), head(90))
    labels = np.array([GLIOMA, HEALTHY])
    one = CopyPaste(pixels, np.arange(2), labels, Augmentation(tumour_removal=0.3), {0: [LEFT]}, HEALTHY)
    values = {"removal": draw, "removal_of": 0.0}
    numbers = np.array([[values.get(name, 0.999) for name in PARAMETERS]] * 2, np.float32)
    after, new = one.changed(pixels, pixels.read(np.arange(2)), np.arange(2), numbers)
    assert new.tolist() == [HEALTHY if draw < 0.3 else GLIOMA, HEALTHY]
    assert (after[0] != pixels.first[0]).any() == (draw < 0.3)
    np.testing.assert_array_equal(after[1, 0], pixels.first[1])
    np.testing.assert_array_equal(pixels.first[0], head(100, LEFT))  # the cache itself is not written to


def test_a_box_comes_to_lie_on_the_other() -> None:
    image = np.zeros((40, 40), np.uint8)
    image[10:20, 5:15] = 200
    moved = laid_over(image, (5, 10, 15, 20), (10, 4, 30, 34))
    assert moved[6:32, 12:28].min() == 200
    assert moved[:3].max() == moved[36:].max() == moved[:, :8].max() == moved[:, 32:].max() == 0
    shifted = laid_over(image, (5, 10, 15, 20), (5, 10, 15, 20), (1.0, 0.5))
    np.testing.assert_array_equal(shifted[15:25, 15:25], 200)
    assert shifted.sum() == image.sum()
