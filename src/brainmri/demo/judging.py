"""What is said of one picture: probabilities, the set of plausible classes, and whether the picture is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from brainmri.evaluation.calibration import apply_temperature, prediction_sets

if TYPE_CHECKING:
    from brainmri.evaluation.reject.rule import RejectRule


@dataclass(frozen=True)
class Judgement:
    """What a model says of a picture.

    label: the most probable class. probabilities: of each class, in the model's order; the sum is 1. calibrated:
    whether they are (by the temperature of `trust.json`). prediction_set: the classes that are plausible, the most
    probable first; perhaps none, but `label` where its calibrated probability is as high as the coverage (a network
    that is nearly always sure would call one picture in ten implausible); None for a model without such sets.
    coverage: the share of pictures whose set is made to hold the right class. refused: whether the picture is too far
    from those of the training; None for a model without a reject rule. score, threshold: of that rule; a higher score
    than the threshold is refused. milliseconds: that preprocessing, network and rule took.
    """

    label: str
    probabilities: dict[str, float]
    calibrated: bool
    prediction_set: tuple[str, ...] | None
    coverage: float | None
    refused: bool | None
    score: float | None
    threshold: float | None
    milliseconds: float


def judgement(
    logits: NDArray[np.floating],
    distance: float | None,
    classes: list[str],
    trust: dict[str, Any] | None,
    rule: RejectRule | None,
    milliseconds: float,
) -> Judgement:
    """The judgement of one picture.

    Args:
        logits: (C,). distance: the picture's score by the rule, None without one.
        classes: the C names. trust: the model's `trust.json`, or None.
    """
    plain = np.asarray(softmax(logits.astype(np.float64)))[None]
    calibrated = apply_temperature(plain, trust["calibration"]["temperature"]) if trust else plain
    order = np.argsort(-plain[0], kind="stable")
    conformal = trust["conformal"] if trust else None
    plausible = None
    if conformal:
        (members,) = prediction_sets(
            plain if conformal["probabilities"] == "uncalibrated" else calibrated, conformal["threshold"]
        )
        plausible = tuple(classes[k] for k in order if members[k])
        if not plausible and calibrated[0].max() >= 1 - conformal["alpha"]:  # sets that grow keep their coverage
            plausible = (classes[order[0]],)
    return Judgement(
        label=classes[order[0]],
        probabilities=dict(zip(classes, calibrated[0].tolist(), strict=True)),
        calibrated=trust is not None,
        prediction_set=plausible,
        coverage=1 - conformal["alpha"] if conformal else None,
        refused=bool(distance > rule.threshold) if rule and distance is not None else None,
        score=distance,
        threshold=rule.threshold if rule else None,
        milliseconds=milliseconds,
    )
