"""What an image processor does with an image, in numpy and Pillow: exactly its pixels, without the seconds that torch
and transformers take to be imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainmri.schemas import PixelSettings

if TYPE_CHECKING:
    from transformers import BaseImageProcessor

Resampling = Literal["pillow", "torchvision"]
CLOSE = 1e-5  # between normalised pixels, which are about -3..3 (more where the formula does not scale)
WEIGHT_BITS = 15  # a resampling weight is an integer below 2**15, as torch's kernel for 8 bits keeps it
MOST_BITS = 22
BLOCK = 2**20  # pixels that are floats at once


@dataclass(frozen=True)
class NumpyPreprocessing:
    """From images "L" or "RGB" of any size to what a network gets."""

    settings: PixelSettings

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the network gets."""
        return self.settings.height, self.settings.width

    def resized(self, image: Image.Image) -> NDArray[np.uint8]:
        """uint8 (H, W, 3), or (H, W, 1) of a grey image."""
        height, width = self.size
        if self.settings.resampling == "pillow":
            found = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        else:
            found = resized_as_torchvision(np.asarray(image), height, width)
        return found if found.ndim == 3 else found[:, :, None]

    @cached_property
    def tables(self) -> NDArray[np.float32]:
        """(3, 256): what each level of red, green and blue becomes."""
        factor = np.float32(self.settings.factor)
        mean, std = (
            np.array(values, np.float32)[:, None] / factor for values in (self.settings.mean, self.settings.std)
        )
        return (np.arange(256, dtype=np.float32) - mean) / std

    def __call__(self, images: list[Image.Image]) -> NDArray[np.float32]:
        """float32 (B, 3, H, W), of at least one image."""
        pixels = np.empty((len(images), 3, *self.size), np.float32)
        for place, image in enumerate(images):
            self._look_up(np.moveaxis(self.resized(image), 2, 0), pixels[place])
        return pixels

    def normalized(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (B, 3, H, W), of images that are resized already: uint8 (B, 3, H, W), grey ones (B, 1, H, W)."""
        found = np.empty((len(pixels), 3, *pixels.shape[2:]), np.float32)
        for resized, out in zip(pixels, found, strict=True):
            self._look_up(resized, out)
        return found

    def _look_up(self, resized: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        for channel, table in enumerate(self.tables):
            # "clip" needs no copy of the result first; no level is outside the table
            np.take(table, resized[channel % len(resized)], out=out[channel], mode="clip")


@lru_cache(maxsize=4)  # the trial takes longer than a batch
def numpy_preprocessing(processor: BaseImageProcessor) -> NumpyPreprocessing | None:
    """The same as `processor`, or None where it does anything else (crops, pads, other filters).

    What it says of itself is tried on images of noise, so that what is returned gives its pixels.
    """
    examples = _examples()
    for resampling in ("pillow", "torchvision"):
        found = _by_its_word(processor, resampling)
        if found is None:
            return None
        expected = [
            processor(images=[image.convert("RGB")], return_tensors="pt")["pixel_values"].numpy() for image in examples
        ]
        if any(pixels.shape[1:] != (3, *found.size) for pixels in expected):
            return None
        scale = max(1.0, *(float(np.abs(pixels).max()) for pixels in expected))
        if np.abs(found(examples) - np.concatenate(expected)).max() <= CLOSE * scale:
            return found
    return None


def _by_its_word(processor: BaseImageProcessor, resampling: Resampling) -> NumpyPreprocessing | None:
    timm: dict[str, Any] | None = getattr(processor, "data_config", None)
    if timm is not None:
        if timm["crop_mode"] != "squash" or timm["crop_pct"] != 1 or timm["interpolation"] != "bilinear":
            return None
        _, height, width = timm["input_size"]
        return _settings(height, width, resampling, 1 / 255, timm["mean"], timm["std"])
    size = getattr(processor, "size", None)
    others = [getattr(processor, name, None) for name in ("do_center_crop", "do_pad", "crop_pct")]
    if not (getattr(processor, "do_resize", False) and size and "height" in size and "width" in size) or any(others):
        return None
    own: Any = processor
    factor = own.rescale_factor if own.do_rescale else 1.0
    mean, std = (own.image_mean, own.image_std) if own.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    return _settings(size["height"], size["width"], resampling, factor, mean, std)


def _settings(
    height: int, width: int, resampling: Resampling, factor: float, mean: Sequence[float], std: Sequence[float]
) -> NumpyPreprocessing | None:
    if len(mean) != 3 or len(std) != 3:
        return None
    r, g, b = mean
    x, y, z = std
    return NumpyPreprocessing(
        PixelSettings(height=height, width=width, resampling=resampling, factor=factor, mean=(r, g, b), std=(x, y, z))
    )


def _examples() -> list[Image.Image]:
    """Noise in colours and in grey, larger than what a network takes, smaller, and of another shape."""
    generator = np.random.default_rng(0)
    shapes = ((512, 448, 3), (224, 224), (60, 95, 3), (347, 90))
    return [Image.fromarray(generator.integers(0, 256, shape, np.uint8)) for shape in shapes]


def resized_as_torchvision(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """uint8 (H, W) or (H, W, C), as torchvision's antialiased bilinear resize makes it of a uint8 tensor.

    Rows first, then columns, each with integer weights and a result that is rounded to 8 bits.
    """
    if pixels.shape[1] != width:
        pixels = np.moveaxis(_along_first(np.moveaxis(pixels, 1, 0), width), 0, 1)
    return _along_first(pixels, height) if pixels.shape[0] != height else pixels


def _along_first(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    before = pixels.shape[0]
    first, weights, bits = _weights(before, size)
    rows = pixels.reshape(before, -1)
    found = np.empty((size, rows.shape[1]), np.uint8)
    for start in range(0, rows.shape[1], width := max(1, BLOCK // size)):
        some = rows[:, start : start + width]
        sums = np.full((size, some.shape[1]), 1 << (bits - 1), np.int32)
        for k in range(weights.shape[1]):
            sums += weights[:, k, None] * some[np.minimum(first + k, before - 1)]
        sums >>= bits
        found[:, start : start + width] = np.clip(sums, 0, 255, out=sums)
    return found.reshape(size, *pixels.shape[1:])


@lru_cache(maxsize=64)
def _weights(before: int, after: int) -> tuple[NDArray[np.int64], NDArray[np.int32], int]:
    """Of a triangle filter: the first row that each new row is made of (after,), the integer weights of that row and
    those behind it (after, K), and how many bits of a weight stand behind the point."""
    scale = before / after
    reach = max(scale, 1.0)
    most = 2 * ceil(reach) + 1
    starts = np.zeros(after, np.int64)
    weights = np.zeros((after, most))
    for k in range(after):
        centre = scale * (k + 0.5)
        starts[k] = first = max(int(centre - reach + 0.5), 0)
        count = min(max(min(int(centre + reach + 0.5), before) - first, 0), most)
        own = np.maximum(0.0, 1 - np.abs((np.arange(first, first + count) - centre + 0.5) / reach))
        weights[k, :count] = own / own.sum()
    bits = 0
    while bits < MOST_BITS and int(0.5 + weights.max() * (1 << (bits + 1))) < 1 << WEIGHT_BITS:
        bits += 1
    whole = np.floor(0.5 + weights * (1 << bits)).astype(np.int32)
    return starts, whole[:, whole.any(axis=0)], bits
