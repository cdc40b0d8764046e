"""Seven ways in which images get worse, at five strengths each, chosen by looking at images and not at scores.

Pillow, SciPy and NumPy do the work on 8-bit images as they are. MONAI's bias field has no strength that could be told
in units: it draws every coefficient at random, the constant among them, so that it also brightens or darkens. torchio's
transforms are for volumes, and bring SimpleITK along.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

Pixels = NDArray[np.uint8]  # (H, W) grey, or (H, W, 3)
STRENGTHS = 5
BIAS_DEGREE = 3  # of the polynomial that a bias field is


@dataclass(frozen=True)
class Corruption:
    """values: the parameter at the strengths 1 to 5, in `unit`. meaning: what the parameter is, for a reader.

    apply: of an image, the parameter and the image's own random numbers; gives an image of the same shape.
    """

    values: tuple[float, float, float, float, float]
    unit: str
    meaning: str
    apply: Callable[[Pixels, float, np.random.Generator], Pixels]


def corrupted(image: Pixels, kind: str, strength: int, file_name: str) -> Pixels:
    """`image` after the corruption `kind` (a key of CORRUPTIONS) at `strength` 0 (as it is) to 5.

    What is random (the way of a turn, the noise, the shape of a bias field) follows from kind and file name alone,
    and is the same at all strengths. An image whose three channels are equal is treated as the grey one it shows.

    Args:
        image: uint8 (H, W) or (H, W, 3). Returned in the same shape.
    """
    if strength == 0:
        return image
    if image.ndim == 3 and (image == image[:, :, :1]).all():
        return np.repeat(corrupted(image[:, :, 0], kind, strength, file_name)[:, :, None], 3, axis=2)
    corruption = CORRUPTIONS[kind]
    generator = np.random.default_rng(list(f"{kind} {file_name}".encode()))
    return corruption.apply(image, corruption.values[strength - 1], generator)


def _rotation(image: Pixels, degrees: float, generator: np.random.Generator) -> Pixels:
    angle = float(degrees * generator.choice([-1, 1]))
    return np.asarray(Image.fromarray(image).rotate(angle, Image.Resampling.BILINEAR))


def _blur(image: Pixels, percent: float, _: np.random.Generator) -> Pixels:
    sigma = percent / 100 * min(image.shape[:2])
    return _rounded(gaussian_filter(image.astype(np.float32), sigma, mode="nearest", axes=(0, 1)))


def _noise(image: Pixels, percent: float, generator: np.random.Generator) -> Pixels:
    """Rician, as the magnitude of a signal whose real and imaginary part are noisy; the same in all channels."""
    real, imaginary = generator.standard_normal((2, *image.shape[:2]), dtype=np.float32) * (percent / 100 * 255)
    if image.ndim == 3:
        real, imaginary = real[:, :, None], imaginary[:, :, None]
    return _rounded(np.hypot(image + real, imaginary))


def _contrast(image: Pixels, percent: float, _: np.random.Generator) -> Pixels:
    return np.asarray(ImageEnhance.Contrast(Image.fromarray(image)).enhance(percent / 100))


def _bias_field(image: Pixels, percent: float, generator: np.random.Generator) -> Pixels:
    """A smooth factor, by which the image is multiplied: 40 % is from 0.8 to 1.2, as BrainWeb counts it."""
    orders = np.add.outer(np.arange(BIAS_DEGREE + 1), np.arange(BIAS_DEGREE + 1))
    coefficients = generator.standard_normal(orders.shape) * (orders <= BIAS_DEGREE)
    y, x = (np.linspace(-1, 1, side) for side in image.shape[:2])
    field = legendre.leggrid2d(y, x, coefficients)
    factor = 1 + percent / 100 * ((field - field.min()) / np.ptp(field) - 0.5)
    return _rounded(image * (factor if image.ndim == 2 else factor[:, :, None]))


def _jpeg(image: Pixels, quality: float, _: np.random.Generator) -> Pixels:
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=int(quality))
    return np.asarray(Image.open(encoded))


def _cropping(image: Pixels, percent: float, _: np.random.Generator) -> Pixels:
    source = Image.fromarray(image)
    (width, height), share = source.size, percent / 100
    box = (share * width, share * height, (1 - share) * width, (1 - share) * height)
    return np.asarray(source.resize(source.size, Image.Resampling.BILINEAR, box=box))


def _rounded(values: NDArray[np.floating]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


CORRUPTIONS = {
    "rotation": Corruption(
        (5, 10, 20, 30, 45), "degrees", "turn about the middle, either way, black beyond the edges", _rotation
    ),
    "blur": Corruption(
        (0.25, 0.5, 1, 1.5, 2.5), "% of the shorter side", "standard deviation of a Gaussian blur", _blur
    ),
    "noise": Corruption((2, 4, 8, 12, 20), "% of white", "standard deviation of Rician noise", _noise),
    "contrast": Corruption((80, 60, 40, 25, 15), "% left", "contrast about the image's mean grey", _contrast),
    "bias field": Corruption(
        (20, 40, 80, 120, 160), "%", "range of a smooth factor about 1, polynomial of degree 3", _bias_field
    ),
    "JPEG": Corruption((50, 30, 20, 10, 5), "quality", "saved as JPEG at this quality and read again", _jpeg),
    "cropping": Corruption(
        (2, 5, 8, 12, 16), "% of each side", "cut off each of the four sides, enlarged to the old size", _cropping
    ),
}
