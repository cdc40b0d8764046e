"""What training images take from each other: grey levels, tumours, the other half of a head."""

import numpy as np
import pytest

from brainmri.data.pixel_cache import PixelCache
from brainmri.training.batches import SliceBatches
from brainmri.transforms.config import PARAMETERS, Augmentation
from brainmri.transforms.copy_paste import (
    CopyPaste,
    cumulated,
    match_histogram,
    mirror_hemisphere,
    paste_tumour,
    symmetry_axis,
)

SIDE = 96
GLIOMA, HEALTHY = 0, 1
SQUARE = np.array([[0.2, 0.4], [0.35, 0.4], [0.35, 0.55], [0.2, 0.55]])  # in the left half


def head(level: int, tumour: bool = False) -> np.ndarray:
    """An ellipse of one level, a little brighter to its rim, with a bright square in it: uint8 (SIDE, SIDE)."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    inside = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    image = np.where(inside, level + 20 * (x**2 + y**2), 0)
    if tumour:
        first, last = (np.array([0.2, 0.35]) * SIDE).round().astype(int)
        top, bottom = (np.array([0.4, 0.55]) * SIDE).round().astype(int)
        image[top:bottom, first:last] = 2 * level
    return image.astype(np.uint8)


def cache(*images: np.ndarray) -> PixelCache:
    side = images[0].shape[-1]
    return PixelCache(np.stack(images), np.empty((0, 3, side, side), np.uint8), np.full(len(images), -1))


def numbers(**values: float) -> np.ndarray:
    """One row of draws: what is not named does nothing (1 is above every probability)."""
    assert set(values) <= set(PARAMETERS)
    return np.array(
        [[values.get(name, 1.0 if name in ("lesion", "half", "levels") else 0.5) for name in PARAMETERS]], np.float32
    )


def exchange(pixels: PixelCache, labels: list[int], **magnitudes: float) -> CopyPaste:
    rows = np.arange(len(labels))
    return CopyPaste(pixels, rows, np.array(labels), Augmentation(**magnitudes), {0: [SQUARE]}, HEALTHY)


def test_a_healthy_head_gets_the_tumour_of_another_and_its_label() -> None:
    pixels = cache(head(60, tumour=True), head(100))
    one = exchange(pixels, [GLIOMA, HEALTHY], copy_paste=0.5)
    after, labels = one.changed(pixels, pixels.read(np.array([1])), np.array([1]), numbers(lesion=0.4, lesion_of=0.0))
    assert labels.tolist() == [GLIOMA]
    inside = after[0, 0, 42:50, 22:31].astype(float)
    assert inside.mean() == pytest.approx(2 * 100, rel=0.15)  # it stands out from its new surroundings as before
    np.testing.assert_array_equal(after[0, 0, :, 60:], head(100)[:, 60:])  # elsewhere nothing changes
    assert pixels.first[1].max() < 150  # the cache itself is not written to


def test_a_tumour_is_neither_given_twice_nor_taken_without_being_asked() -> None:
    pixels = cache(head(60, tumour=True), head(100))
    one = exchange(pixels, [GLIOMA, HEALTHY], copy_paste=0.5)
    for row, lesion in ((0, 0.1), (1, 0.6)):
        before = pixels.read(np.array([row]))
        after, labels = one.changed(pixels, before, np.array([row]), numbers(lesion=lesion, lesion_of=0.0))
        np.testing.assert_array_equal(after, before)
        assert labels.tolist() == [row]


def test_a_tumour_that_would_lie_outside_the_head_is_not_given() -> None:
    donor, small = head(60, tumour=True)[None], np.zeros((1, SIDE, SIDE), np.uint8)
    assert paste_tumour(small, donor, [SQUARE], (0.0, 0.0)) is None


def test_the_half_without_the_tumour_makes_a_healthy_head_and_the_other_one_a_sick_one() -> None:
    pixels = cache(head(60, tumour=True), head(100))
    one = exchange(pixels, [GLIOMA, HEALTHY], hemisphere_mirroring=1.0)
    before = pixels.read(np.array([0]))
    for half, label, brightest in ((0.1, GLIOMA, 120), (0.9, HEALTHY, 90)):
        after, labels = one.changed(pixels, before, np.array([0]), numbers(half=half))
        assert labels.tolist() == [label]
        assert after.max() <= brightest
        assert abs(after[0, 0].astype(int) - after[0, 0, :, ::-1]).max() < 12  # symmetric about the middle
    after, labels = one.changed(pixels, pixels.read(np.array([1])), np.array([1]), numbers(half=0.1))
    assert labels.tolist() == [HEALTHY]


def test_a_head_from_the_side_has_no_halves() -> None:
    assert symmetry_axis(head(80)) == pytest.approx(SIDE // 2, abs=2)
    sideways = head(80)
    sideways[: SIDE // 2, : SIDE // 2] = 0
    sideways[SIDE // 2 :, SIDE // 2 :] = 0
    assert symmetry_axis(sideways) is None


def test_half_mirrored_keeps_one_side_and_its_colours() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 20, 20), dtype=np.uint8)
    left, right = mirror_hemisphere(image, 8, left=True), mirror_hemisphere(image, 8, left=False)
    np.testing.assert_array_equal(left[..., :8], image[..., :8])
    np.testing.assert_array_equal(left[..., 8:16], image[..., :8][..., ::-1])
    assert left[..., 16:].max() == 0
    np.testing.assert_array_equal(right[..., 8:], image[..., 8:])
    np.testing.assert_array_equal(right[..., :8], image[..., 8:16][..., ::-1])


def test_levels_go_towards_those_of_the_other_image_and_air_stays() -> None:
    dark, bright = head(40), head(160)
    same = match_histogram(dark, cumulated(bright), 0.0)
    np.testing.assert_array_equal(same, np.arange(256))
    table = match_histogram(dark, cumulated(bright), 1.0)
    after = table[dark]
    assert (np.diff(table[11:].astype(int)) >= 0).all()
    assert after[dark == 0].max() == 0
    assert abs(after[dark > 0].mean() - bright[bright > 0].mean()) < 3


def test_batches_carry_the_new_labels_and_do_not_depend_on_who_reads_them() -> None:
    pixels = cache(*[head(60, tumour=True), head(100)] * 4)
    labels = [GLIOMA, HEALTHY] * 4
    rows = np.arange(8)
    one = CopyPaste(
        pixels, rows, np.array(labels), Augmentation(copy_paste=1.0, histogram_matching=0.5), {0: [SQUARE]}, HEALTHY
    )
    batches = SliceBatches(pixels, rows, np.array(labels), 7, exchange=one)
    whole = batches.__getitems__(range(8))
    assert (whole["labels"] == GLIOMA).sum() > 4
    part = batches.__getitems__([5, 2])
    for name in ("pixel_values", "labels"):
        np.testing.assert_array_equal(part[name], whole[name][[5, 2]])
    plain = SliceBatches(pixels, rows, np.array(labels))
    np.testing.assert_array_equal(plain.__getitems__(range(8))["labels"], labels)


@pytest.mark.parametrize("healthy", [HEALTHY, None])
def test_an_outlined_tumour_gets_another_level_where_it_is_and_its_label_stays(healthy: int | None) -> None:
    """Without a class of healthy images too: nothing is given or taken then."""
    pixels = cache(*[head(60, tumour=True)] * 6)
    rows, labels = np.arange(6), np.array([GLIOMA] * 6)
    outlines = {row: [SQUARE] for row in range(5)}  # the last one has none
    changed = CopyPaste(pixels, rows, labels, Augmentation(lesion_contrast=1.0), outlines, healthy)
    batch = SliceBatches(pixels, rows, labels, 7, exchange=changed).__getitems__(range(6))
    before = SliceBatches(pixels, rows, labels).__getitems__(range(6))["pixel_values"]
    different = [bool((batch["pixel_values"][k] != before[k]).any()) for k in range(6)]
    assert different == [True] * 5 + [False]
    assert (batch["labels"] == GLIOMA).all()
