"""A finished image classifier, whoever made it: from a folder or from the Hub."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedConfig
from transformers.utils import logging

from brainmri.faults import out_of_memory
from brainmri.models.build import OWN_NETWORKS

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
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # what is missing is told here, in one line
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
        raise ValueError(f"{place}: no image classifier that can be loaded ({_reason(error)})") from error
    finally:
        logging.set_verbosity(before)
    if loading["missing_keys"]:
        lacking = sorted(loading["missing_keys"])
        raise ValueError(f"{place}: its weights lack {', '.join(lacking[:3])} ({len(lacking)} in all)")
    return cast("PreTrainedModel", model.eval())


def load_processor(place: str, revision: str | None = None, *, trust_remote_code: bool = False) -> BaseImageProcessor:
    """The image processor of a folder or Hub repository: how its model wants the pictures.

    Raises:
        ValueError: if there is none.
    """
    try:
        return cast(
            "BaseImageProcessor",
            AutoImageProcessor.from_pretrained(place, revision=revision or "main", trust_remote_code=trust_remote_code),
        )
    except CANNOT_BE_USED as error:
        raise ValueError(f"{place}: no image processor ({_reason(error)})") from error


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
