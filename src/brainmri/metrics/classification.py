"""Figures of one set of predictions: what `result.json` holds for test, validation and train.

A class can be missing, from the labels (a small test set) or from the predictions (a collapsed network). These
definitions then hold everywhere in the package:

* precision is 0 for a class that is never predicted;
* recall and F1 are null for a class that no image has, and specificity is null when every image has it;
* balanced accuracy and macro F1 are means over the classes that the labels hold;
* the area under the ROC curve is null unless the labels hold every class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score

from brainmri.metrics.bootstrap import group_bootstrap
from brainmri.schemas import ClassScores, Scores

CALIBRATION_BINS = 15  # the number of bins in Guo et al. 2017, "On Calibration of Modern Neural Networks"


def evaluate_predictions(
    labels: ArrayLike, probabilities: ArrayLike, groups: Sequence[str], classes: list[str]
) -> Scores:
    """All figures of one split (Python numbers, None for what is undefined, never NaN).

    Args:
        labels: (N,) class numbers, 0..C-1 in the order of `classes`.
        probabilities: (N, C), each row sums to 1, uncalibrated.
        groups: (N,) group ids; images of one patient or image share one.
        classes: the C label names.

    Returns:
        Intervals are resampled by group (`group_bootstrap`), the loss is of probabilities clipped at 1e-12. For missing
        classes see the module's text.

    Raises:
        ValueError: no images, shapes that do not fit together, or rows that are no probabilities.
    """
    y, p = checked_predictions(labels, probabilities, len(classes))
    if len(groups) != len(y):
        raise ValueError(f"{len(groups)} group ids for {len(y)} images; one per image is expected.")
    predicted = p.argmax(axis=1)
    correct = predicted == y
    matrix = confusion_matrix(y, predicted, labels=range(len(classes)))
    return Scores(
        n=len(y),
        groups=len(set(groups)),
        accuracy=float(correct.mean()),
        accuracy_ci95=group_bootstrap(correct, groups),
        **means_over_present_classes(y, predicted),
        auroc=_macro_auroc(y, p),
        loss=cross_entropy(y, p),
        ece=expected_calibration_error(y, p),
        brier=float(((p - np.eye(len(classes))[y]) ** 2).sum(axis=1).mean()),
        per_class={label: _one_class(matrix, number) for number, label in enumerate(classes)},
        confusion_matrix=matrix.tolist(),
    )


def checked_predictions(
    labels: ArrayLike, probabilities: ArrayLike, n_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels as (N,) int64 and probabilities as (N, C) float64.

    Raises:
        ValueError: no images, a wrong shape, a label outside 0..C-1, or rows that are not finite, lie outside 0..1 or
            do not sum to 1 (to 0.01, the rounding of a half-precision softmax).
    """
    y, p = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    if y.ndim != 1 or len(y) == 0 or p.shape != (len(y), n_classes):
        raise ValueError(
            f"Labels of shape {y.shape} and probabilities of shape {p.shape} found; "
            f"(N,) and (N, {n_classes}) with at least one image are expected."
        )
    if y.min() < 0 or y.max() >= n_classes:
        raise ValueError(f"Labels lie in {y.min()}..{y.max()}; 0..{n_classes - 1} is expected for {n_classes} classes.")
    bad = ~(np.isfinite(p).all(axis=1) & (p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1) < 0.01))
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(p)} rows are no probabilities (first: row {int(bad.argmax())}, {p[bad][0]}); "
            "finite values >= 0 that sum to 1 are expected."
            + ("" if np.isfinite(p).all() else " NaN usually means that training diverged: lower the learning rate.")
        )
    return y, p


def cross_entropy(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Mean negative log probability of the true class, in nats, with probabilities clipped at 1e-12."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def calibration_bins(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], bins: int = CALIBRATION_BINS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean confidence, accuracy and number of images of each equal-mass bin, by rising confidence.

    The confidence is the largest probability of an image. Equal confidences share a bin, so the order of the images
    does not matter; bins are then unequal, and empty ones (ties, or fewer images than bins) are left out.
    """
    confidence = probabilities.max(axis=1)
    rank = np.searchsorted(np.sort(confidence), confidence)  # of the first image with this confidence
    bin_number = rank * bins // len(confidence)
    counts = np.bincount(bin_number, minlength=bins)
    hits = np.bincount(bin_number, weights=probabilities.argmax(axis=1) == labels, minlength=bins)
    sums = np.bincount(bin_number, weights=confidence, minlength=bins)
    used = counts > 0
    return sums[used] / counts[used], hits[used] / counts[used], counts[used]


def expected_calibration_error(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Mean distance between confidence and accuracy over 15 equal-mass bins, weighted by the images in each; 0..1."""
    confidence, accuracy, counts = calibration_bins(labels, probabilities)
    return float((np.abs(confidence - accuracy) * counts).sum() / counts.sum())


def means_over_present_classes(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, float]:
    """Balanced accuracy and macro F1 of class numbers (N,)."""
    present = np.unique(labels)
    return {
        "balanced_accuracy": float(recall_score(labels, predicted, labels=present, average="macro")),
        "macro_f1": float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0)),
    }


def _macro_auroc(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float | None:
    n_classes = probabilities.shape[1]
    if n_classes < 2 or len(np.unique(labels)) < n_classes:
        return None
    # Class by class: sklearn's own "ovr" insists on sums of 1 to eight digits, which single precision does not give.
    return float(np.mean([roc_auc_score(labels == k, probabilities[:, k]) for k in range(n_classes)]))


def _one_class(matrix: NDArray[np.int64], k: int) -> ClassScores:
    hits, support, predicted, n = int(matrix[k, k]), int(matrix[k].sum()), int(matrix[:, k].sum()), int(matrix.sum())
    return ClassScores(
        precision=hits / predicted if predicted else 0.0,
        recall=hits / support if support else None,
        specificity=(n - support - predicted + hits) / (n - support) if n > support else None,
        f1=2 * hits / (support + predicted) if support else None,
        support=support,
    )
