"""What is said of a reject rule: the part `reject` of `trust.json`.

Keys:

    method, layer, features, arrays: how a score is made, of what, and the file that holds its numbers
    fitted_on, fitted_images: "train", and how many of its pictures
    threshold, threshold_from: a picture with a higher score is refused; "validation"
    lost_at_most: share of validation pictures that the threshold may refuse
    validation: {n, rejected}                               # rejected: a share, here and below
    test: {n, rejected, rejected_ci95, kept, kept_accuracy, kept_accuracy_ci95, rejected_per_class}
    probes: [{name, source, use, meaning, n, rejected, ci95, absent}, ...]     # absent: why there are no pictures
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import binomtest

from brainmri.evaluation.intervals import group_bootstrap
from brainmri.evaluation.reject.probes import AbsentPackage, ProbeSet
from brainmri.evaluation.reject.rule import ARRAYS, LOST_AT_MOST, METHOD, RejectRule

if TYPE_CHECKING:
    from brainmri.evaluation.reject.answers import Answers


def record(
    rule: RejectRule,
    *,
    fitted_images: int,
    validation: NDArray[np.bool_],
    test: NDArray[np.bool_],
    test_labels: NDArray[np.int64],
    test_predicted: NDArray[np.int64],
    test_groups: Sequence[str],
    classes: list[str],
    probes: list[dict[str, Any]],
) -> dict[str, Any]:
    """The dictionary described above, ready for JSON.

    Args:
        fitted_images: how many training pictures the rule was fitted on.
        validation, test: (N,) what it refuses of these splits.
        test_labels, test_predicted, test_groups: (N,) class numbers and group ids of the test split.
        classes: the C label names.
        probes: as `probe_records` gives them.
    """
    per_class = {name: test[test_labels == k] for k, name in enumerate(classes)}
    return {
        "method": METHOD,
        "layer": rule.layer,
        "features": len(rule.mean),
        "arrays": ARRAYS,
        "fitted_on": "train",
        "fitted_images": fitted_images,
        "threshold": rule.threshold,
        "threshold_from": "validation",
        "lost_at_most": LOST_AT_MOST,
        "validation": {"n": len(validation), "rejected": float(validation.mean())},
        "test": {
            **rejection(test, test_predicted == test_labels, test_groups),
            "rejected_per_class": {name: float(own.mean()) if len(own) else None for name, own in per_class.items()},
        },
        "probes": probes,
    }


def rejection(rejected: NDArray[np.bool_], correct: NDArray[np.bool_], groups: Sequence[str]) -> dict[str, Any]:
    """How many of some pictures are refused, and how many of the others are classified rightly.

    Args:
        rejected, correct: (N,), N at least 1.
        groups: (N,) group ids, by which the intervals are resampled.

    Returns:
        n; `rejected`, a share; `kept`, a number; `kept_accuracy`, null where nothing is kept; intervals of the shares.
    """
    kept = ~rejected
    ids = np.asarray(groups, dtype=str)
    return {
        "n": len(rejected),
        "rejected": float(rejected.mean()),
        "rejected_ci95": group_bootstrap(rejected, groups),
        "kept": int(kept.sum()),
        "kept_accuracy": float(correct[kept].mean()) if kept.any() else None,
        "kept_accuracy_ci95": group_bootstrap(correct[kept], ids[kept].tolist()) if kept.any() else None,
    }


def probe_records(probes: Iterable[ProbeSet], answer: Callable[[list[Image.Image]], Answers]) -> list[dict[str, Any]]:
    """The share of each set that is refused, with its exact binomial interval. answer: of the model with its rule."""
    return [_probe_record(probe, answer) for probe in probes]


def _probe_record(probe: ProbeSet, answer: Callable[[list[Image.Image]], Answers]) -> dict[str, Any]:
    found: dict[str, Any] = {key: getattr(probe, key) for key in ("name", "source", "use", "meaning")}
    try:
        pictures = probe.pictures()
    except AbsentPackage as reason:
        return found | {"n": 0, "rejected": None, "ci95": None, "absent": str(reason)}
    rejected = answer(pictures).rejected
    assert rejected is not None
    interval = binomtest(int(rejected.sum()), len(rejected)).proportion_ci(0.95)
    share = {
        "n": len(rejected),
        "rejected": float(rejected.mean()),
        "ci95": [float(interval.low), float(interval.high)],
    }
    return found | share | {"absent": None}
