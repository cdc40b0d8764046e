"""Small grey copies of images, to find which are alike: of the whole, and of what is inside its border."""

from __future__ import annotations

import numpy as np
from PIL import Image

FRAME_CONTRAST = 12  # grey levels within a row or column of a frame, at most: what lossy encoding leaves
CONTENT = 128  # side of the image that the border is looked for in
CONTENT_CONTRAST = 0.15  # of the strongest contrast to the rim: what differs less from it is border
LEAST_CONTENT = 1 / 8  # of the side: what is smaller is a speck, and the whole is taken
CONTENT_SHARE = 0.1  # of the fullest row or column: rows and columns with less in them are border


def thumbnail(image: Image.Image, size: int = 64) -> np.ndarray:
    """Greyscale, then box-resized: uint8, shape (size, size)."""
    return np.asarray(image.convert("L").resize((size, size), Image.Resampling.BOX))


def content_thumbnail(image: Image.Image, size: int = 64) -> np.ndarray:
    """As `thumbnail`, of what is left without the border: the same for an image with a wider or narrower border.

    First rows and columns of one single grey are taken away from the outside (twice: a white frame may have been put
    around a black one), then what has the grey of the rim that is left. Rows and columns with hardly anything in them
    count as border: specks, letters.
    """
    grey = image.convert("L")
    for _ in range(2):
        grey = grey.crop(_without_frame(np.asarray(grey)))
    return np.asarray(grey.resize((size, size), Image.Resampling.BOX, box=_without_border(grey)))


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
