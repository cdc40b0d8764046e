"""Random transformations: what each does to an image, and that they depend on the row and epoch only."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from brainmri.transforms.augment import augment, random_parameters
from brainmri.transforms.config import PARAMETER_COUNT, PARAMETERS, Augmentation


def image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 16, 24))).float()


def uniform(**values: float) -> torch.Tensor:
    assert set(values) <= set(PARAMETERS)
    return torch.tensor([[values.get(name, 0.5) for name in PARAMETERS]])


def test_nothing_asked_for_changes_nothing() -> None:
    assert not Augmentation()
    torch.testing.assert_close(
        augment(image(), torch.rand(1, PARAMETER_COUNT), Augmentation()), image(), atol=1e-2, rtol=0
    )


def test_flips_are_exact_and_follow_their_probability() -> None:
    magnitudes = Augmentation(horizontal_flip=0.3, vertical_flip=0.3)
    near = {"atol": 1e-2, "rtol": 0}
    torch.testing.assert_close(augment(image(), uniform(flip_x=0.29), magnitudes), image().flip(-1), **near)
    torch.testing.assert_close(augment(image(), uniform(flip_x=0.31), magnitudes), image(), **near)
    torch.testing.assert_close(augment(image(), uniform(flip_y=0.1), magnitudes), image().flip(-2), **near)


def test_a_turn_by_180_degrees_is_both_flips() -> None:
    turned = augment(image(), uniform(rotation=1.0), Augmentation(rotation_degrees=180))
    torch.testing.assert_close(turned, image().flip(-1).flip(-2), atol=2e-2, rtol=0)


def test_a_shift_by_a_quarter_moves_by_whole_pixels_and_brings_black_in() -> None:
    moved = augment(image(), uniform(shift_x=1.0), Augmentation(translate=0.25))
    torch.testing.assert_close(moved[..., :18], image()[..., 6:], atol=1e-2, rtol=0)
    assert moved[..., 18:].abs().max() < 1e-2


def test_zooming_in_enlarges_and_out_reduces() -> None:
    square = torch.zeros(1, 3, 32, 32)
    square[..., 12:20, 12:20] = 100
    area = square.sum()
    assert augment(square, uniform(scale=1.0), Augmentation(zoom_in=0.5)).sum() > 1.5 * area
    assert augment(square, uniform(scale=0.0), Augmentation(zoom_out=0.5)).sum() < 0.5 * area


def test_brightness_and_contrast_stay_within_the_range() -> None:
    brighter = augment(image(), uniform(brightness=1.0), Augmentation(brightness=0.5))
    torch.testing.assert_close(brighter, (image() * 1.5).clamp(0, 255), atol=2e-2, rtol=0)
    flatter = augment(image(), uniform(contrast=0.0), Augmentation(contrast=0.5))
    assert flatter.std() == pytest.approx(float(image().std()) / 2, rel=1e-3)
    assert flatter.mean() == pytest.approx(float(image().mean()), rel=1e-3)


def test_turn_zoom_shift_and_flip_together_equal_torch_affine_grid() -> None:
    numbers = torch.from_numpy(random_parameters(5, seed=3, epoch=1))
    pixels = image().repeat(5, 1, 1, 1)
    signed = 2 * numbers - 1
    flip = torch.where(numbers[:, 0] < 0.5, -1.0, 1.0)
    angle, zoom = signed[:, 2] * math.radians(20), 1 + 0.2 * signed[:, 3]
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    matrix = torch.stack([flip * cosine, -flip * sine, 0.2 * signed[:, 4], sine, cosine, 0.2 * signed[:, 5]], 1)
    grid = functional.affine_grid(matrix.view(5, 2, 3), list(pixels.shape), align_corners=False)
    expected = functional.grid_sample(pixels, grid, align_corners=False)
    magnitudes = Augmentation(horizontal_flip=0.5, rotation_degrees=20, zoom_in=0.2, zoom_out=0.2, translate=0.1)
    torch.testing.assert_close(augment(pixels, numbers, magnitudes), expected, atol=1e-2, rtol=0)


def test_grey_and_coloured_images_of_one_batch_are_moved_alike() -> None:
    grey = torch.randint(0, 256, (1, 1, 20, 20), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    coloured = torch.cat([grey, grey.flip(-1), grey.flip(-2)], 1)
    numbers = torch.from_numpy(random_parameters(1, seed=3, epoch=1)).repeat(2, 1)
    magnitudes = Augmentation(horizontal_flip=0.5, rotation_degrees=20, zoom_in=0.2, contrast=0.3, brightness=0.2)
    both = augment(torch.cat([grey.repeat(1, 3, 1, 1), coloured]), numbers, magnitudes)
    alone = augment(grey, numbers[:1], magnitudes)
    torch.testing.assert_close(both[:1], alone.repeat(1, 3, 1, 1))
    geometry = Augmentation(horizontal_flip=0.5, rotation_degrees=20, zoom_in=0.2)
    moved = augment(torch.cat([grey.repeat(1, 3, 1, 1), coloured]), numbers, geometry)[1]
    for channel in range(3):
        expected = augment(coloured[:, channel : channel + 1], numbers[:1], geometry)[0, 0]
        torch.testing.assert_close(moved[channel], expected)


def test_draws_depend_on_seed_and_epoch_only() -> None:
    np.testing.assert_array_equal(random_parameters(100, 1, 2), random_parameters(100, 1, 2))
    assert not np.array_equal(random_parameters(100, 1, 2), random_parameters(100, 1, 3))
    assert not np.array_equal(random_parameters(100, 1, 2), random_parameters(100, 2, 2))


@pytest.mark.parametrize("wrong", [{"horizontal_flip": 1.5}, {"rotation_degrees": -1}, {"zoom_out": 1}])
def test_impossible_widths_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Augmentation(**wrong)
