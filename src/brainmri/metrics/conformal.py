"""Conformal prediction sets: every class whose probability is high enough to hold the promised coverage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.1  # share of images whose set of labels may miss the true one


def conformal_threshold(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], alpha: float = ALPHA
) -> float | None:
    """Threshold of split conformal prediction: the ceil((n + 1)(1 - alpha))-th smallest 1 - p of the true class.

    The + 1 is the finite-sample correction: on images that are exchangeable with these, the sets miss the true label
    with a probability of at most alpha. Slices of one patient are not exchangeable with those of another, so read the
    measured `test_coverage` beside it. None if n is too small (fewer than 9 images for alpha = 0.1).
    """
    rank = len(labels) + 1 - int(np.floor(alpha * (len(labels) + 1)))
    if rank > len(labels):
        return None
    return float(np.sort(1 - probabilities[np.arange(len(labels)), labels])[rank - 1])


def prediction_sets(probabilities: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """(N, C) true where a class belongs to the image's set: 1 - p <= threshold. A set may be empty."""
    return 1 - probabilities <= threshold
