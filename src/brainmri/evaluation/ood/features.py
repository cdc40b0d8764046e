"""What the OOD detector looks at: what enters the last layer of a network, and statistics of the whole image."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from brainmri.metrics.baselines import global_statistics
from brainmri.models.layers import features_of

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel


class Seen(NamedTuple):
    """Of N images: logits float64 (N, C), features float32 (N, D) and `global_statistics` float64 (N, 7)."""

    logits: NDArray[np.float64]
    features: NDArray[np.float32]
    statistics: NDArray[np.float64]

    @property
    def evidence(self) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
        """What the OOD detector scores: features, statistics and the class that the network names."""
        return self.features, self.statistics, self.logits.argmax(axis=1)


@torch.inference_mode()
def see(
    images: Iterable[Image.Image],
    model: PreTrainedModel,
    processor: BaseImageProcessor,
    layer: str | None,
    *,
    batch_size: int = 32,
) -> Seen:
    """One forward pass over images (at least one), of which a batch is in memory at once.

    Args:
        images: "L" or "RGB", 8 bits.
        model: in evaluation mode. processor: its own image processor.
        layer: the one whose input the features are (`classifier_layer`); with None, D is 0.
    """
    remaining = iter(images)
    parts = []
    with features_of(model, layer) as seen:
        while batch := list(islice(remaining, batch_size)):
            inputs = processor(images=[image.convert("RGB") for image in batch], return_tensors="pt")
            logits = model(**inputs.to(model.device)).logits.double().cpu().numpy()
            features = seen.pop().cpu().numpy() if layer else np.empty((len(batch), 0), np.float32)
            parts.append((logits, features, np.stack([global_statistics(image) for image in batch])))
    return Seen(*map(np.concatenate, zip(*parts, strict=True)))
