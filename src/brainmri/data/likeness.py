"""How alike two pictures are: the correlation of their thumbnails, at the best of four poses.

The poses are identity, left-right mirror, upside-down mirror and a turn by 180 degrees. A picture is the sum of four
parts: even or odd under the one mirror, even or odd under the other. Parts of different kinds are orthogonal, and a
pose only changes the signs of whole parts; so the four dot products of the parts give the correlations of all four
poses at once.
"""

from __future__ import annotations

import numpy as np

SIDE = 32  # thumbnails are reduced to 32x32 first: enough to tell slices apart, robust to sharpening and re-encoding
# Rows: the poses identity, left-right mirror, upside-down mirror, turn. Columns: the parts even-even, even-odd,
# odd-even, odd-odd, where the first word is about the upside-down and the second about the left-right mirror.
SIGNS = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=np.float32)
BLOCK = 4096  # thumbnails or pairs worked on at once; bounds the memory


def mirror_parts(thumbnails: np.ndarray) -> np.ndarray:
    """The four parts of each thumbnail, reduced to 32x32, without its mean and scaled to unit length.

    Thumbnails without any contrast all become one and the same unit vector, far from any picture.

    Args:
        thumbnails: uint8, shape (N, 64, 64).

    Returns:
        float32, shape (N, 4, 256); the squares of each row sum to 1.
    """
    parts = np.empty((len(thumbnails), 4, SIDE * SIDE // 4), dtype=np.float32)
    for start in range(0, len(thumbnails), BLOCK):
        parts[start : start + BLOCK] = parts_of(reduced(thumbnails[start : start + BLOCK]))
    return parts


def reduced(thumbnails: np.ndarray) -> np.ndarray:
    """uint8 (N, 64, 64) to float32 (N, 32, 32), 0..255: the means of 2x2 pixels."""
    return thumbnails.reshape(len(thumbnails), SIDE, 64 // SIDE, SIDE, 64 // SIDE).mean((2, 4), dtype=np.float32)


def parts_of(pixels: np.ndarray) -> np.ndarray:
    """As `mirror_parts`, of pictures that are reduced already: float32 (N, 32, 32)."""
    pixels = _unit(pixels).reshape(pixels.shape)
    above, below = pixels[:, : SIDE // 2], pixels[:, : SIDE // 2 - 1 : -1]
    halves = [half for rows in (above + below, above - below) for half in _left_right(rows)]
    return np.stack(halves, axis=1).reshape(len(pixels), 4, -1) / 2


def best_correlation(parts: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The correlation (-1..1, float32) of each of the pairs (first[k], second[k]) at the best of the four poses.

    Args:
        parts: of `mirror_parts`.
        first, second: integer arrays of one length, rows of `parts`.
    """
    best = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), BLOCK):
        pairs = slice(start, start + BLOCK)
        dots = np.einsum("nkp,nkp->nk", parts[first[pairs]], parts[second[pairs]])
        best[pairs] = np.einsum("nk,gk->gn", dots, SIGNS).max(axis=0)
    return best


def _left_right(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    left, right = rows[:, :, : SIDE // 2], rows[:, :, : SIDE // 2 - 1 : -1]
    return left + right, left - right


def _unit(images: np.ndarray) -> np.ndarray:
    """Flatten to zero mean and unit length; images without contrast all become the same unit vector."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    blank = length[:, 0] < 1e-3
    flat = flat / np.where(length < 1e-3, 1, length)
    # Alternating signs over the columns: far from any picture, and the same in all four poses but for its sign.
    flat[blank] = np.tile([1.0, -1.0], flat.shape[1] // 2) / np.sqrt(flat.shape[1])
    return flat
