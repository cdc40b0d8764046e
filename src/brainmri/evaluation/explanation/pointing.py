"""Do maps point at what an expert outlined? The pointing game, and the energy inside the outlines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

# Zhang et al. ("Top-down Neural Attention by Excitation Backprop", ECCV 2016) allow 15 pixels, on pictures that are
# about 500 pixels wide.
TOLERANCE = 0.03
GAUSSIAN_WIDTH = 0.25  # standard deviation of the centred floor, as a share of the side


def tolerance_in_pixels(side: int) -> int:
    """How far beside the outline a maximum still counts as a hit, with tolerance."""
    return max(1, round(TOLERANCE * side))


def pointing_hits(maps: Floats, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """1 where the maximum of a map lies inside the mask, 0 where not (Zhang et al. 2016), (N,).

    Where several pixels share the maximum (white pixels of a picture), it is the share of them that lies inside: what
    drawing one of them gives on average. A map that is 0 everywhere points nowhere, and misses.

    Args:
        maps: (N, H, W), 0 or more.
        masks: (N, H, W).
    """
    highest = maps.max(axis=(1, 2), keepdims=True)
    at_maximum = (maps >= highest * (1 - 1e-6)) & (highest > 0)  # interpolation may round equal values apart
    inside = (at_maximum & masks).sum(axis=(1, 2))
    return inside / np.maximum(at_maximum.sum(axis=(1, 2)), 1)


def energy_inside(maps: Floats, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of a map's sum that lies inside the mask, (N,), 0..1; 0 for a map that is 0 everywhere.

    Wang et al., "Score-CAM" (CVPR workshops 2020): the energy-based pointing game, there with boxes for outlines.

    Args:
        maps: (N, H, W), 0 or more.
        masks: (N, H, W).
    """
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    inside = (maps * masks).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(inside, total, out=np.zeros(len(maps)), where=total > 0)


def centred_gaussian(side: int) -> NDArray[np.float64]:
    """A map (side, side) that knows of no picture, only that what matters stands in the middle of one."""
    one = np.exp(-0.5 * (((np.arange(side) + 0.5) / side - 0.5) / GAUSSIAN_WIDTH) ** 2)
    return np.outer(one, one)
