"""The model of a recipe, with the weights that were asked for."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

import timm
import torch
from transformers import PreTrainedModel, TimmWrapperConfig, TimmWrapperForImageClassification

from brainmri.models.configuration_plain_cnn import PlainCnnConfig
from brainmri.models.configuration_six_block_cnn import SixBlockCnnConfig
from brainmri.models.configuration_small_resnet import SmallResnetConfig
from brainmri.models.modeling_plain_cnn import PlainCnnForImageClassification
from brainmri.models.modeling_six_block_cnn import SixBlockCnnForImageClassification
from brainmri.models.modeling_small_resnet import SmallResnetForImageClassification
from brainmri.models.preprocessing import FORMULAS
from brainmri.models.weights import WeightsError, find_weights, load_weights

if TYPE_CHECKING:
    from brainmri.training.recipe import Recipe

OWN_NETWORKS: dict[str, tuple[type, type]] = {
    "plain_cnn": (PlainCnnConfig, PlainCnnForImageClassification),
    "six_block_cnn": (SixBlockCnnConfig, SixBlockCnnForImageClassification),
    "small_resnet": (SmallResnetConfig, SmallResnetForImageClassification),
}


def build_model(recipe: Recipe, classes: list[str], weights: str) -> tuple[PreTrainedModel, str]:
    """The model with a classifier for `classes`, and the origin of its weights ("random" where it has none).

    weights: `auto` takes ImageNet weights where the recipe has some and they can be reached, else trains from random
    initialisation and says so; `imagenet` insists on them; `random`; or a run folder, a `.safetensors` file or a Hub ID
    with `@revision`.

    Raises:
        WeightsError: if they cannot be had, do not fit, or a recipe that freezes its backbone would start from random
            weights without `random` being asked for.
        ValueError: if the recipe's `model.arguments` do not fit its family.
    """
    labels = {"id2label": dict(enumerate(classes)), "label2id": {name: k for k, name in enumerate(classes)}}
    model = _timm(recipe, labels) if recipe.model.family == "timm" else _own(recipe, labels)
    loaded = find_weights(recipe, weights)
    if loaded is None:
        if weights != "random" and any(stage.freeze != "none" for stage in recipe.stages):
            raise WeightsError(
                "this recipe freezes its backbone, which means nothing on random weights, and its ImageNet weights "
                "could not be reached: give --weights PATH, or --weights random for a smoke run"
            )
        return model, "random"
    load_weights(bare_network(model), set(classifier_names(model)), loaded)
    return model, loaded.origin


def parameter_counts(model: torch.nn.Module) -> dict[str, int]:
    """`total` (with the running mean and variance of batch norms, as Keras counts) and `trainable` parameters."""
    running = sum(b.numel() for name, b in model.named_buffers() if name.endswith(("running_mean", "running_var")))
    parameters = list(model.parameters())
    return {
        "total": sum(p.numel() for p in parameters) + running,
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
    }


def bare_network(model: PreTrainedModel) -> torch.nn.Module:
    """The network inside a timm wrapper, or the model itself."""
    return cast(torch.nn.Module, model.timm_model) if model.config.model_type == "timm_wrapper" else model


def classifier_names(model: PreTrainedModel) -> list[str]:
    """Parameter names of the classifier, in the bare network: the ones that a new set of classes replaces."""
    network, heads = bare_network(model), ["classifier"]
    if network is not model:
        named = cast(dict[str, Any], network.pretrained_cfg)["classifier"]
        heads = [named] if isinstance(named, str) else list(named)
    return [name for name, _ in network.named_parameters() if name.rpartition(".")[0] in heads]


def _own(recipe: Recipe, labels: dict[str, Any]) -> PreTrainedModel:
    config_class, network_class = OWN_NETWORKS[recipe.model.family]
    arguments = recipe.model.arguments
    if unknown := set(arguments) - set(inspect.signature(config_class).parameters):
        raise ValueError(f"model.arguments: {recipe.model.family} does not take {', '.join(sorted(unknown))}")
    if arguments.get("image_size", recipe.input.size) != recipe.input.size:
        raise ValueError(
            f"model.arguments.image_size is {arguments['image_size']}, input.size {recipe.input.size}: set both alike"
        )
    # So that the code travels with the saved model, and it loads where this package is not installed.
    config_class.register_for_auto_class()  # type: ignore[attr-defined]
    network_class.register_for_auto_class("AutoModelForImageClassification")  # type: ignore[attr-defined]
    return cast(PreTrainedModel, network_class(config_class(**arguments, **labels)))


def _timm(recipe: Recipe, labels: dict[str, Any]) -> PreTrainedModel:
    arguments = dict(recipe.model.arguments)
    architecture = arguments.pop("architecture", None)
    arguments.pop("pretrained", None)
    if not timm.is_model(architecture):
        raise ValueError(f"model.arguments.architecture: timm has no model named {architecture!r}")
    backbone = timm.create_model(architecture, pretrained=False, num_classes=len(labels["id2label"]), **arguments)
    factor, mean, std = FORMULAS[recipe.input.normalize]
    known = cast(dict[str, Any], backbone.pretrained_cfg)
    pretrained_cfg = {
        "input_size": [3, recipe.input.size, recipe.input.size],
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "squash",
        # timm normalises as (x / 255 - mean) / std, whatever the factor was
        "mean": [value / (255 * factor) for value in mean],
        "std": [value / (255 * factor) for value in std],
        "classifier": known["classifier"],
        "first_conv": known["first_conv"],
    }
    config = TimmWrapperConfig(  # type: ignore[call-arg]
        architecture=architecture,
        model_args=arguments,  # {} and not None: timm cannot load a repository that says null
        pretrained_cfg=pretrained_cfg,
        problem_type="single_label_classification",
        **labels,
    )
    model = TimmWrapperForImageClassification(config)
    bare_network(model).load_state_dict(backbone.state_dict())  # timm's own initialisation, which the wrapper overwrote
    return model
