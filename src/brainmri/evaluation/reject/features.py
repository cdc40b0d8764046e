"""What the reject rule looks at: what enters the last layer of a network, and statistics of the whole picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from brainmri.evaluation.floors import global_statistics

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel


class NoClassifierLayer(ValueError):  # noqa: N818 - the name says what the network is
    """A network whose logits are not what one last layer gives."""


@torch.no_grad()
def classifier_layer(model: PreTrainedModel, pixel_values: torch.Tensor) -> str:
    """The name of the layer (linear, or a convolution of 1x1 maps) whose output the logits of `model` are.

    Args:
        model: in evaluation mode.
        pixel_values: any preprocessed pictures, float (B, 3, H, W): the layer is found by what it does with them.

    Raises:
        NoClassifierLayer: if there is none, such as in a network that takes the mean of two classifiers.
    """
    outputs: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        return lambda _module, _arguments, output: outputs.update({name: output})

    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers]
    try:
        logits = model(pixel_values=pixel_values).logits
    finally:
        for hook in hooks:
            hook.remove()
    same = [
        name
        for name, output in outputs.items()
        if output.numel() == logits.numel() and torch.allclose(output.reshape(logits.shape), logits)
    ]
    if not same:
        raise NoClassifierLayer(
            f"{type(model).__name__} has no single last layer (linear, or a convolution) that gives its logits"
        )
    return same[-1]


@contextmanager
def features_of(model: nn.Module, layer: str | None) -> Iterator[list[torch.Tensor]]:
    """A list to which each forward pass inside the `with` appends its features, (B, D).

    Args:
        layer: as `classifier_layer` names it; None watches nothing, and the list stays empty.

    Raises:
        AttributeError: if the model has no such layer.
    """
    seen: list[torch.Tensor] = []
    if layer is None:
        yield seen
        return
    hook = model.get_submodule(layer).register_forward_pre_hook(
        lambda _, arguments: seen.append(arguments[0].detach().flatten(1).float())
    )
    try:
        yield seen
    finally:
        hook.remove()


class Seen(NamedTuple):
    """Of N pictures: logits float64 (N, C), features float32 (N, D) and `global_statistics` float64 (N, 7)."""

    logits: NDArray[np.float64]
    features: NDArray[np.float32]
    statistics: NDArray[np.float64]


@torch.inference_mode()
def see(
    pictures: Iterable[Image.Image],
    model: PreTrainedModel,
    processor: BaseImageProcessor,
    layer: str | None,
    *,
    batch_size: int = 32,
) -> Seen:
    """One forward pass over pictures (at least one), of which a batch is in memory at once.

    Args:
        pictures: "L" or "RGB", 8 bits.
        model: in evaluation mode. processor: its own image processor.
        layer: the one whose input the features are (`classifier_layer`); with None, D is 0.
    """
    remaining = iter(pictures)
    parts = []
    with features_of(model, layer) as seen:
        while batch := list(islice(remaining, batch_size)):
            inputs = processor(images=[picture.convert("RGB") for picture in batch], return_tensors="pt")
            logits = model(**inputs.to(model.device)).logits.double().cpu().numpy()
            features = seen.pop().cpu().numpy() if layer else np.empty((len(batch), 0), np.float32)
            parts.append((logits, features, np.stack([global_statistics(picture) for picture in batch])))
    return Seen(*map(np.concatenate, zip(*parts, strict=True)))
