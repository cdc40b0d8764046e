"""Which values of a scan are drawn black and white where its file names no window, and the drawing itself.

MR intensities have no unit, so the range comes from the values: robust percentiles of the head. It is one range for a
whole volume or series, so that its slices can be compared, and it depends on nothing but the values: the same volume
has the same range in whatever order, direction or kind of file its voxels are stored.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

BLACK = 0.5  # percentile of all values but padding that becomes black
# Of the head, what is cut off as white: this share, but in a small image a few pixels at least, up to a larger share.
SPARED, SPARED_PIXELS, SPARED_MOST = 0.001, 8, 0.005
# What is brighter than this share of the way between two percentiles of all values counts as head (as FSL's BET does).
HEAD, DARK, BRIGHT = 0.1, 2.0, 98.0
# A negative lowest value is padding where the next one is further from it than this share of the rest.
GAP = 0.1
# Of the range, and of a grey level: values that differ only in how they were rounded (0.37 as a decimal text or as a
# float of 32 bits) fall on the same side of an edge.
CLOSE, TIE = 1e-6, 1e-4


def head_range(values: np.ndarray, numbers: np.ndarray | None = None) -> tuple[float, float] | None:
    """The values to draw black and white: robust percentiles of the head.

    A few bright pixels do not darken the rest, and it does not matter how much background or padding surrounds the
    head. Values that are no finite numbers are left out, and so is padding far below all other values.

    Args:
        values: of a volume, of a series or of one image, any shape, integers or floats; without the padding that the
            file names.
        numbers: how many pixels have each of the `values`; None: one.

    Returns:
        Two values, the first smaller; None if there are not two different finite values.

    Example:
        >>> low, high = head_range(volume)
        >>> image = grey(volume[:, :, 20], low, high)
    """
    if numbers is None:
        ordered = np.sort(values, axis=None)
        first, last = 0, len(ordered)
        if ordered.dtype.kind == "f":  # NaN come last
            first = int(np.searchsorted(ordered, -np.inf, "right"))
            last = int(np.searchsorted(ordered, np.inf, "left"))
        ordered = ordered[first:last]
        upto = None
    else:
        there = np.isfinite(values) & (numbers > 0)
        order = np.argsort(values[there], kind="stable")
        ordered, upto = values[there][order], np.cumsum(numbers[there][order])
    if not len(ordered) or ordered[0] == ordered[-1]:
        return None
    start = _after_padding(ordered, upto)
    darkest, dark, bright = (_percentile(ordered, upto, start, percent) for percent in (BLACK, DARK, BRIGHT))
    edge = dark + (HEAD + CLOSE) * (bright - dark)
    if ordered.dtype.kind != "f":
        edge = math.floor(edge)
    with np.errstate(over="ignore"):  # searched for as the type of the values, which are not copied then
        head = max(start, int(np.searchsorted(ordered, ordered.dtype.type(edge), "right")))
    whitest = _white(ordered, upto, start if head == len(ordered) else head)
    if darkest < whitest:
        return darkest, whitest
    return float(ordered[0]), float(ordered[-1])


def background_edge(values: np.ndarray) -> float:
    """The value up to which there is background around a head."""
    dark, bright = np.percentile(values, (DARK, BRIGHT))
    return float(dark + HEAD * (bright - dark))


def counted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers of at most 16 bits -> the different values, ascending, and how many pixels have each."""
    width = 8 * values.dtype.itemsize
    kind = np.dtype(f"u{values.dtype.itemsize}")
    numbers = np.bincount(values.ravel().view(kind), minlength=2**width)
    stored = np.nonzero(numbers)[0]
    found = stored.astype(kind).view(values.dtype)
    order = np.argsort(found)
    return found[order], numbers[stored][order]


def grey(values: np.ndarray, low: float, high: float) -> Image.Image:
    """Values (H, W) as a grey image: `low` and below is 0, `high` and above 255, linear between; no number is 0.

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
    scaled += 0.5 + TIE
    return Image.fromarray(scaled.astype(np.uint8))


def _after_padding(ordered: np.ndarray, upto: np.ndarray | None) -> int:
    """Where the values begin that are no padding: magnitudes are not negative, so one negative value apart is."""
    if ordered[0] >= 0:
        return 0
    start = int(np.searchsorted(ordered, ordered[0], "right"))
    most = _white(ordered, upto, start)
    following = float(ordered[start])
    return start if following - float(ordered[0]) > GAP * (most - following) else 0


def _white(ordered: np.ndarray, upto: np.ndarray | None, start: int) -> float:
    """The value that becomes white, of those from `start` on."""
    spared = min(max(SPARED, SPARED_PIXELS / _count(ordered, upto, start)), SPARED_MOST)
    return _percentile(ordered, upto, start, 100 * (1 - spared))


def _count(ordered: np.ndarray, upto: np.ndarray | None, start: int) -> int:
    """Pixels from `start` on."""
    return len(ordered) - start if upto is None else int(upto[-1]) - (int(upto[start - 1]) if start else 0)


def _percentile(ordered: np.ndarray, upto: np.ndarray | None, start: int, percent: float) -> float:
    """One of the values from `start` on: that at or below which `percent` of these pixels are."""
    count = _count(ordered, upto, start)
    before = start if upto is None else int(upto[-1]) - count
    rank = max(1, int(np.ceil(percent / 100 * count - CLOSE)))
    place = before + rank - 1 if upto is None else int(np.searchsorted(upto, before + rank))
    return float(ordered[place])
