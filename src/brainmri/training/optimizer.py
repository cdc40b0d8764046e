"""Which parameters train, with which learning rate and decay; and the moving average of the weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from timm.models import group_parameters
from timm.utils import ModelEmaV3

from brainmri.models.layers import bare_network, classifier_names

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from brainmri.recipe import Stage

# Embeddings that stand for no input. What has one dimension (biases, norms, layer scale) is recognised by its shape.
TOKENS = re.compile(r"(^|[._])((cls|class|dist|distillation|mask|reg|register)_(token|tokens|embedding)|pos_embed\w*)$")
POSITIONS = re.compile(r"(^|\.)(position|position_embeddings?|relative_position_bias_table)$")


def set_frozen(model: PreTrainedModel, stage: Stage) -> None:
    """Let the parameters train that `stage` trains, and no others.

    Raises:
        ValueError: if `stage.trainable` names a module that the network lacks.
    """
    head = set(classifier_names(model))
    named = list(bare_network(model).named_parameters())
    for name, parameter in named:
        parameter.requires_grad = (
            stage.freeze == "none" or name in head or any(_inside(name, part) for part in stage.trainable)
        )
    _all_found(stage.trainable, [name for name, _ in named], "trainable")


BATCH_NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.SyncBatchNorm)


def frozen_norms(network: torch.nn.Module) -> list[torch.nn.Module]:
    """The batch norms whose weights do not train; their running statistics must stay too."""
    return [
        module
        for module in network.modules()
        if isinstance(module, BATCH_NORMS) and module.affine and not module.weight.requires_grad
    ]


def decays(name: str, parameter: torch.nn.Parameter, exempt: set[str]) -> bool:
    """Whether weight decay applies: not to biases, norms, layer scale, tokens, positions, or what timm exempts."""
    return not (parameter.ndim <= 1 or name in exempt or TOKENS.search(name) or POSITIONS.search(name))


def parameter_groups(
    model: PreTrainedModel, stage: Stage, learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """The optimiser's groups of trainable parameters, one for each pair of learning rate and decay.

    Raises:
        ValueError: if `stage.learning_rate_factors` names a module that the network lacks, or `stage.layer_decay` is
            asked of a network whose layers have no known order.
    """
    network: Any = bare_network(model)
    exempt = set(network.no_weight_decay()) if hasattr(network, "no_weight_decay") else set()
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    depths = _depths(network) if stage.layer_decay < 1 else {}
    deepest = max(depths.values(), default=0)
    _all_found(
        list(stage.learning_rate_factors), [name for name, _ in network.named_parameters()], "learning_rate_factors"
    )
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in named:
        rate = learning_rate * stage.layer_decay ** (deepest - depths.get(name, deepest))
        for part, factor in stage.learning_rate_factors.items():
            rate *= factor if _inside(name, part) else 1
        decay = weight_decay if decays(name, parameter, exempt) else 0.0
        group = groups.setdefault((rate, decay), {"params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
    return list(groups.values())


def _depths(network: Any) -> dict[str, int]:
    """The layer of each parameter, counted from the image on."""
    if hasattr(network, "group_matcher"):
        return dict(group_parameters(network, network.group_matcher(coarse=False), reverse=True))
    if hasattr(network, "backbone"):
        inside = _depths(network.backbone)
        return {f"backbone.{name}": depth for name, depth in inside.items()}
    numbers = {
        name: int(found[1]) + 1
        for name, _ in network.named_parameters()
        if (found := re.search(r"(?:^|\.)(?:layers?|blocks?|encoder)\.(\d+)\.", name))
    }
    if not numbers:
        raise ValueError("layer_decay: the layers of this network have no known order")
    first = next(iter(numbers))
    names = [name for name, _ in network.named_parameters()]
    return numbers | dict.fromkeys(names[: names.index(first)], 0)


def _inside(name: str, part: str) -> bool:
    return name == part or name.startswith(part + ".")


def _all_found(parts: list[str], names: list[str], key: str) -> None:
    for part in parts:
        if not any(_inside(name, part) for name in names):
            tops = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
            raise ValueError(f"{key}: the network has no {part!r}; its parts are {tops}")


FILE = "average.safetensors"


class MovingAverage:
    """Follows `model` after each step; early steps weigh more, as short trainings need (timm's warm-up)."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.model = model
        self.ema = ModelEmaV3(model, decay=decay, use_warmup=True)

    def update(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        self.ema.update(self.model, step=step)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model holds the average inside, and its own weights again afterwards."""
        own = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.hand_over()
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def hand_over(self) -> None:
        """Give the model the averaged weights."""
        self.model.load_state_dict(self.ema.module.state_dict())

    def save(self, checkpoint: Path) -> None:
        checkpoint.mkdir(parents=True, exist_ok=True)
        save_file({n: t.contiguous() for n, t in self.ema.module.state_dict().items()}, checkpoint / FILE)

    def load(self, checkpoint: Path) -> None:
        state: dict[str, Any] = load_file(checkpoint / FILE)
        self.ema.module.load_state_dict(state)
