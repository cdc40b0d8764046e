"""The range of values that is drawn black to white."""

from __future__ import annotations

import numpy as np

BRIGHTEST, DARKEST = 99.9, 0.1


def value_range(values: np.ndarray) -> tuple[float, float] | None:
    """Robust percentiles of the values, or the extremes where these are equal; None if there are none."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = (float(one) for one in np.percentile(values, (DARKEST, BRIGHTEST)))
    return (low, high) if low < high else (float(values.min()), float(values.max()))
