"""How far the probabilities of a run can be trusted: the contents of `uncertainty.json`.

Everything is fitted on the validation split; the test split is only measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from brainmri.metrics.bootstrap import group_bootstrap
from brainmri.metrics.classification import checked_predictions, cross_entropy, expected_calibration_error
from brainmri.metrics.conformal import (
    ALPHA,
    class_conditional_thresholds,
    conformal_threshold,
    prediction_sets,
)
from brainmri.metrics.probabilities import apply_temperature
from brainmri.schemas import Calibration, Conformal, OODRecord, SetCoverage, Uncertainty

TEMPERATURE_BOUNDS = (0.05, 20.0)
NO_RULE = "No rule for refusing an image was fitted."


def uncertainty_record(
    validation_labels: ArrayLike,
    validation_probabilities: ArrayLike,
    test_labels: ArrayLike,
    test_probabilities: ArrayLike,
    classes: list[str],
    *,
    test_groups: Sequence[str],
    ood: OODRecord | str = NO_RULE,
) -> Uncertainty:
    """The contents of `uncertainty.json`; `conformal` is None where the validation split is too small for its coverage.

    Args:
        validation_labels, test_labels: (N,) class numbers in the order of `classes`.
        validation_probabilities, test_probabilities: (N, C), uncalibrated, each row sums to 1.
        classes: the C label names.
        test_groups: group ids of the test images.
        ood: what `brainmri.evaluation.ood.fit` gives, or the reason why there is no detector.

    Raises:
        ValueError: an empty split, or arrays that do not fit together.
    """
    val_y, val_p = checked_predictions(validation_labels, validation_probabilities, len(classes))
    test_y, test_p = checked_predictions(test_labels, test_probabilities, len(classes))
    temperature = fit_temperature(val_y, val_p)
    val_cooled = apply_temperature(val_p, temperature)
    threshold = conformal_threshold(val_y, val_p)
    conformal = None
    if threshold is not None:
        own = [threshold if each is None else each for each in class_conditional_thresholds(val_y, val_p)]
        shown, marginal = (
            set_coverage(prediction_sets(test_p, each), test_y, classes, test_groups) for each in (own, threshold)
        )
        conformal = Conformal(
            method="class-conditional split conformal, 1 - p of the true class",
            probabilities="uncalibrated",
            alpha=ALPHA,
            threshold=threshold,
            class_thresholds=dict(zip(classes, own, strict=True)),
            fitted_on="validation",
            marginal=marginal,
            **dict(shown),
        )
    calibration = Calibration(
        method="temperature",
        temperature=temperature,
        fitted_on="validation",
        nll_before=cross_entropy(val_y, val_p),
        nll_after=cross_entropy(val_y, val_cooled),
        ece_before=expected_calibration_error(val_y, val_p),
        ece_after=expected_calibration_error(val_y, val_cooled),
        test_ece_after=expected_calibration_error(test_y, apply_temperature(test_p, temperature)),
    )
    return Uncertainty(
        classes=list(classes),
        calibration=calibration,
        conformal=conformal,
        conformal_reason=None if conformal else _too_small(len(val_y)),
        ood=None if isinstance(ood, str) else ood,
        ood_reason=ood if isinstance(ood, str) else None,
    )


def set_coverage(
    sets: NDArray[np.bool_], labels: NDArray[np.int64], classes: list[str], groups: Sequence[str]
) -> SetCoverage:
    """How often prediction sets (N, C) hold the true class, and how large they are.

    Args:
        labels: (N,) class numbers. groups: (N,) group ids, by which the interval is resampled.
    """
    covered, sizes = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    by_class = {name: covered[labels == k] for k, name in enumerate(classes)}
    return SetCoverage(
        test_coverage=float(covered.mean()),
        test_coverage_ci95=group_bootstrap(covered, groups),
        test_coverage_per_class={name: float(own.mean()) if len(own) else None for name, own in by_class.items()},
        test_mean_set_size=float(sizes.mean()),
        test_set_sizes={str(size): int((sizes == size).sum()) for size in range(len(classes) + 1)},
    )


def fit_temperature(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """The temperature with the least cross entropy on these images, searched over log T in 0.05..20.

    Where every image is classified rightly the loss has no minimum and the result lies at the lower bound.
    """
    found = minimize_scalar(
        lambda log_t: cross_entropy(labels, apply_temperature(probabilities, float(np.exp(log_t)))),
        bounds=tuple(np.log(TEMPERATURE_BOUNDS)),
        method="bounded",
    )
    return float(np.exp(found.x))


def _too_small(n: int) -> str:
    needed = int(np.ceil(1 / ALPHA)) - 1
    return f"The validation split has {n} images; sets that miss at most {ALPHA:.0%} need at least {needed}."
