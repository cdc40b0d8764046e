"""What a model says of pictures, and whether its reject rule refuses them, in one forward pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from brainmri.data.images import upright_8_bit
from brainmri.evaluation.reject.features import see

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

    from brainmri.evaluation.reject.rule import RejectRule


@dataclass(frozen=True)
class Answers:
    """probabilities: float64 (N, C), uncalibrated. scores, rejected: (N,) how far a picture is from those of the
    training, and whether that is too far; None without a rule."""

    probabilities: NDArray[np.float64]
    scores: NDArray[np.float64] | None = None
    rejected: NDArray[np.bool_] | None = None


def answers(
    pictures: Iterable[Image.Image],
    model: PreTrainedModel,
    processor: BaseImageProcessor,
    rule: RejectRule | None = None,
    *,
    batch_size: int = 32,
) -> Answers:
    """Judge pictures of any mode and size.

    Args:
        pictures: at least one. What is transparent is laid on black, more than 8 bits are scaled (`upright_8_bit`).
        model: in evaluation mode. processor: its own image processor.
        rule: of this model (`RejectRule.load`), or None.

    Raises:
        RejectedImage: for a picture of more than 8 bits that is blank.
        AttributeError: if the model has no layer that is called as the rule says, so that the rule is another model's.
    """
    upright = (upright_8_bit(picture) for picture in pictures)
    seen = see(upright, model, processor, rule.layer if rule else None, batch_size=batch_size)
    probabilities = np.asarray(softmax(seen.logits, axis=1))
    if rule is None:
        return Answers(probabilities)
    scores = rule.score(seen.features, seen.statistics)
    return Answers(probabilities, scores, rule.rejected(scores))
