"""Conformal prediction sets: every class whose probability is high enough to hold the promised coverage."""

from __future__ import annotations

from collections.abc import Sequence

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


def class_conditional_thresholds(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], alpha: float = ALPHA
) -> list[float | None]:
    """A threshold for each class, of the images of this class alone, so that the promise holds in each class.

    Class-conditional (Mondrian) conformal prediction: Vovk, Lindsay, Nouretdinov and Gammerman, Mondrian Confidence
    Machine, 2003; Ding et al., NeurIPS 2023. None for a class with too few images.
    """
    return [
        conformal_threshold(labels[labels == k], probabilities[labels == k], alpha)
        for k in range(probabilities.shape[1])
    ]


def prediction_sets(probabilities: NDArray[np.float64], threshold: float | Sequence[float]) -> NDArray[np.bool_]:
    """(N, C) true where a class belongs to the image's set: 1 - p <= threshold (one, or one for each class).

    The likeliest class always belongs to it: a set that grows keeps its coverage, and an empty one tells nothing.
    """
    sets: NDArray[np.bool_] = 1 - probabilities <= np.asarray(threshold)
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets
