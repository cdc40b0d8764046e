"""How alike two images are: the correlation of their thumbnails, at the best of four poses.

The poses are identity, left-right mirror, upside-down mirror and a turn by 180 degrees. An image is the sum of four
parts: even or odd under the one mirror, even or odd under the other. Parts of different kinds are orthogonal, and a
pose only changes the signs of whole parts; so the four dot products of the parts give the correlations of all four
poses at once.

Whitened descriptors say how similar the fine structure of two slices is, which tells slices of one patient from those
of other patients. All slices of heads look alike: a bright oval on black, with the same plan inside. The plain
correlation of two images mostly measures that. Two steps take it out of the thumbnails before they are compared:

1. Local mean and local contrast are removed, so that folds and ventricles count as much as the skull.
2. What heads have in common is removed by whitening: each direction is divided by the deviation that it has among
   images of heads. They come from the simulated slices of `brainmri.data.phantom.generate`, all of other anatomy than
   any patient's, so that the similarity of two images does not depend on the other images of their set.

On the Kaggle set, where 30 pairs of different tumours pass, it finds 32 % of the slices that follow each other in a
series; the plain correlation 18 %, and whitened by the set's own components 35 % (docs/LOG.md, 2026-11-24).

    python -m brainmri.data.duplicates.similarity    # makes whitening.npy, beside this file, again
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

SIDE = 32  # thumbnails are reduced to 32x32 first: enough to tell slices apart, robust to sharpening and re-encoding
# Rows: the poses identity, left-right mirror, upside-down mirror, turn. Columns: the parts even-even, even-odd,
# odd-even, odd-odd, where the first word is about the upside-down and the second about the left-right mirror.
SIGNS = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=np.float32)
BLOCK = 4096  # thumbnails or pairs worked on at once; bounds the memory


def symmetry_components(thumbnails: np.ndarray) -> np.ndarray:
    """The four parts of each thumbnail, reduced to 32x32, without its mean and scaled to unit length.

    Thumbnails without any contrast all become one and the same unit vector, far from any image.

    Args:
        thumbnails: uint8, shape (N, 64, 64).

    Returns:
        float32, shape (N, 4, 256); the squares of each row sum to 1.
    """
    parts = np.empty((len(thumbnails), 4, SIDE * SIDE // 4), dtype=np.float32)
    for start in range(0, len(thumbnails), BLOCK):
        parts[start : start + BLOCK] = components_of(reduced(thumbnails[start : start + BLOCK]))
    return parts


def reduced(thumbnails: np.ndarray) -> np.ndarray:
    """uint8 (N, 64, 64) to float32 (N, 32, 32), 0..255: the means of 2x2 pixels."""
    wide = thumbnails.astype(np.uint16)
    rows = wide[:, ::2] + wide[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]).astype(np.float32) / 4  # exact, and several times as fast as a mean


def components_of(pixels: np.ndarray) -> np.ndarray:
    """As `symmetry_components`, of images that are reduced already: float32 (N, 32, 32)."""
    pixels = _unit(pixels).reshape(pixels.shape)
    above, below = pixels[:, : SIDE // 2], pixels[:, : SIDE // 2 - 1 : -1]
    halves = [half for rows in (above + below, above - below) for half in _left_right(rows)]
    return np.stack(halves, axis=1).reshape(len(pixels), 4, -1) / 2


def turned_components(parts: np.ndarray) -> np.ndarray:
    """The parts of the same images with rows and columns exchanged: with the four poses, of all quarter turns."""
    squares = parts.reshape(len(parts), 4, SIDE // 2, SIDE // 2)[:, [0, 2, 1, 3]]
    return squares.transpose(0, 1, 3, 2).reshape(parts.shape)


def correlations(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The correlation of each of `some` with each of `others` at the best of the four poses: float32 (N, M).

    some, others: of `symmetry_components`.
    """
    flat = others.reshape(len(others), -1)
    best = np.full((len(some), len(others)), -1, np.float32)
    for signs in SIGNS:
        np.maximum(best, (some * signs[:, None]).reshape(len(some), -1) @ flat.T, out=best)
    return best


def best_correlation(parts: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The correlation (-1..1, float32) of each of the pairs (first[k], second[k]) at the best of the four poses.

    Args:
        parts: of `symmetry_components`.
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
    # Alternating signs over the columns: far from any image, and the same in all four poses but for its sign.
    flat[blank] = np.tile([1.0, -1.0], flat.shape[1] // 2) / np.sqrt(flat.shape[1])
    return flat


SIGMA = 1.0  # of the neighbourhood, in pixels of the 32x32 image
FAINT = 6.0  # grey levels (of 255): weaker local contrast is noise and is not amplified to full strength
FLOOR = 1e-4  # of the total variance: directions with less are not amplified further
WHITENING = Path(__file__).with_name("whitening.npy")
SUBJECTS = 144  # simulated, with 9 slices each: the default phantom set


def whitened_descriptors(thumbnails: np.ndarray) -> np.ndarray:
    """The fine structure of each thumbnail, in the form of `brainmri.data.duplicates.similarity.symmetry_components`.

    Args:
        thumbnails: uint8, shape (N, 64, 64).

    Returns:
        float32, shape (N, 4, 256), rows of unit length; for `brainmri.data.duplicates.similarity.best_correlation`.
    """
    whitening = _whitening()
    parts = np.empty((len(thumbnails), 4, SIDE * SIDE // 4), dtype=np.float32)
    for start in range(0, len(thumbnails), BLOCK):
        details = _detail_parts(thumbnails[start : start + BLOCK])
        white = np.matmul(details.transpose(1, 0, 2), whitening).transpose(1, 0, 2)
        parts[start : start + BLOCK] = white / np.linalg.norm(white, axis=(1, 2), keepdims=True)
    return parts


def fit_whitening(thumbnails: np.ndarray) -> np.ndarray:
    """float16 (4, 256, 256): for each mirror part the inverse square root of its covariance, not centred.

    Parts of different kinds are uncorrelated if every image counts in its four poses, so that each is on its own.
    """
    details = _detail_parts(thumbnails)
    covariances = np.einsum("nkp,nkq->kpq", details, details) / len(details)
    variances, directions = np.linalg.eigh(covariances.astype(np.float64))
    scale = 1 / np.sqrt(np.maximum(variances, 0) + FLOOR * variances.sum())
    return np.einsum("kpd,kd,kqd->kpq", directions, scale, directions).astype(np.float16)


def _detail_parts(thumbnails: np.ndarray) -> np.ndarray:
    return components_of(fine_structure(thumbnails, SIGMA))


def fine_structure(thumbnails: np.ndarray, sigma: float) -> np.ndarray:
    """uint8 (N, 64, 64) to float32 (N, 32, 32): without the mean and the contrast of each pixel's neighbourhood.

    sigma: of the neighbourhood, in pixels of the smaller image.
    """
    grey = reduced(thumbnails)
    detail = grey - smooth(grey, sigma)
    return detail / (np.sqrt(smooth(detail**2, sigma)) + FAINT)


def smooth(images: np.ndarray, sigma: float) -> np.ndarray:
    """float32 (N, 32, 32): images smoothed by a Gaussian; the outermost pixels go on outside."""
    kernel = _smoother(sigma)
    return kernel @ images @ kernel.T  # six times as fast as scipy's filter, and within 1e-4 grey levels of it


@cache
def _smoother(sigma: float) -> np.ndarray:
    """float32 (32, 32): from a column of an image to that column smoothed."""
    return np.asarray(gaussian_filter1d(np.eye(SIDE), sigma, axis=0, mode="nearest"), np.float32)


@cache
def _whitening() -> np.ndarray:
    return np.load(WHITENING).astype(np.float32)


if __name__ == "__main__":
    from brainmri.data.phantom.generate import phantom_thumbnails

    np.save(WHITENING, fit_whitening(phantom_thumbnails(SUBJECTS)))
