"""Which values become black and white where a scan names no window: robust, and the same however it is stored."""

import numpy as np
import pytest

from brainmri.io.intensity import counted, grey, head_range

KINDS = [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]


def head(side: int = 64, seed: int = 0) -> np.ndarray:
    """Integers (side, side): noise of 0..20 around an ellipse of 300..1000."""
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    random = np.random.default_rng(seed)
    values = random.integers(0, 21, (side, side))
    values[rows**2 + (columns / 0.7) ** 2 < 0.6] = (
        300 + 700 * random.random((side, side))[rows**2 + (columns / 0.7) ** 2 < 0.6]
    )
    return values


def test_a_bright_pixel_or_a_few_do_not_darken_the_head():
    low, high = head_range(head())
    values = head()
    values.ravel()[[5, 700, 2000, 2001]] = 30_000
    assert head_range(values)[0] == low
    assert 950 < head_range(values)[1] <= 1000 and 950 < high <= 1000
    values.ravel()[6] = -30_000
    assert head_range(values)[0] == pytest.approx(low, abs=1)


@pytest.mark.parametrize("around", [0, 30, 200])
def test_how_much_background_surrounds_the_head_does_not_matter(around):
    values = np.pad(head(), around)
    low, high = head_range(values)
    assert 0 <= low <= 1
    assert high == pytest.approx(head_range(head())[1], rel=0.01)


@pytest.mark.parametrize("padding", [-2000, -1, -32768])
def test_padding_below_all_magnitudes_is_left_out(padding):
    values = head()
    values[:8] = padding
    low, high = head_range(values)
    assert (low >= 0) == (padding < -100)  # one level below is as good as noise
    assert 950 < high <= 1000


def test_negative_values_that_belong_to_the_rest_are_kept():
    values = head().astype(np.float32) / 500 - 1  # z scores
    assert head_range(values)[0] < -0.99


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_for_every_order_direction_and_type(kind):
    values = np.stack([head(seed=number) for number in range(3)])[:, :, :50]
    if kind == np.uint8:
        values = values // 4
    expected = head_range(values)
    for turned in (values.T, values[:, ::-1], np.moveaxis(values, 0, 1).copy()):
        assert head_range(turned.astype(kind)) == expected


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.uint16])
def test_counted_values_give_the_same_range(kind):
    values = (head() // 8 - (20 if np.dtype(kind).kind == "i" else 0)).astype(kind)
    found, numbers = counted(values)
    assert np.array_equal(found, np.unique(values)) and numbers.sum() == values.size
    assert head_range(found.astype(float), numbers) == head_range(values)


def test_nothing_to_tell_apart():
    for values in (np.full((9, 9), 7), np.full((9, 9), np.nan), np.array([np.inf, 1.0, 1.0]), np.empty(0)):
        assert head_range(values) is None
    assert head_range(np.array([np.nan, 1.0, np.inf, 3.0, -np.inf])) == (1, 3)


def test_a_single_spot_and_a_mask_show():
    spot = np.zeros((40, 40))
    spot[3, 4] = 1
    assert head_range(spot) == (0, 1)
    assert head_range(1 - spot) == (0, 1)
    assert head_range(np.array([-1e308, 0, 1e308])) is not None


def test_rounding_of_a_slope_does_not_turn_a_pixel():
    """0.37 as a decimal text (DICOM) and as a float of 32 bits (NIfTI)."""
    stored = np.arange(0, 1021).reshape(-1, 1)
    images = [np.asarray(grey(stored * slope, 0, 1020 * slope)) for slope in (0.37, float(np.float32(0.37)), 1.0)]
    assert np.array_equal(images[0], images[1]) and np.array_equal(images[0], images[2])
    assert images[0].min() == 0 and images[0].max() == 255
