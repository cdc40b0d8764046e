"""What a model says of pictures, and whether its reject rule refuses them, in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from brainmri.data.images import upright_8_bit
from brainmri.evaluation.floors import global_statistics
from brainmri.evaluation.reject.features import features_of

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


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers to several batches of pictures, from the same model and rule."""
    probabilities = np.concatenate([part.probabilities for part in parts])
    scores = [part.scores for part in parts if part.scores is not None]
    rejected = [part.rejected for part in parts if part.rejected is not None]
    if not scores:
        return Answers(probabilities)
    return Answers(probabilities, np.concatenate(scores), np.concatenate(rejected))


@torch.inference_mode()
def answers(
    pictures: Sequence[Image.Image],
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
    parts = []
    with features_of(model, rule.layer if rule else None) as seen:
        for start in range(0, len(pictures), batch_size):
            batch = [upright_8_bit(picture) for picture in pictures[start : start + batch_size]]
            inputs = processor(images=[picture.convert("RGB") for picture in batch], return_tensors="pt")
            logits = model(**inputs.to(model.device)).logits
            probabilities = np.asarray(softmax(logits.double().cpu().numpy(), axis=1))
            if rule is None:
                parts.append(Answers(probabilities))
                continue
            statistics = np.stack([global_statistics(picture) for picture in batch])
            scores = rule.score(seen.pop().cpu().numpy(), statistics)
            parts.append(Answers(probabilities, scores, rule.rejected(scores)))
    return joined(parts)
