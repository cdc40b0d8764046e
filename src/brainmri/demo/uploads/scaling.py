"""Measured values as 8-bit grey."""

from __future__ import annotations

import numpy as np
from PIL import Image


def grey(values: np.ndarray, low: float, high: float) -> Image.Image:
    """Values (H, W) as a grey picture: `low` and below is 0, `high` and above 255, linear between; no number is 0.

    All is 0 where `low` and `high` are the same.
    """
    scaled = values.astype(np.float64)
    scaled -= low
    if high > low:
        scaled *= 255 / (high - low)
    np.nan_to_num(scaled, copy=False, nan=0, posinf=255, neginf=0)
    np.clip(scaled, 0, 255, out=scaled)
    if high <= low:
        scaled[:] = 0
    return Image.fromarray(np.round(scaled, out=scaled).astype(np.uint8))


def finite_range(values: np.ndarray) -> tuple[float, float] | None:
    """Smallest and largest finite value; None if there is none."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def is_blank(picture: Image.Image) -> bool:
    """Whether all pixels of an "L" or "RGB" picture are the same."""
    extrema = np.array(picture.getextrema()).reshape(-1, 2)
    return bool((extrema[:, 0] == extrema[:, 1]).all())
