"""The model of a recipe, with the weights that were asked for."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

import timm
import torch
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    PreTrainedModel,
    TimmWrapperConfig,
    TimmWrapperForImageClassification,
)

from brainmri.models.configuration_backbone_cnn import BackboneCnnConfig
from brainmri.models.configuration_hybrid_cnn_vit import HybridCnnVitConfig
from brainmri.models.configuration_plain_cnn import PlainCnnConfig
from brainmri.models.configuration_six_block_cnn import SixBlockCnnConfig
from brainmri.models.configuration_small_resnet import SmallResnetConfig
from brainmri.models.configuration_vit_mlp import VitMlpConfig
from brainmri.models.layers import bare_network
from brainmri.models.modeling_backbone_cnn import BackboneCnnForImageClassification
from brainmri.models.modeling_hybrid_cnn_vit import HybridCnnVitForImageClassification
from brainmri.models.modeling_plain_cnn import PlainCnnForImageClassification
from brainmri.models.modeling_six_block_cnn import SixBlockCnnForImageClassification
from brainmri.models.modeling_small_resnet import SmallResnetForImageClassification
from brainmri.models.modeling_vit_mlp import VitMlpForImageClassification
from brainmri.models.preprocessing import CHANNELS_REVERSED, FORMULAS
from brainmri.models.weights import WeightsError, WeightsUnreachableError, find_weights, load_weights

if TYPE_CHECKING:
    from brainmri.recipe import Recipe

OWN_NETWORKS: dict[str, tuple[type, type]] = {
    "plain_cnn": (PlainCnnConfig, PlainCnnForImageClassification),
    "six_block_cnn": (SixBlockCnnConfig, SixBlockCnnForImageClassification),
    "small_resnet": (SmallResnetConfig, SmallResnetForImageClassification),
    "backbone_cnn": (BackboneCnnConfig, BackboneCnnForImageClassification),
    "vit_mlp": (VitMlpConfig, VitMlpForImageClassification),
    "hybrid_cnn_vit": (HybridCnnVitConfig, HybridCnnVitForImageClassification),
}


def build_model(recipe: Recipe, classes: list[str], weights: str) -> tuple[PreTrainedModel, str]:
    """The model with a classifier for `classes`, and the origin of its weights ("random" where it has none).

    weights: `auto` takes ImageNet weights where the recipe has some and they can be reached, else trains from random
    initialisation and says so; `imagenet` insists on them; `random`; or a run folder, a `.safetensors` file or a Hub ID
    with `@revision`.

    Raises:
        WeightsError: if they cannot be had, do not fit, or a recipe that freezes its backbone would start from random
            weights without `random` being asked for.
        ValueError: if the recipe's `model.arguments` do not fit its family, or the network cannot take images of a size
            that the recipe trains on.
    """
    labels = {"id2label": dict(enumerate(classes)), "label2id": {name: k for k, name in enumerate(classes)}}
    if recipe.model.family == "timm":
        model = _timm(recipe, labels)
    elif recipe.model.family == "transformers":
        model = _transformers(recipe, labels)
    else:
        model = _own(recipe, labels)
    _check_sizes(model, recipe)
    frozen = any(stage.freeze != "none" for stage in recipe.stages)
    try:
        loaded = find_weights(recipe, "imagenet" if weights == "auto" and frozen else weights)
    except WeightsUnreachableError as error:
        if weights != "auto":
            raise
        raise WeightsError(
            "this recipe freezes its backbone, which means nothing on random weights, and its ImageNet weights "
            f"could not be reached ({error}): give --weights PATH, or --weights random for a smoke run"
        ) from error
    if loaded is None:
        return model, "random"
    if loaded.imagenet and recipe.model.family == "timm":
        _small_head(model)  # before the weights, which may have a head that fits
    load_weights(model, loaded)
    if loaded.imagenet and recipe.input.normalize in CHANNELS_REVERSED:
        _reverse_input_channels(model)
    return model, loaded.origin


def parameter_counts(model: torch.nn.Module) -> dict[str, int]:
    """`total` (with the running mean and variance of batch norms, as Keras counts) and `trainable` parameters."""
    running = sum(b.numel() for name, b in model.named_buffers() if name.endswith(("running_mean", "running_var")))
    parameters = list(model.parameters())
    return {
        "total": sum(p.numel() for p in parameters) + running,
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
    }


def synchronized(model: PreTrainedModel) -> PreTrainedModel:
    """The model with batch norms that take their statistics over all processes.

    Raises:
        ValueError: without GPUs, where torch has no such batch norm.
    """
    if not torch.cuda.is_available():
        raise ValueError("--sync_batchnorm needs GPUs: torch's synchronised batch norm does not run on a CPU")
    return cast(PreTrainedModel, timm.layers.convert_sync_batchnorm(model))  # timm's keeps the activations in its norms


def _check_sizes(model: PreTrainedModel, recipe: Recipe) -> None:
    training = model.training
    model.eval()
    for side in sorted(recipe.sizes):
        try:
            with torch.no_grad():
                model(pixel_values=torch.zeros(1, 3, side, side))
        except (RuntimeError, ValueError) as error:
            told = str(error).strip().splitlines()[0]
            raise ValueError(
                f"the network cannot take images of {side} x {side} pixels ({told}): change input.size, stages.N.sizes "
                "or model.arguments of the recipe"
            ) from error
    model.train(training)


def _own(recipe: Recipe, labels: dict[str, Any]) -> PreTrainedModel:
    config_class, network_class = OWN_NETWORKS[recipe.model.family]
    arguments = {name: value for name, value in recipe.model.arguments.items() if name != "repository"}
    if unknown := set(arguments) - set(inspect.signature(config_class).parameters):
        raise ValueError(f"model.arguments: {recipe.model.family} does not take {', '.join(sorted(unknown))}")
    if arguments.get("image_size", recipe.input.size) != recipe.input.size:
        raise ValueError(
            f"model.arguments.image_size is {arguments['image_size']}, input.size {recipe.input.size}: set both alike"
        )
    # So that the code travels with the saved model, and it loads where this package is not installed.
    config_class.register_for_auto_class()  # type: ignore[attr-defined]
    network_class.register_for_auto_class("AutoModelForImageClassification")  # type: ignore[attr-defined]
    try:
        return cast(PreTrainedModel, network_class(config_class(**arguments, **labels)))
    except TypeError as error:
        raise ValueError(f"model.arguments: {arguments} do not fit {recipe.model.family} ({error})") from error


def _timm(recipe: Recipe, labels: dict[str, Any]) -> PreTrainedModel:
    arguments = dict(recipe.model.arguments)
    architecture = str(arguments.pop("architecture", None)).partition(".")[0]
    if not timm.is_model(architecture):
        raise ValueError(f"model.arguments.architecture: timm has no model named {architecture!r}")
    try:
        backbone = timm.create_model(architecture, pretrained=False, num_classes=len(labels["id2label"]), **arguments)
    except TypeError as error:
        raise ValueError(f"model.arguments: {arguments} do not fit {architecture} ({error})") from error
    factor, mean, std = FORMULAS[recipe.input.normalize]
    known = cast(dict[str, Any], backbone.pretrained_cfg)
    if known.get("fixed_input_size"):  # timm takes the size of its position embeddings from there, others from here
        arguments = {"img_size": known["input_size"][-1], **arguments}
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


def _transformers(recipe: Recipe, labels: dict[str, Any]) -> PreTrainedModel:
    arguments = dict(recipe.model.arguments)
    repository = arguments.pop("repository")
    try:
        if "model_type" in arguments:  # a known architecture, which needs no Hub
            config = AutoConfig.for_model(**arguments, **labels)
        else:
            identifier, _, revision = repository.partition("@")
            config = AutoConfig.from_pretrained(identifier, revision=revision or "main", **arguments, **labels)
        config.problem_type = "single_label_classification"
        return cast(PreTrainedModel, AutoModelForImageClassification.from_config(config))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{repository}: not an image classifier that transformers can build ({reason})") from error


def _small_head(model: PreTrainedModel) -> None:
    """Draw the new classifier as torch does, from +-1/sqrt(features).

    timm's EfficientNets have it from +-1/sqrt(classes) instead, so that four classes start at a loss of about 3 in
    place of 1.4, and shake the weights below before they learn anything.
    """
    head = cast(Any, bare_network(model)).get_classifier()
    if isinstance(head, torch.nn.Linear):
        head.reset_parameters()


def _reverse_input_channels(model: PreTrainedModel) -> None:
    """Let the weights see what they would see if the image came blue first."""
    backbone = getattr(model, "backbone", model)  # a branch beside it has no ImageNet weights
    for module in backbone.modules():
        if isinstance(module, torch.nn.Conv2d) and module.in_channels == 3:
            module.weight.data = module.weight.data.flip(1)
