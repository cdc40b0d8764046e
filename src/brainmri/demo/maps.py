"""Where a map of the network's input lies in the picture that it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from transformers import BaseImageProcessor


class Frame(NamedTuple):
    """The part of a picture that the network sees, in shares of the picture's width and height.

    (0, 0, 1, 1) is the whole picture. A network whose processor cuts the edges off sees less, one whose processor pads
    sees more.
    """

    left: float
    top: float
    right: float
    bottom: float


def frame_of(processor: BaseImageProcessor, width: int, height: int) -> Frame:
    """What an image processor takes of a picture of this size, to about one part in a hundred.

    It is seen by what the processor makes of two ramps, one across and one down, beside black and white.
    """
    across, down = ((np.arange(length) + 0.5) / length for length in (width, height))
    ramps = np.zeros((height, width, 3), np.uint8)
    ramps[..., 0] = np.round(255 * across)
    ramps[..., 1] = np.round(255 * down)[:, None]
    pictures = [Image.new("RGB", (width, height), colour) for colour in ("black", "white")] + [Image.fromarray(ramps)]
    black, white, seen = (processor(images=[picture], return_tensors="pt")["pixel_values"][0] for picture in pictures)
    shares = (seen - black) / (white - black)  # no number where the processor pads
    left, right = _ends(shares[0].nanmean(dim=0).numpy())
    top, bottom = _ends(shares[1].nanmean(dim=1).numpy())
    return Frame(left, top, right, bottom)


def _ends(places: NDArray[np.floating]) -> tuple[float, float]:
    """Where the first of equal steps begins and the last one ends, from the middle half of the places (N,).

    Near the edges a smooth resampling moves the places, and padding has none.
    """
    low, high = len(places) // 4, len(places) - 1 - len(places) // 4
    step = (places[high] - places[low]) / (high - low)
    start = places[low] - step * (low + 0.5)
    return round(float(start), 2), round(float(start + step * len(places)), 2)


def laid_over(found: NDArray[np.floating], frame: Frame, width: int, height: int) -> NDArray[np.float32]:
    """A map (h, w) of what the network saw, on the whole picture: float32 (height, width), bilinear.

    Each place of the map stands in the middle of its share of the frame. Outside of the frame it is 0.
    """
    rows = _weights(height, found.shape[0], frame.top, frame.bottom)
    columns = _weights(width, found.shape[1], frame.left, frame.right)
    return rows @ found.astype(np.float32) @ columns.T


def _weights(length: int, places: int, start: float, end: float) -> NDArray[np.float32]:
    """(length, places): how much each place counts for each pixel of a line."""
    share = ((np.arange(length) + 0.5) / length - start) / (end - start)
    weights = [np.interp(share * places - 0.5, np.arange(places), one) for one in np.eye(places)]
    inside = (share >= 0) & (share <= 1)
    return (np.stack(weights, axis=1) * inside[:, None]).astype(np.float32)
