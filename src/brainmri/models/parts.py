"""The parts of a model: its bare network, its backbone, its classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


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
