"""Seven numbers of a whole image, which know nothing of what is in it."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops

FRAME = 0.06  # width of the frame, as a share of the side
DARK = 5  # a pixel at or below this level (0..255) counts as background
BRIGHT = 40  # a frame pixel above this level counts as bright
LEVELS = np.arange(256)


def global_statistics(image: Image.Image) -> np.ndarray:
    """Seven numbers of a whole image, float64 (7,), levels in 0..255.

    Mean; standard deviation; mean of the outer frame (6 % of the shorter side wide); the largest of the four corner
    means (squares of the frame's width); share of pixels <= 5; colourfulness (mean over the pixels of the largest minus
    the smallest channel; 0 for grey images); share of the frame's pixels above 40. All but colourfulness are of the
    greyscale image.
    """
    grey = image.convert("L")
    width = max(1, round(FRAME * min(grey.size)))
    whole = np.array(grey.histogram())
    inner = grey.crop((width, width, max(grey.width - width, width), max(grey.height - width, width)))
    frame = whole - (np.array(inner.histogram()) if min(inner.size) else 0)
    pixels = np.asarray(grey)
    corners = [pixels[rows, columns].mean() for rows in _ends(width) for columns in _ends(width)]
    colour = 0.0
    if image.mode != "L":
        red, green, blue = image.convert("RGB").split()
        largest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
        smallest = ImageChops.darker(ImageChops.darker(red, green), blue)
        colour = _mean(np.array(ImageChops.subtract(largest, smallest).histogram()))
    mean = _mean(whole)
    deviation = np.sqrt(whole @ (LEVELS - mean) ** 2 / whole.sum())
    dark, bright = whole[: DARK + 1].sum() / whole.sum(), frame[BRIGHT + 1 :].sum() / frame.sum()
    return np.array([mean, deviation, _mean(frame), max(corners), dark, colour, bright])


def _mean(histogram: np.ndarray) -> float:
    """Of pixels, of which the histogram (256,) counts each level."""
    return float(histogram @ LEVELS / histogram.sum())


def _ends(width: int) -> tuple[slice, slice]:
    return slice(None, width), slice(-width, None)
