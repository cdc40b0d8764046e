"""What a network that was trained on ImageNet sees in each image, to judge labels by; nothing is trained here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from brainmri.io.read import read_image
from brainmri.models.layers import folded_norms
from brainmri.models.packaged_weights import read_packaged

NETWORK = "tf_efficientnet_lite0"
LAYERS = ("blocks.4", "blocks.5", "blocks.6", "bn2")  # what they give is averaged over the image
SIDE = 224  # pixels
BATCH = 8  # images: few, whose activations stay in the caches


def image_features(paths: Iterable[str]) -> NDArray[np.float32] | None:
    """float32 (N, 1904): the means of what `LAYERS` give for each image, or None where the weights are not installed.

    Raises:
        ValueError: if the installed weights are not the known ones.
    """
    try:
        weights, _ = read_packaged(NETWORK)
    except ModuleNotFoundError:
        return None
    network = timm.create_model(NETWORK, pretrained=False)
    network.load_state_dict(weights)
    network = folded_norms(network.eval())
    files = list(paths)
    found: list[NDArray[np.float32]] = []
    with tqdm(total=len(files), desc="looking at the images", unit="image", disable=None) as progress:
        for start in range(0, len(files), BATCH):
            images = [read_image(Path(path)).image for path in files[start : start + BATCH]]
            found.append(_seen(network, images))
            progress.update(len(images))
    return np.concatenate(found)


@torch.inference_mode()
def _seen(network: torch.nn.Module, images: list[Image.Image]) -> NDArray[np.float32]:
    pixels = np.stack(
        [np.asarray(one.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for one in images]
    )
    inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, 3, H, W), channels last
    means: list[torch.Tensor] = []
    hooks = [
        network.get_submodule(name).register_forward_hook(lambda *given: means.append(given[2].mean((2, 3))))
        for name in LAYERS
    ]
    try:
        network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(means, dim=1).numpy()
