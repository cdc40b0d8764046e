"""The layers of a model that others ask for: its bare network, its backbone, its classifier and what enters it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Network = TypeVar("Network", bound=nn.Module)


def bare_network(model: PreTrainedModel) -> torch.nn.Module:
    """The network inside a timm wrapper, or the model itself."""
    return cast("torch.nn.Module", model.timm_model) if model.config.model_type == "timm_wrapper" else model


def classifier_names(model: PreTrainedModel) -> list[str]:
    """Parameter names of what is new on top of a backbone, in the bare network.

    For timm its classifier, for a model with a base model everything outside it (a branch too), else `classifier`.
    """
    network = bare_network(model)
    names = [name for name, _ in network.named_parameters()]
    if network is not model:
        heads = cast(dict[str, Any], network.pretrained_cfg)["classifier"]
        heads = [heads] if isinstance(heads, str) else list(heads)
        return [name for name in names if name.rpartition(".")[0] in heads]
    if hasattr(model, model.base_model_prefix):
        return [name for name in names if not name.startswith(model.base_model_prefix + ".")]
    return [name for name in names if name.startswith("classifier.")]


def uses_transformers(model: PreTrainedModel) -> bool:
    """Whether tensors are saved under other names than the modules have, as transformers does with its own networks."""
    return any(type(module).__module__.startswith("transformers.models.") for module in bare_network(model).modules())


class NoClassifierLayer(ValueError):  # noqa: N818 - the name says what the network is
    """A network whose logits are not what one last layer gives."""


@torch.no_grad()
def classifier_layer(model: PreTrainedModel, pixel_values: torch.Tensor) -> str:
    """The name of the layer (linear, or a convolution of 1x1 maps) whose output the logits of `model` are.

    Args:
        model: in evaluation mode.
        pixel_values: any preprocessed images, float (B, 3, H, W): the layer is found by what it does with them.

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


@torch.no_grad()
def folded_norms(network: Network) -> Network:
    """The same network, in evaluation mode, once its batch norms are folded into the convolutions they stand beside."""
    for parent in list(network.modules()):
        before = ("", cast(nn.Module, None))
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.BatchNorm2d) and isinstance(before[1], nn.Conv2d) and layer.track_running_stats:
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], layer))
                # What timm's norms do besides.
                besides = [getattr(layer, kind) for kind in ("drop", "act") if hasattr(layer, kind)]
                setattr(parent, name, nn.Sequential(*besides))
            before = (name, layer)
    nn.Module.to(network, memory_format=torch.channels_last)
    return network


@torch.no_grad()
def folded(model: PreTrainedModel, pixel_values: torch.Tensor) -> PreTrainedModel:
    """A copy whose batch norms are folded into the convolutions before them: three quarters of the time of inference.

    Where that changes what the model says, as its norms do not follow the convolutions beside which they stand, the
    model itself.

    Args:
        model: in evaluation mode, on a CPU. pixel_values: any preprocessed images, float (B, 3, H, W), to compare by.
    """
    found = folded_norms(copy.deepcopy(model))
    same = torch.allclose(found(pixel_values=pixel_values).logits, model(pixel_values=pixel_values).logits, 1e-3, 1e-3)
    return found if same else model


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
