"""The contrast of another sequence: every tissue may get any level, and edges, air and labels stay."""

import numpy as np
import pytest
import torch

from brainmri.data.standardize import BACKGROUND
from brainmri.transforms.augment import augment, random_parameters
from brainmri.transforms.config import Augmentation
from brainmri.transforms.lesion_contrast import recontrast

from .test_intensity import head, numbers

RISING = {f"curve_{k}": k / 5 for k in range(5)}
FALLING = {f"curve_{k}": 1 - k / 5 for k in range(5)}


def curved(values: dict[str, float], over: float) -> torch.Tensor:
    drawn = numbers(curve=0.0, curve_over=over, curve_white=1.0, **values)
    return augment(head(), drawn, Augmentation(tissue_contrast=1.0))


@pytest.mark.parametrize("over", [0.0, 0.9], ids=["levels", "ranks"])
def test_a_rising_curve_keeps_the_order_of_levels_and_a_falling_one_turns_it_round(over: float) -> None:
    before = head().flatten()
    inside = before > BACKGROUND + 20
    for values, sign in ((RISING, 1.0), (FALLING, -1.0)):
        after = curved(values, over).flatten()
        assert after.min() >= 0 and after.max() <= 255
        order = before[inside].argsort()
        steps = sign * after[inside][order].diff()
        assert steps.min() > -1.5 and steps.sum() > 80


def test_air_stays_air() -> None:
    after = curved(FALLING, 0.0)
    assert after[head() < 1].abs().max() < 1


def test_a_curve_may_turn_so_that_dark_and_bright_tissue_become_alike() -> None:
    after = curved({"curve_0": 1.0, "curve_1": 0.6, "curve_2": 0.0, "curve_3": 0.6, "curve_4": 1.0}, 0.9).flatten()
    before = head().flatten()
    head_levels = before[before > BACKGROUND + 20]
    low, middle, high = (torch.quantile(head_levels, share) for share in (0.05, 0.5, 0.95))
    at = [after[(before - level).abs().argmin()] for level in (low, middle, high)]
    assert min(at[0], at[2]) > at[1] + 60


def test_a_random_convolution_keeps_mean_and_spread_of_the_head() -> None:
    drawn = torch.from_numpy(random_parameters(6, 3, 0))
    after = augment(head(6), drawn, Augmentation(random_convolution=1.0))
    inside = head(6) > BACKGROUND
    assert (after - head(6)).abs().max() > 5
    assert after[~inside].abs().max() < 1
    for new, old, mask in zip(after, head(6), inside, strict=True):
        assert float(new[mask].mean()) == pytest.approx(float(old[mask].mean()), abs=6)


def test_the_draws_of_before_are_those_of_today() -> None:
    """A seed's images are what they were before there were contrasts."""
    drawn = random_parameters(5, 7, 2)
    moves = np.random.default_rng([7, 2]).random((5, 8), dtype=np.float32)
    assert (drawn[:, :8] == moves).all()


LESION = np.zeros((48, 48), bool)
LESION[20:30, 20:30] = True


def with_lesion() -> np.ndarray:
    image = head()[0].numpy().clip(1, 255).astype(np.uint8)
    image[0][LESION] = 200
    return image


@pytest.mark.parametrize(("level", "brighter"), [(0.0, False), (0.3, False), (0.6, True), (0.99, True)])
def test_a_tumour_becomes_dark_or_bright_and_the_rest_stays(level: float, brighter: bool) -> None:
    image = with_lesion()
    drawn = {"lesion_level": level, "lesion_texture": 0.5, "lesion_rim": 1.0, "lesion_halo": 1.0, "lesion_edge": 0.0}
    after = recontrast(image, LESION, drawn)
    assert after is not None
    core = after[0, 23:27, 23:27].mean()
    around = np.median(image[0][12:16, 12:36])
    assert (core > around) == brighter
    assert (after[0, :12] == image[0, :12]).all()


def test_an_oedema_fades_into_the_brain_and_leaves_the_air() -> None:
    image = with_lesion()
    drawn = {"lesion_level": 0.9, "lesion_texture": 0.5, "lesion_rim": 1.0, "lesion_halo": 0.4, "lesion_edge": 0.0}
    after = recontrast(image, LESION, drawn)
    assert after is not None
    more = after[0].astype(int) - image[0]
    assert more[17, 24] > more[10, 24] >= 0
    assert (more[image[0] <= BACKGROUND] == 0).all()


def test_nothing_is_drawn_where_nothing_is_around() -> None:
    image = np.zeros((1, 48, 48), np.uint8)
    assert recontrast(image, LESION, {}) is None
