"""Where the head lies in a slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BACKGROUND = 10  # levels up to here are air
SOLID = 30  # a head's outermost tissue, fat, is brighter; noise in air seldom is
SHARE = 0.03  # of a row's or column's pixels that are solid, where it crosses the head


def head_box(picture: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is not air in a grey picture (H, W); the whole of it where all is air."""
    solid = picture > SOLID
    columns, rows = (np.flatnonzero(solid.mean(axis) > SHARE) for axis in (0, 1))
    if not len(columns) or not len(rows):
        return 0, 0, picture.shape[1], picture.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
