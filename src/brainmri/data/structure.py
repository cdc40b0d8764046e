"""How alike the fine structure of two slices is: what tells slices of one patient from those of strangers.

All slices of heads look alike: a bright oval on black, with the same plan inside. The plain correlation of two pictures
mostly measures that. Two steps take it out of the thumbnails before they are compared:

1. Local mean and local contrast are removed, so that folds and ventricles count as much as the skull.
2. What heads have in common is removed by whitening: each direction is divided by the deviation that it has among
   pictures of heads. They come from the simulated slices of `brainmri.data.phantom`, all of other anatomy than any
   patient's, so that the likeness of two pictures does not depend on the other pictures of their set.

On the Kaggle set, where 30 pairs of different tumours pass, it finds 32 % of the slices that follow each other in a
series; the plain correlation 18 %, and whitened by the set's own components 35 % (docs/LOG.md, 2026-11-24).

    python -m brainmri.data.structure    # makes whitening.npy, beside this file, again
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from brainmri.data.likeness import BLOCK, SIDE, parts_of, reduced

SIGMA = 1.0  # of the neighbourhood, in pixels of the 32x32 picture
FAINT = 6.0  # grey levels (of 255): weaker local contrast is noise and is not amplified to full strength
FLOOR = 1e-4  # of the total variance: directions with less are not amplified further
WHITENING = Path(__file__).with_name("whitening.npy")
SUBJECTS = 144  # simulated, with 9 slices each: the default phantom set


def structure_parts(thumbnails: np.ndarray) -> np.ndarray:
    """The fine structure of each thumbnail, in the form of `brainmri.data.likeness.mirror_parts`.

    Args:
        thumbnails: uint8, shape (N, 64, 64).

    Returns:
        float32, shape (N, 4, 256), rows of unit length; for `brainmri.data.likeness.best_correlation`.
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

    Parts of different kinds are uncorrelated if every picture counts in its four poses, so that each is on its own.
    """
    details = _detail_parts(thumbnails)
    covariances = np.einsum("nkp,nkq->kpq", details, details) / len(details)
    variances, directions = np.linalg.eigh(covariances.astype(np.float64))
    scale = 1 / np.sqrt(np.maximum(variances, 0) + FLOOR * variances.sum())
    return np.einsum("kpd,kd,kqd->kpq", directions, scale, directions).astype(np.float16)


def _detail_parts(thumbnails: np.ndarray) -> np.ndarray:
    small = reduced(thumbnails)
    detail = small - _smooth(small)
    return parts_of(detail / (np.sqrt(_smooth(detail**2)) + FAINT))


def _smooth(pictures: np.ndarray) -> np.ndarray:
    return gaussian_filter(pictures, (0, SIGMA, SIGMA), mode="nearest")


@cache
def _whitening() -> np.ndarray:
    return np.load(WHITENING).astype(np.float32)


if __name__ == "__main__":
    from brainmri.data.phantom import phantom_thumbnails

    np.save(WHITENING, fit_whitening(phantom_thumbnails(SUBJECTS)))
