"""A finished image classifier is loaded, whoever made it, and saved so that anybody can load it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import timm
import torch
from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedConfig, ViTImageProcessor
from transformers.image_processing_base import ImageProcessingMixin
from transformers.utils import logging

from brainmri.errors import out_of_memory, wrong_revision
from brainmri.models.build import OWN_NETWORKS
from brainmri.models.layers import bare_network
from brainmri.schemas import json_text, read_json

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

# What transformers raises for folders, repositories and files that it cannot use. KeyError, TypeError, AttributeError:
# a configuration that lacks a key, or has something else there; RuntimeError: weights of another shape.
CANNOT_BE_USED = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError)


def load_classifier(place: str, revision: str | None = None, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """The model of a folder or Hub repository, in float32 and evaluation mode.

    The project's own networks are built from this package, so that no code of the folder or repository is executed,
    unless `trust_remote_code` asks for it where the network is none of ours or of transformers and timm.

    Raises:
        ValueError: if it cannot be had, is no image classifier, needs code of its own, or lacks weights.
    """
    own = {cast(Any, config).model_type: network for config, network in OWN_NETWORKS.values()}
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # what is missing is told here, in one line
    logging.disable_progress_bar()  # it takes milliseconds
    try:
        settings, _ = PreTrainedConfig.get_config_dict(place, revision=revision or "main")
        network = own.get(settings.get("model_type"))
        options: dict[str, Any] = {} if network else {"trust_remote_code": trust_remote_code}
        model, loading = cast(Any, network or AutoModelForImageClassification).from_pretrained(
            place, revision=revision or "main", dtype="float32", output_loading_info=True, **options
        )
    except CANNOT_BE_USED as error:
        if out_of_memory(error):
            raise
        reason = wrong_revision(place, revision) or _reason(error)
        raise ValueError(f"{place}: no image classifier that can be loaded ({reason})") from error
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()
    if loading["missing_keys"]:
        lacking = sorted(loading["missing_keys"])
        raise ValueError(f"{place}: its weights lack {', '.join(lacking[:3])} ({len(lacking)} in all)")
    return cast("PreTrainedModel", model.eval())


def load_processor(place: str, revision: str | None = None, *, trust_remote_code: bool = False) -> BaseImageProcessor:
    """The image processor of a folder or Hub repository: how its model wants the images.

    Raises:
        ValueError: if there is none.
    """
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # it warns that timm's processor has no torchvision backend
    try:
        if _processor_named(place, revision) == "ViTImageProcessor":
            # transformers gives every timm backbone the processor of timm, whatever its folder says. That one resizes
            # by Pillow, some levels beside the pixels that the model was trained, calibrated and tested on.
            return ViTImageProcessor.from_pretrained(place, revision=revision or "main")
        return cast(
            "BaseImageProcessor",
            AutoImageProcessor.from_pretrained(place, revision=revision or "main", trust_remote_code=trust_remote_code),
        )
    except CANNOT_BE_USED as error:
        raise ValueError(f"{place}: no image processor ({_reason(error)})") from error
    finally:
        logging.set_verbosity(before)


def _processor_named(place: str, revision: str | None) -> str | None:
    """The class in a preprocessor_config.json; None where there is none, as in timm's own repositories."""
    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(place, revision=revision or "main")
    except OSError:
        return None
    return settings.get("image_processor_type")


def class_names(model: PreTrainedModel) -> list[str]:
    """The names of the model's logits, in their order."""
    names = cast(dict[int, str], model.config.id2label)
    return [names[k] for k in range(len(names))]


def _reason(error: BaseException) -> str:
    """The first sentence of what a library says."""
    if "trust_remote_code" in str(error):
        return "it needs code of its own, which is executed with --trust_remote_code only"
    text = " ".join(str(error).split()) or type(error).__name__
    return re.split(r"(?<=[.!?]) ", text)[0].rstrip(".")


def save_model(model: PreTrainedModel, processor: ViTImageProcessor, folder: Path) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json (and the code of the project's own networks).

    A timm backbone is saved without the wrapper's prefix, so that the same folder loads in transformers and in
    `timm.create_model("local-dir:...")` with equal logits. The project's own networks load with
    `AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True)`.
    """
    if model.config.model_type == "timm_wrapper":
        model.save_pretrained(folder, state_dict=bare_network(model).state_dict())
        name_labels(folder)
    else:
        model.save_pretrained(folder)
    processor.save_pretrained(folder)


def name_labels(folder: Path) -> None:
    """Give the config.json of a timm backbone `id2label` and `label2id`, by which transformers.js and optimum go.

    transformers leaves them out of it, and takes the names of its labels from `label_names` itself.
    """
    file = folder / "config.json"
    config = read_json(file)
    names = config.get("label_names")
    if isinstance(names, list) and "id2label" not in config:
        config["id2label"] = {str(number): name for number, name in enumerate(names)}
        config["label2id"] = {name: number for number, name in enumerate(names)}
        file.write_text(json_text(dict(sorted(config.items()))), encoding="utf-8", newline="\n")


def check_timm(folder: Path, model: PreTrainedModel, size: int) -> None:
    """See that a saved timm backbone gives in timm the logits that `model`, loaded by transformers, gives.

    Raises:
        ValueError: if it does not.
    """
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        if not torch.allclose(network(pixels), model.eval()(pixel_values=pixels).logits, atol=1e-5):
            raise ValueError(
                f"{folder.name}: timm gives other logits than transformers; train it again with this version"
            )
