"""A saliency map laid over its image, and what its colours mean."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LEAST, MOST = "little evidence", "most evidence"

MEANING = (
    "Where this model found evidence for the class, each map in shares of its own maximum. Not an outline of a tumour."
)


@cache
def colours() -> NDArray[np.uint8]:
    """The scale from little to much, (256, 3), RGB.

    It is perceptually even, and readable without colour vision. Inferno's dark end would blacken the image, and its
    pale end looks like bright tissue.
    """
    from matplotlib import colormaps  # the demo's page does not wait for it

    return np.round(255 * colormaps["inferno"](np.linspace(0.3, 0.9, 256))[:, :3]).astype(np.uint8)


def overlay(image: Image.Image, found: NDArray[np.float32], opacity: float) -> Image.Image:
    """The image, RGB, with the map in colour over it.

    The colour is as opaque as the map is strong, at most `opacity`: where the map is 0 the image stays as it is.

    Args:
        image: upright, 8 bits. found: its map, (height, width) in 0..1. opacity: 0..1.

    Raises:
        ValueError: if the map is not as large as the image, or the opacity is out of range.
    """
    if found.shape != image.size[::-1]:
        raise ValueError(f"a map of {found.shape[1]}x{found.shape[0]} does not fit an image of {image.size}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"the opacity is {opacity}, but must be from 0 to 1")
    levels = np.round(255 * found).astype(np.uint8)
    mask = Image.fromarray(np.round(opacity * levels).astype(np.uint8))
    return Image.composite(Image.fromarray(colours()[levels]), image.convert("RGB"), mask)


def legend() -> str:
    """HTML: the colours from little to much, and in words what they mean. It needs no style sheet."""
    stops = ", ".join("#{:02x}{:02x}{:02x}".format(*colours()[level]) for level in range(0, 256, 51))
    bar = f"height: 0.75em; border-radius: 0.375em; background: linear-gradient(to right, {stops})"
    ends = "display: flex; justify-content: space-between"
    return (
        f'<figure style="margin: 0"><div style="{bar}" aria-hidden="true"></div>'
        f'<div style="{ends}"><span>{LEAST}</span><span>{MOST}</span></div>'
        f"<figcaption>{MEANING}</figcaption></figure>"
    )
