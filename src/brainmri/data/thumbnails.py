"""Small grey copies of images, to find which are alike: of the whole, and of what is inside its border."""

from __future__ import annotations

import numpy as np
from PIL import Image

FRAME_CONTRAST = 12  # grey levels within a row or column of a frame, at most: what lossy encoding leaves
CONTENT = 128  # side of the image that the border is looked for in
CONTENT_CONTRAST = 0.15  # of the strongest contrast to the rim: what differs less from it is border
LEAST_CONTENT = 1 / 8  # of the side: what is smaller is a speck, and the whole is taken
CONTENT_SHARE = 0.1  # of the fullest row or column: rows and columns with less in them are border
LIGHT = 64  # grey level from which a frame outweighs what is inside it
APART = 30  # grey levels, by which a pixel differs from a frame
WIDEST = 0.15  # of the side: what is wider is a background
FRAMED, INSIDE = 0.1, 0.6  # pixels of a row that differ from the frame: at most in it, at least behind its edge
EDGE = 2  # pixels that lossy encoding blurs


def thumbnail(image: Image.Image, size: int = 64) -> np.ndarray:
    """Greyscale, without a light frame, then box-resized: uint8, shape (size, size)."""
    return np.asarray(_without_light_frame(image.convert("L")).resize((size, size), Image.Resampling.BOX))


def content_thumbnail(image: Image.Image, size: int = 64) -> np.ndarray:
    """As `thumbnail`, of what is left without the border: the same for an image with a wider or narrower border.

    First a light frame goes, then rows and columns of one single grey are taken away from the outside (twice: another
    frame may have been put around a black one), then what has the grey of the rim that is left. Rows and columns with
    hardly anything in them count as border: specks, letters.
    """
    grey = _without_light_frame(image.convert("L"))
    for _ in range(2):
        grey = grey.crop(_without_frame(np.asarray(grey)))
    return np.asarray(grey.resize((size, size), Image.Resampling.BOX, box=_without_border(grey)))


def _without_light_frame(grey: Image.Image) -> Image.Image:
    """What is inside a light frame of one grey around all four sides; the whole where there is none.

    Such a frame holds most of the contrast of a slice: framed slices of different heads correlate above 0.98. A light
    background is no frame, as a head comes up in it row by row: an inverted slice stays whole.
    """
    pixels = np.asarray(grey)
    level = np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]))
    if level < LIGHT:
        return grey
    apart = np.abs(pixels - level.astype(np.int16)) > APART
    rows, columns = apart.mean(axis=1), apart.mean(axis=0)
    left, top, right, bottom = (_frame_width(shares) for shares in (columns, rows, columns[::-1], rows[::-1]))
    if not (left and top and right and bottom):
        return grey
    return grey.crop((left, top, grey.width - right, grey.height - bottom))


def _frame_width(apart: np.ndarray) -> int:
    """Rows that the frame takes of one side, 0 where there is none. apart: (H,), shares of each row, from outside."""
    inside = np.flatnonzero(apart > 0.5)
    width = int(inside[0]) if len(inside) else 0
    in_it, behind = apart[: max(width - EDGE, 1)], apart[width + EDGE : width + 2 * EDGE]
    frame = 0 < width <= WIDEST * len(apart) and in_it.max() <= FRAMED and len(behind) and behind.min() >= INSIDE
    return width if frame else 0


def _without_frame(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what lies inside the outer rows and columns of one grey."""
    rows, columns = (np.flatnonzero(np.ptp(pixels, axis=axis) > FRAME_CONTRAST) for axis in (1, 0))
    height, width = pixels.shape
    if len(rows) < LEAST_CONTENT * height or len(columns) < LEAST_CONTENT * width:
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _without_border(grey: Image.Image) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what differs from the rim; the whole if nothing stands out."""
    small = np.asarray(grey.resize((CONTENT, CONTENT), Image.Resampling.BOX), dtype=np.float32)
    rim = np.median(np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]]))
    apart = np.abs(small - rim)
    filled = apart > CONTENT_CONTRAST * np.percentile(apart, 99)
    box = []
    for share, side in ((filled.mean(0), grey.width), (filled.mean(1), grey.height)):
        inside = np.flatnonzero(share > CONTENT_SHARE * share.max())
        if len(inside) < LEAST_CONTENT * CONTENT:
            return 0, 0, grey.width, grey.height
        box.append((inside[0] * side / CONTENT, (inside[-1] + 1) * side / CONTENT))
    (left, right), (top, bottom) = box
    return left, top, right, bottom
