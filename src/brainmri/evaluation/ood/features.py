"""What the OOD detector looks at: what enters the last layer of a network, and statistics of the whole image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from brainmri.data.pixel_cache import PixelCache
from brainmri.data.statistics import global_statistics
from brainmri.models.layers import features_of
from brainmri.models.numpy_preprocessing import numpy_preprocessing

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel


class Seen(NamedTuple):
    """Of N images: logits (or probabilities) float64 (N, C), features float32 (N, D) and `global_statistics` (N, 7)."""

    logits: NDArray[np.float64]
    features: NDArray[np.float32]
    statistics: NDArray[np.float64]

    @property
    def evidence(self) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
        """What the OOD detector scores: features, statistics and the class that the network names."""
        return self.features, self.statistics, self.logits.argmax(axis=1)


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
    own = numpy_preprocessing(processor)

    def pixels(batch: list[Image.Image]) -> torch.Tensor:
        if own:
            return torch.from_numpy(own(batch))
        return processor(images=[image.convert("RGB") for image in batch], return_tensors="pt")["pixel_values"]

    remaining = iter(images)
    batches = iter(lambda: list(islice(remaining, batch_size)), [])
    both = ((pixels(batch), np.stack([global_statistics(image) for image in batch])) for batch in batches)
    return _passed(both, model, layer)


def see_cached(
    pixels: PixelCache,
    statistics: NDArray[np.float64],
    rows: NDArray[np.int64],
    model: PreTrainedModel,
    processor: BaseImageProcessor,
    layer: str | None,
    *,
    batch_size: int = 32,
) -> Seen:
    """What `see` gives of the images at `rows`, from the cache of a training: no file is read.

    Args:
        pixels, statistics: of all images of the data set, at the size that the network takes.
        processor: squashes to a square, as that of every run.
    """
    own = numpy_preprocessing(processor)
    if own is None:
        raise ValueError("the image processor crops, pads or filters: it is not that of a run")
    parts = (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))
    return _passed(
        ((torch.from_numpy(own.normalized(pixels.read(part))), statistics[part]) for part in parts), model, layer
    )


@torch.inference_mode()
def _passed(
    batches: Iterator[tuple[torch.Tensor, NDArray[np.float64]]], model: PreTrainedModel, layer: str | None
) -> Seen:
    """batches: preprocessed images (B, 3, H, W), and their statistics (B, 7)."""
    parts = []
    with features_of(model, layer) as seen:
        for pixels, statistics in batches:
            inputs = pixels.to(model.device, memory_format=torch.channels_last)
            logits = model(pixel_values=inputs).logits.double().cpu().numpy()
            features = seen.pop().cpu().numpy() if layer else np.empty((len(logits), 0), np.float32)
            parts.append((logits, features, statistics))
    return Seen(*map(np.concatenate, zip(*parts, strict=True)))
