"""What a library's model says of itself: its input's size and normalisation, as the parts of a recipe."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from brainmri.models.places import on_hub
from brainmri.models.preprocessing import FORMULAS, Normalization


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
