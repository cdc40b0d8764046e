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
from brainmri.metrics.bootstrap import auroc_bootstrap, group_bootstrap, sensitivity_at, sensitivity_at_bootstrap
from brainmri.schemas import Abstention, AbstentionEffect, Detection, OperatingPoint, TumourThreshold

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
    fixed: TumourThreshold | None,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    groups: Sequence[str],
    sites: Sequence[str],
    classes: list[str],
) -> Detection | None:
    """As `detection`, of any images, at a threshold set before, if there is one.

    What needs no threshold of the model's is given for every model: the likeliest class, the area under the ROC curve
    and the sensitivity at 90 % and 95 % specificity. None unless one of `classes` means "no tumour"; images of it may
    be missing.
    """
    name = class_without_tumour(classes)
    if name is None:
        return None
    negative = classes.index(name)
    scores, named, tumour = 1 - probabilities[:, negative], probabilities.argmax(1) != negative, labels != negative
    ids, places = np.asarray(groups, dtype=str), np.asarray(sites, dtype=str)

    def figures(chosen: NDArray[np.bool_]) -> OperatingPoint:
        return full_operating_point(scores, named, tumour, chosen, ids, fixed.threshold if fixed else None)

    return Detection(
        without_tumour=name,
        specificity_on_validation=fixed.specificity_on_validation if fixed else None,
        threshold=fixed.threshold if fixed else None,
        all=figures(np.ones(len(labels), dtype=bool)),
        sites={str(site): figures(places == site) for site in np.unique(places)},
    )


def threshold_of(found: Detection) -> TumourThreshold | None:
    """The threshold by which `found` was counted; None where the model had none."""
    if found.threshold is None or found.specificity_on_validation is None:
        return None
    return TumourThreshold(
        without_tumour=found.without_tumour,
        specificity_on_validation=found.specificity_on_validation,
        threshold=found.threshold,
    )


def full_operating_point(
    scores: NDArray[np.float64],
    named: NDArray[np.bool_],
    tumour: NDArray[np.bool_],
    chosen: NDArray[np.bool_],
    groups: NDArray[np.str_],
    threshold: float | None,
) -> OperatingPoint:
    """Everything that an `OperatingPoint` holds, of the images or patients `chosen`.

    Args:
        scores: (N,) probability of any tumour. named: whether the likeliest class is one. tumour: whether it is one.
        groups: group ids. threshold: above which a score is called a tumour; None for a model without one.
    """
    ranked = (chosen & tumour) | ~tumour
    likeliest = operating_point(named, tumour, chosen, groups)
    more = of_ranking(scores[ranked], tumour[ranked], groups[ranked]) | {
        "sensitivity_of_likeliest": likeliest.sensitivity,
        "sensitivity_of_likeliest_ci95": likeliest.sensitivity_ci95,
        "specificity_of_likeliest": likeliest.specificity,
        "specificity_of_likeliest_ci95": likeliest.specificity_ci95,
    }
    if threshold is None:
        return OperatingPoint(tumours=likeliest.tumours, others=likeliest.others).model_copy(update=more)
    return operating_point(scores > threshold, tumour, chosen, groups).model_copy(update=more)


def of_ranking(
    scores: NDArray[np.float64], tumour: NDArray[np.bool_], groups: NDArray[np.str_]
) -> dict[str, float | list[float] | None]:
    """Of an `OperatingPoint` what the order of the scores (N,) alone tells; nothing where one kind is missing."""
    if not tumour.any() or tumour.all():
        return {}
    ids = groups.tolist()
    found: dict[str, float | list[float] | None] = {
        "auroc": float(roc_auc_score(tumour, scores)),
        "auroc_ci95": auroc_bootstrap(scores, tumour, ids),
    }
    for percent in (90, 95):
        key = f"sensitivity_at_{percent}_specificity"
        found[key] = sensitivity_at(scores, tumour, percent / 100)
        found[f"{key}_ci95"] = sensitivity_at_bootstrap(scores, tumour, ids, percent / 100)
    return found


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
    sensitivity, sensitivity_ci95 = share_of(called, chosen & tumour, groups)
    specificity, specificity_ci95 = share_of(~called, chosen & ~tumour, groups)
    return OperatingPoint(
        tumours=int((chosen & tumour).sum()),
        others=int((chosen & ~tumour).sum()),
        sensitivity=sensitivity,
        sensitivity_ci95=sensitivity_ci95,
        specificity=specificity,
        specificity_ci95=specificity_ci95,
    )


def abstention(
    rejected: NDArray[np.bool_],
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    groups: Sequence[str],
    sites: Sequence[str],
    classes: list[str],
) -> Abstention | None:
    """What abstaining changes for finding tumours, in all and at each site; None unless one class means "no tumour".

    Args:
        rejected: (N,) which images are refused. labels, predicted: (N,) class numbers, predicted the likeliest.
        groups, sites: (N,) group ids, by which intervals are resampled, and where each image comes from.
        classes: the label names.
    """
    name = class_without_tumour(classes)
    if name is None:
        return None
    negative = classes.index(name)
    called, tumour = predicted != negative, labels != negative
    ids, places = np.asarray(groups, dtype=str), np.asarray(sites, dtype=str)

    def effect(here: NDArray[np.bool_]) -> AbstentionEffect:
        kept = here & ~rejected
        before, after = operating_point(called, tumour, here, ids), operating_point(called, tumour, kept, ids)
        wrong = [share_of(called != tumour, rows, ids) for rows in (here, kept, here & rejected)]
        assert wrong[0][0] is not None
        return AbstentionEffect(
            n=int(here.sum()),
            refused=float(rejected[here].mean()),
            wrong=wrong[0][0],
            wrong_ci95=wrong[0][1],
            wrong_of_kept=wrong[1][0],
            wrong_of_kept_ci95=wrong[1][1],
            wrong_of_refused=wrong[2][0],
            wrong_of_refused_ci95=wrong[2][1],
            tumours=int((here & tumour).sum()),
            tumours_kept=int((kept & tumour).sum()),
            sensitivity=before.sensitivity,
            sensitivity_ci95=before.sensitivity_ci95,
            sensitivity_of_kept=after.sensitivity,
            sensitivity_of_kept_ci95=after.sensitivity_ci95,
            specificity=before.specificity,
            specificity_ci95=before.specificity_ci95,
            specificity_of_kept=after.specificity,
            specificity_of_kept_ci95=after.specificity_ci95,
        )

    return Abstention(
        all=effect(np.ones(len(labels), dtype=bool)),
        sites={str(site): effect(places == site) for site in np.unique(places)},
    )


def share_of(
    right: NDArray[np.bool_], rows: NDArray[np.bool_], groups: NDArray[np.str_] | None
) -> tuple[float | None, list[float] | None]:
    """The share of `right` among `rows` and its interval by group (None without groups); nothing of no rows."""
    if not rows.any():
        return None, None
    bounds = None if groups is None else group_bootstrap(right[rows], groups[rows].tolist())
    return float(right[rows].mean()), bounds
