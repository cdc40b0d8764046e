"""Tumour against no tumour: sensitivity at a specificity chosen beforehand, for each site.

Accuracy over four classes hides what matters when images come from elsewhere: how many tumours are found at all. The
score of an image is the probability that it has any tumour. From which score on one is called, is set on the
validation split so that 95 % of its images without a tumour are not; test images play no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from brainmri.data.dataset import class_without_tumour
from brainmri.metrics.bootstrap import group_bootstrap
from brainmri.schemas import Detection, OperatingPoint, TumourThreshold

SPECIFICITY = 0.95  # on validation


def detection(
    validation_labels: NDArray[np.int64],
    validation_probabilities: NDArray[np.float64],
    test_labels: NDArray[np.int64],
    test_probabilities: NDArray[np.float64],
    test_groups: Sequence[str],
    test_sites: Sequence[str],
    classes: list[str],
) -> Detection | None:
    """How many tumours of the test split are found; None unless one class means "no tumour" and validation has it.

    Args:
        validation_labels, test_labels: (N,) class numbers.
        validation_probabilities, test_probabilities: (N, C), each row sums to 1.
        test_groups, test_sites: (N,) group ids, and where each image comes from ("" if not known).
        classes: the C label names.
    """
    name = class_without_tumour(classes)
    if name is None:
        return None
    negative = classes.index(name)
    healthy = validation_labels == negative
    if not healthy.any():
        return None
    scores = 1 - validation_probabilities[healthy, negative]
    threshold = float(np.quantile(scores, SPECIFICITY, method="higher"))
    fixed = TumourThreshold(without_tumour=name, specificity_on_validation=SPECIFICITY, threshold=threshold)
    return detection_at(fixed, test_labels, test_probabilities, test_groups, test_sites, classes)


def detection_at(
    fixed: TumourThreshold,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    groups: Sequence[str],
    sites: Sequence[str],
    classes: list[str],
) -> Detection:
    """As `detection`, of any images, at a threshold set before.

    classes: the threshold's `without_tumour` is among them, though images of it may be missing.
    """
    negative = classes.index(fixed.without_tumour)
    scores, named = 1 - probabilities[:, negative], probabilities.argmax(1) != negative
    called, tumour = scores > fixed.threshold, labels != negative
    ids, places = np.asarray(groups, dtype=str), np.asarray(sites, dtype=str)

    def figures(chosen: NDArray[np.bool_]) -> OperatingPoint:
        tumours, ranked = chosen & tumour, (chosen & tumour) | ~tumour
        likeliest = operating_point(named, tumour, chosen)
        known = tumours.any() and not tumour.all()
        more = {
            "sensitivity_of_likeliest": likeliest.sensitivity,
            "specificity_of_likeliest": likeliest.specificity,
            "auroc": float(roc_auc_score(tumour[ranked], scores[ranked])) if known else None,
        }
        return operating_point(called, tumour, chosen, ids).model_copy(update=more)

    return Detection(
        without_tumour=fixed.without_tumour,
        specificity_on_validation=fixed.specificity_on_validation,
        threshold=fixed.threshold,
        all=figures(np.ones(len(labels), dtype=bool)),
        sites={str(site): figures(places == site) for site in np.unique(places)},
    )


def operating_point(
    called: NDArray[np.bool_],
    tumour: NDArray[np.bool_],
    chosen: NDArray[np.bool_],
    groups: NDArray[np.str_] | None = None,
) -> OperatingPoint:
    """`tumours`, `others`, `sensitivity` and `specificity` of the images `chosen`; with `groups` their intervals too.

    Args:
        called: (N,) whether an image was called one with a tumour. tumour: whether it is one. groups: group ids.
    """

    def share(rows: NDArray[np.bool_], right: NDArray[np.bool_]) -> tuple[float | None, list[float] | None]:
        if not rows.any():
            return None, None
        bounds = None if groups is None else group_bootstrap(right[rows], groups[rows].tolist())
        return float(right[rows].mean()), bounds

    sensitivity, sensitivity_ci95 = share(chosen & tumour, called)
    specificity, specificity_ci95 = share(chosen & ~tumour, ~called)
    return OperatingPoint(
        tumours=int((chosen & tumour).sum()),
        others=int((chosen & ~tumour).sum()),
        sensitivity=sensitivity,
        sensitivity_ci95=sensitivity_ci95,
        specificity=specificity,
        specificity_ci95=specificity_ci95,
    )
