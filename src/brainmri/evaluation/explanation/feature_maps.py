"""What every convolution of a network makes of one image, caught by forward hooks."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

SHOWN = 64  # channels kept of each convolution: what a picture can show, and a bound of the memory


@dataclass(frozen=True)
class ConvolutionMaps:
    """One call of one convolution.

    name: of the module. kernel: in words ("3x3, depthwise"). channels: how many the convolution has.
    maps: the first of them, uint8 (at most 64, H, W), each scaled from its own minimum..maximum to 0..255 (constant
    ones are 0); where H = W = 1 a map is one number, and all are scaled together.
    """

    name: str
    kernel: str
    channels: int
    maps: NDArray[np.uint8]

    @property
    def size(self) -> str:
        """The shape of the whole output: "64x112x112"."""
        return "x".join(map(str, (self.channels, *self.maps.shape[1:])))


def feature_maps(network: nn.Module, pixels: torch.Tensor) -> list[ConvolutionMaps]:
    """The outputs of all `nn.Conv2d` of `network` (in evaluation mode), before norm and activation, in running order.

    The patch embedding of a vision transformer is such a convolution too. No hook stays behind.

    Args:
        pixels: one preprocessed image, float (1, 3, H, W).

    Raises:
        ValueError: if the network calls no convolution.
    """
    found: list[ConvolutionMaps] = []

    def catch(name: str, module: nn.Conv2d, inputs: Any, output: torch.Tensor) -> None:
        found.append(ConvolutionMaps(name, _kernel(module), output.shape[1], _scaled(output[0, :SHOWN])))

    with ExitStack() as hooks, torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d):
                hooks.enter_context(module.register_forward_hook(partial(catch, name)))
        network(pixels)
    if not found:
        raise ValueError("this model has no convolution, so it has no feature maps: leave the study `features` out")
    return found


def _scaled(maps: torch.Tensor) -> NDArray[np.uint8]:
    """Float (N, H, W) -> uint8, see `ConvolutionMaps`."""
    together = (0, 1, 2) if maps.shape[1:].numel() == 1 else (1, 2)
    low, high = maps.amin(together, keepdim=True), maps.amax(together, keepdim=True)
    span = torch.where(high > low, high - low, 1)
    return ((maps - low) / span * 255).round().to(torch.uint8).cpu().numpy()


def _kernel(module: nn.Conv2d) -> str:
    words = ["x".join(map(str, module.kernel_size))]
    if max(module.stride) > 1:
        words.append(f"stride {max(module.stride)}")
    if module.groups > 1:
        words.append("depthwise" if module.groups == module.in_channels else f"{module.groups} groups")
    return ", ".join(words)
