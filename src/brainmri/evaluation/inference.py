"""What a model says of images: probabilities, prediction set, and whether its OOD detector abstains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from brainmri.evaluation.ood.features import see
from brainmri.io.decode import upright_8_bit
from brainmri.metrics.calibration import apply_temperature
from brainmri.metrics.conformal import prediction_sets

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

    from brainmri.evaluation.ood.detector import OODDetector
    from brainmri.schemas import Uncertainty


@dataclass(frozen=True)
class Inference:
    """probabilities: float64 (N, C), uncalibrated. scores, rejected: (N,) how far an image is from those of the
    training, and whether that is too far; None without a rule."""

    probabilities: NDArray[np.float64]
    scores: NDArray[np.float64] | None = None
    rejected: NDArray[np.bool_] | None = None


def infer(
    pictures: Iterable[Image.Image],
    model: PreTrainedModel,
    processor: BaseImageProcessor,
    rule: OODDetector | None = None,
    *,
    batch_size: int = 32,
) -> Inference:
    """Judge images of any mode and size.

    Args:
        images: at least one. What is transparent is laid on black, more than 8 bits are scaled (`upright_8_bit`).
        model: in evaluation mode. processor: its own image processor.
        rule: of this model (`RejectRule.load`), or None.

    Raises:
        RejectedImage: for an image of more than 8 bits that is blank.
        AttributeError: if the model has no layer that is called as the rule says, so that the rule is another model's.
    """
    upright = (upright_8_bit(picture) for picture in pictures)
    seen = see(upright, model, processor, rule.layer if rule else None, batch_size=batch_size)
    probabilities = np.asarray(softmax(seen.logits, axis=1))
    if rule is None:
        return Inference(probabilities)
    scores = rule.score(seen.features, seen.statistics)
    return Inference(probabilities, scores, rule.rejected(scores))


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image.

    label: the most probable class. probabilities: of each class, in the model's order; the sum is 1. calibrated:
    whether they are (by the temperature of `uncertainty.json`). prediction_set: the classes that are plausible, the
    most probable first; perhaps none, but `label` where its calibrated probability is as high as the coverage (a
    network that is nearly always sure would call one image in ten implausible); None for a model without such sets.
    coverage: the share of images whose set is made to hold the right class. refused: whether the image is too far
    from those of the training; None for a model without an OOD detector. score, threshold: of that rule; a higher score
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


def prediction_of(
    logits: NDArray[np.floating],
    distance: float | None,
    classes: list[str],
    uncertainty: Uncertainty | None,
    rule: OODDetector | None,
    milliseconds: float,
) -> Prediction:
    """The judgement of one image.

    Args:
        logits: (C,). distance: the image's score by the rule, None without one.
        classes: the C names. trust: the model's `uncertainty.json`, or None.
    """
    plain = np.asarray(softmax(logits.astype(np.float64)))[None]
    fitted = uncertainty.calibration if uncertainty else None
    calibrated = apply_temperature(plain, fitted.temperature) if fitted else plain
    order = np.argsort(-plain[0], kind="stable")
    conformal = uncertainty.conformal if uncertainty else None
    plausible = None
    if conformal:
        (members,) = prediction_sets(
            plain if conformal.probabilities == "uncalibrated" else calibrated, conformal.threshold
        )
        plausible = tuple(classes[k] for k in order if members[k])
        if not plausible and calibrated[0].max() >= 1 - conformal.alpha:  # sets that grow keep their coverage
            plausible = (classes[order[0]],)
    return Prediction(
        label=classes[order[0]],
        probabilities=dict(zip(classes, calibrated[0].tolist(), strict=True)),
        calibrated=fitted is not None,
        prediction_set=plausible,
        coverage=1 - conformal.alpha if conformal else None,
        refused=bool(distance > rule.threshold) if rule and distance is not None else None,
        score=distance,
        threshold=rule.threshold if rule else None,
        milliseconds=milliseconds,
    )
