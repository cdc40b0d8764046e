"""What hides the source of an image: what each change does, and that it leaves what it must leave."""

import numpy as np
import pytest
import torch
from PIL import Image

from brainmri.transforms.augment import augment, random_parameters
from brainmri.transforms.config import DOMAIN_RANDOMIZATION, PARAMETERS, Augmentation

SIDE = 48


def head(batch: int = 1) -> torch.Tensor:
    """A smooth bright disc with a texture, on black: float (batch, 1, SIDE, SIDE)."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    disc = np.where(x**2 + y**2 < 0.6, 90 + 60 * np.sin(9 * x) * np.cos(7 * y), 0)
    return torch.from_numpy(disc).float().expand(batch, 1, -1, -1).clone()


def numbers(batch: int = 1, **values: float) -> torch.Tensor:
    assert set(values) <= set(PARAMETERS)
    return torch.tensor([[values.get(name, 0.5) for name in PARAMETERS]]).expand(batch, -1).clone()


def changed(values: dict[str, float], **magnitudes: float) -> torch.Tensor:
    return augment(head(), numbers(**values), Augmentation(**magnitudes))


@pytest.mark.parametrize(
    ("values", "magnitudes"),
    [
        ({"gamma": 0.9}, {"gamma": 0.7}),
        ({"bias_0": 1.0}, {"bias_field": 0.5}),
        ({"resolution": 0.1}, {"resolution": 0.3}),
        ({"focus": 0.9}, {"blur": 1.0}),
        ({"focus": 0.1}, {"sharpen": 1.5}),
        ({"noise": 0.9}, {"noise": 0.1}),
        ({"jpeg": 0.1}, {"jpeg": 0.2}),
        ({"border": 0.1, "border_x": 0.9}, {"border": 0.2}),
        ({"overlay": 0.1, "overlay_kind": 0.0}, {"overlay": 0.2}),
        ({"stretch": 0.9}, {"stretch": 0.2}),
    ],
    ids=lambda value: "-".join(value),
)
def test_each_change_changes_a_image_within_its_range_and_only_when_asked(
    values: dict[str, float], magnitudes: dict[str, float]
) -> None:
    after = changed(values, **magnitudes)
    assert after.shape == head().shape
    assert after.min() >= 0 and after.max() <= 255
    assert (after - head()).abs().max() > 1
    torch.testing.assert_close(changed(values), head(), atol=1e-2, rtol=0)


def test_gamma_keeps_black_white_and_the_order_of_levels() -> None:
    before, after = head().flatten(), changed({"gamma": 1.0}, gamma=1.0).flatten()
    assert after[before < 0.5].abs().max() < 0.5
    assert float(after.max()) == pytest.approx(float(before.max()), rel=1e-3)
    order = before.argsort()
    assert (after[order].diff() > -1e-2).all()


def test_the_bias_field_is_smooth_and_bounded() -> None:
    flat = torch.full((1, 1, SIDE, SIDE), 80.0)
    after = augment(flat, numbers(bias_0=1.0, bias_1=0.0, bias_4=1.0), Augmentation(bias_field=0.5)) / 80
    assert after.log().abs().max() < 1.5 * 0.5
    assert after.diff(dim=-1).abs().max() < 0.05


def test_half_the_resolution_is_what_pil_would_give_about() -> None:
    after = changed({"resolution": 0.0}, resolution=1.0)
    image = Image.fromarray(head()[0, 0].numpy())
    small = image.resize((SIDE // 2, SIDE // 2), Image.Resampling.BOX)
    expected = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    assert np.abs(after[0, 0].numpy() - expected)[2:-2, 2:-2].max() < 1.0


def test_blurring_and_sharpening_are_opposites() -> None:
    def roughness(image: torch.Tensor) -> float:
        return float(image[..., 16:32, 16:32].diff(dim=-1).abs().mean())

    soft, crisp = changed({"focus": 1.0}, blur=1.0), changed({"focus": 0.0}, sharpen=1.0)
    assert roughness(soft) < roughness(head()) < roughness(crisp)


def test_jpeg_loses_what_pillow_loses() -> None:
    """At the table's own quality of 50, which the middle of the draws meets at a factor of 1."""
    import io

    rough = (head() + 20 * torch.randn(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))).clamp(0, 255)
    rough = rough.round()
    after = augment(rough, numbers(jpeg=0.5 / 3.5), Augmentation(jpeg=1.0))
    buffer = io.BytesIO()
    Image.fromarray(rough[0, 0].numpy().astype(np.uint8)).save(buffer, "JPEG", quality=50)
    with Image.open(buffer) as image:
        expected = np.asarray(image, dtype=np.float32)
    assert np.abs(after[0, 0].numpy() - expected).mean() < 1.0
    assert np.abs(rough[0, 0].numpy() - expected).mean() > 4.0


def test_noise_does_not_repeat_from_image_to_image() -> None:
    some = torch.cat([numbers(noise=1.0, noise_x=x, noise_y=0.3) for x in (0.1, 0.2)])
    after = augment(torch.full((2, 1, SIDE, SIDE), 128.0), some, Augmentation(noise=0.1)) - 128
    assert float(after.std()) == pytest.approx(25.5, rel=0.05)
    assert abs(float(torch.corrcoef(after.flatten(1))[0, 1])) < 0.1


def test_the_same_draws_give_the_same_pictures_in_any_batch() -> None:
    magnitudes = Augmentation(**DOMAIN_RANDOMIZATION, horizontal_flip=0.5)
    some = torch.from_numpy(random_parameters(19, seed=1, epoch=0))
    together = augment(head(19), some, magnitudes)
    torch.testing.assert_close(together[[4]], augment(head(), some[[4]], magnitudes), atol=1e-3, rtol=0)


def test_images_move_as_they_did_before_there_were_looks() -> None:
    np.testing.assert_array_equal(
        random_parameters(5, seed=3, epoch=1)[:, :8], np.random.default_rng([3, 1]).random((5, 8), dtype=np.float32)
    )
