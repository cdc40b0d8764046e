"""The exact preprocessing of a model, as an image processor that any pipeline can load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brainmri.recipe import Normalization

if TYPE_CHECKING:
    import torch
    from transformers import ViTImageProcessor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# name: (rescale factor, mean, standard deviation) of (x * factor - mean) / std, with x in 0..255, RGB
FORMULAS: dict[Normalization, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    "unit": (1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "half": (1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": (1 / 255, IMAGENET_MEAN, IMAGENET_STD),
    # Keras' ResNet-50: the mean subtracted, no scaling. Its weights see blue first: see CHANNELS_REVERSED.
    "caffe": (1.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "caffe_div255": (1.0, (123.68, 116.779, 103.939), (255.0, 255.0, 255.0)),
    # What source B's Keras run did to its network: the right formula, and then once more divided by 255.
    "imagenet_div255": (1 / 255, IMAGENET_MEAN, tuple(255 * value for value in IMAGENET_STD)),
    # What source C did to its EfficientNet: scaled to 0..1 twice.
    "double_scaled": (1 / 255 / 255, IMAGENET_MEAN, IMAGENET_STD),
    # OpenAI's CLIP and what was trained after it (195 of timm's models).
    "clip": (1 / 255, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
# These formulas are defined with blue first. No common image processor reverses channels, so images stay RGB here and
# the weights' first convolution is reversed instead (`brainmri.models.build`), which gives the same logits.
CHANNELS_REVERSED: tuple[Normalization, ...] = ("caffe", "caffe_div255")


def normalized(pixels: torch.Tensor, name: Normalization) -> torch.Tensor:
    """Apply the formula `name` to pixels in 0..255, float (B, 3, H, W), or (B, 1, H, W) of grey images.

    Returns float (B, 3, H, W) in channels-last memory, in which convolutions on a CPU take about half the time.
    """
    import torch  # the demo's page, which knows recipes, does not wait for it

    factor, mean, std = (torch.tensor(v, dtype=pixels.dtype, device=pixels.device) for v in FORMULAS[name])
    return torch.addcmul(-mean / std, pixels.permute(0, 2, 3, 1), factor / std).permute(0, 3, 1, 2)


def image_processor(size: int, name: Normalization) -> ViTImageProcessor:
    """An image processor that squashes to size x size, bilinear with antialiasing, and applies the formula `name`."""
    from transformers import ViTImageProcessor

    factor, mean, std = FORMULAS[name]
    return ViTImageProcessor(
        do_convert_rgb=True,
        do_resize=True,
        size={"height": size, "width": size},
        resample=2,  # bilinear
        do_rescale=True,
        rescale_factor=factor,
        do_normalize=True,
        image_mean=list(mean),
        image_std=list(std),
    )
