"""A model saved so that a stranger can load it without this package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import timm
import torch

from brainmri.models.parts import bare_network

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ViTImageProcessor


def save_model(model: PreTrainedModel, processor: ViTImageProcessor, folder: Path) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json (and the code of the project's own networks).

    A timm backbone is saved without the wrapper's prefix, so that the same folder loads in transformers and in
    `timm.create_model("local-dir:...")` with equal logits. The project's own networks load with
    `AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True)`.
    """
    if model.config.model_type == "timm_wrapper":
        model.save_pretrained(folder, state_dict=bare_network(model).state_dict())
    else:
        model.save_pretrained(folder)
    processor.save_pretrained(folder)


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
