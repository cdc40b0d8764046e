"""Where in the picture the places of a layer look, which need not be where they stand.

A strided convolution whose padding is not shared evenly looks beside the middle of its share of the picture. With five
of them a place looks up to half a place beside where it stands: to the left and above in the networks of torchvision
(an odd kernel on an even side), to the right and below in those of TensorFlow.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from brainmri.evaluation.explanation.grad_cam import TargetLayer

CANVAS = 4  # times the side of a picture: what the middle of it sees, no edge cuts off


class _Reached(BaseException):  # no error, and nothing should catch it as one
    """Ends a forward pass at the layer in question: what follows it may know one size of pictures only."""

    def __init__(self, maps: torch.Tensor) -> None:
        super().__init__()
        self.maps = maps


@torch.no_grad()
def _evened(network: nn.Module) -> nn.Module:
    """A copy that sums where it would weigh, so that only its kernels, strides and paddings count."""
    even = copy.deepcopy(network).eval()
    for module in even.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                parameter.zero_()
            else:
                parameter.fill_(1 / parameter[0].numel() if parameter.dim() > 1 else 1.0)
        for name, buffer in module.named_buffers(recurse=False):
            if name in ("running_mean", "running_var"):
                buffer.fill_(float(name == "running_var"))
        for name, child in module.named_children():
            if isinstance(child, nn.Hardtanh):  # ReLU6 too: sums soon reach its end, where gradients are 0
                setattr(module, name, nn.ReLU())
    return even


def sight_offset(network: nn.Module, layer: TargetLayer, side: int) -> tuple[float, float]:
    """How far to the right of and below the middle of its share of the picture a place of `layer` looks, in pixels.

    Measured by gradients (Luo et al., "Understanding the Effective Receptive Field", NIPS 2016) of a copy of the
    network with equal weights, which tell the geometry alone. 0, 0 for a layer of tokens, or of channels last: patches
    do not overlap.

    Args:
        network: up to a layer of maps it must take pictures of any size, as convolutions do. side: of its pictures.
    """
    if layer.form != "maps":
        return 0.0, 0.0
    even, canvas = _evened(network), CANVAS * side

    def stop(module: nn.Module, inputs: Any, output: Any) -> None:
        raise _Reached(layer.to_maps(output[0] if isinstance(output, tuple | list) else output))

    even.get_submodule(layer.name).register_forward_hook(stop)
    with torch.enable_grad():
        noise = torch.rand(1, 3, canvas, canvas, generator=torch.Generator().manual_seed(0))
        pixels = noise.to(next(even.parameters()).device).requires_grad_()
        try:
            even(pixels)
        except _Reached as reached:
            maps = reached.maps
        place = maps.shape[-1] // 2
        (gradient,) = torch.autograd.grad(maps[..., place, place].sum(), pixels)
    weight = gradient.abs().sum((0, 1)).double()
    places = torch.arange(canvas, device=weight.device, dtype=torch.float64) + 0.5
    stands = (place + 0.5) * side / layer.side
    x, y = (float((weight.sum(k) * places).sum() / weight.sum()) - stands for k in (0, 1))
    return x, y
