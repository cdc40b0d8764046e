"""Grad-CAM for any CNN or vision transformer: where in the image the evidence for a class lies.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017. captum
computes it; what is found here is the layer to compute it at, and how its output is laid out over the image.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

MOST_PREFIX_TOKENS = 8  # a class token, perhaps one for distillation, and four registers are what timm has


@dataclass(frozen=True)
class TargetLayer:
    """A module whose output still has places, and how to see them.

    name: of the module in the network. side: places along each edge of the image. form: of its output (or of the
    first tensor of it): "maps" (B, C, side, side), "channels last" (B, side, side, C), or "tokens" (B, P + side * side,
    C), of which the first P belong to no place. prefix: P.
    """

    name: str
    side: int
    form: Literal["maps", "channels last", "tokens"]
    prefix: int = 0

    def to_maps(self, output: torch.Tensor) -> torch.Tensor:
        """The module's output as (B, C, side, side)."""
        if self.form == "channels last":
            return output.permute(0, 3, 1, 2)
        if self.form == "tokens":
            return output[:, self.prefix :].transpose(1, 2).unflatten(2, (self.side, self.side))
        return output

    def from_maps(self, maps: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """`maps` (B, C, side, side) in the form of the module's output, with its prefix tokens."""
        if self.form == "channels last":
            return maps.permute(0, 2, 3, 1)
        if self.form == "tokens":
            return torch.cat([output[:, : self.prefix], maps.flatten(2).transpose(1, 2)], 1)
        return maps


def target_layer(network: nn.Module, pixels: torch.Tensor) -> TargetLayer:
    """The last layer of `network` (in evaluation mode) whose output has places that the logits depend on.

    All modules are watched while the network runs once, and the gradient of the highest logits decides. So it is the
    last feature maps of a CNN, the last norm of a transformer that averages its tokens, and the first norm of the last
    block where a class token is classified: behind that block's attention no other token counts. Pooled maps are passed
    over (they are coarser than what was pooled), and so are the projections inside attention and the linear layers
    between tokens.

    Of two branches it is the one that runs last: name another layer by `layer_named`.

    Args:
        pixels: preprocessed images, float (B, 3, S, S); one or two are enough.

    Raises:
        ValueError: if no layer has places that count, as in a network of linear layers only.
    """
    found = _layers_with_places(network, pixels)
    for layer, counts in reversed(found):
        if counts:
            return layer
    raise ValueError("this model has no layer with places that its answer depends on: leave the study `maps` out")


def layer_named(network: nn.Module, pixels: torch.Tensor, name: str) -> TargetLayer:
    """The layer of that name, seen as `target_layer` sees it.

    Raises:
        ValueError: if there is no such module, or its output has no places that the logits depend on.
    """
    layers = {layer.name: layer for layer, counts in _layers_with_places(network, pixels) if counts}
    if name not in layers:
        last = ", ".join(list(layers)[-8:])
        raise ValueError(f"no layer {name!r} with places that the answer depends on; the last ones that have: {last}")
    return layers[name]


def grad_cam(
    network: nn.Module, layer: TargetLayer, pixels: torch.Tensor, classes: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The maps of `network` (in evaluation mode) for images, and its logits.

    Args:
        pixels: preprocessed images, float (B, 3, S, S).
        classes: the class to explain for each image, int64 (B,); None takes the predicted ones.

    Returns:
        Maps, float (B, side, side), 0 or more, in the unit of the logits, and logits, float (B, C). A map is 0
        everywhere where nothing speaks for the class.
    """
    from captum.attr import LayerGradCam  # brings pyplot and more, which takes a second

    seen = nn.Identity()  # what captum hooks: the layer's output, laid out as maps
    logits = pixels.new_empty(0)
    # Without gradients of the weights no graph is kept below the layer, which takes most of the time and memory.
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def through(module: nn.Module, inputs: Any, output: Any) -> Any:
        first = _first_tensor(output)
        maps = seen(layer.to_maps(first).detach().requires_grad_())
        changed = layer.from_maps(maps, first)
        return changed if isinstance(output, torch.Tensor) else type(output)([changed, *output[1:]])

    def evidence(images: torch.Tensor) -> torch.Tensor:
        nonlocal logits
        logits = _logits(functional_call(network, weights, (images,)))
        chosen = logits.argmax(1) if classes is None else classes
        return logits.gather(1, chosen[:, None])[:, 0]

    handle = network.get_submodule(layer.name).register_forward_hook(through)
    try:
        with torch.enable_grad():
            maps = LayerGradCam(evidence, seen).attribute(pixels, relu_attributions=True)
    finally:
        handle.remove()
    return maps[:, 0].detach(), logits.detach()


def enlarged(maps: torch.Tensor, side: int) -> torch.Tensor:
    """Maps (B, s, s) at the size of the image, (B, side, side), bilinear as in the paper.

    Each place is taken to stand in the middle of its share of the image. The padding of strided convolutions puts
    what a place sees by up to half a place beside that; drawn there, the maps of a trained network were further from
    the tumours (docs/LOG.md, 2026-11-26), so they are drawn where they stand.
    """
    return functional.interpolate(maps[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]


def _layers_with_places(network: nn.Module, pixels: torch.Tensor) -> list[tuple[TargetLayer, bool]]:
    """Every layer whose output has places, in the order in which they end, and whether the logits depend on them."""
    found: list[tuple[TargetLayer, torch.Tensor]] = []
    inside_tokens: list[str] = []  # name prefixes of what works on tokens: a square there is one of attention weights
    sides: set[int] = set()
    pooled: list[torch.Tensor] = []

    def before(name: str, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        tensors = [value for value in (*inputs, *named.values()) if isinstance(value, torch.Tensor)]
        if tensors and tensors[0].dim() == 3:
            inside_tokens.append(f"{name}.")

    def after(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        tensor = _first_tensor(output)
        if tensor is None or not tensor.requires_grad or len(tensor) != len(pixels):
            return
        if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            pooled.append(tensor)
        layer = None
        if tensor.dim() == 4 and not name.startswith(tuple(inside_tokens)):
            layer = _maps_layer(name, tensor.shape)
        elif tensor.dim() == 3:
            layer = _tokens_layer(name, tensor.shape, sides)
        if layer is None:
            return
        sides.update(_halvings(layer.side))
        mixes = isinstance(module, nn.Linear) or any(tensor is other for other in pooled)
        if name and not mixes:
            found.append((layer, tensor))

    with ExitStack() as hooks, torch.enable_grad():
        for name, module in network.named_modules():
            hooks.enter_context(module.register_forward_pre_hook(partial(before, name), with_kwargs=True))
            hooks.enter_context(module.register_forward_hook(partial(after, name)))
        logits = _logits(network(pixels.detach().requires_grad_()))
        highest = logits.max(1).values.sum()
        if not found:
            return []
        gradients = torch.autograd.grad(highest, [tensor for _, tensor in found], allow_unused=True)
    return [
        (layer, gradient is not None and bool(layer.to_maps(gradient).any()))
        for (layer, _), gradient in zip(found, gradients, strict=True)
    ]


def _maps_layer(name: str, shape: torch.Size) -> TargetLayer | None:
    if shape[2] == shape[3] > 1:
        return TargetLayer(name, shape[3], "maps")
    if shape[1] == shape[2] > 1:
        return TargetLayer(name, shape[1], "channels last")
    return None


def _tokens_layer(name: str, shape: torch.Size, sides: set[int]) -> TargetLayer | None:
    """Tokens stand for the places of maps that were seen before (the patch embedding, at least, is a convolution), or
    for two by two of them merged."""
    fitting = [side for side in sides if 0 <= shape[1] - side**2 <= MOST_PREFIX_TOKENS]
    return TargetLayer(name, max(fitting), "tokens", shape[1] - max(fitting) ** 2) if fitting else None


def _halvings(side: int) -> list[int]:
    """16 -> [16, 8, 4, 2]; 14 -> [14, 7]."""
    found = [side]
    while found[-1] % 2 == 0 and found[-1] > 2:
        found.append(found[-1] // 2)
    return found


def _first_tensor(output: Any) -> Any:
    """The output, or the first of a tuple or list, where that is a tensor; else None."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    return first if isinstance(first, torch.Tensor) else None


def _logits(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.logits
