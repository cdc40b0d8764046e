"""The random transformations of a batch: the project's, kornia's, and torchvision's image by image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torchvision.transforms import v2

from benchmarks.timing import Way, comparison, in_turns
from brainmri.data.dataset import PreparedData
from brainmri.data.pixel_cache import pixel_cache
from brainmri.training.batches import SliceBatches
from brainmri.transforms.augment import augment
from brainmri.transforms.config import Augmentation

BATCH = 32
IMAGES = 256  # at most in one repetition
WIDTHS = Augmentation(
    horizontal_flip=0.5, rotation_degrees=15, translate=0.05, zoom_in=0.1, zoom_out=0.1, brightness=0.15
)
SCALES, SHIFTS = (1 - WIDTHS.zoom_out, 1 + WIDTHS.zoom_in), (WIDTHS.translate, WIDTHS.translate)
Transform = Callable[[torch.Tensor], torch.Tensor]


def measure(data: PreparedData, size: int, repeats: int, images: int | None) -> dict[str, Any]:
    """The same widths of mirror, turn, shift, scale and brightness, from uint8 batches to transformed float ones.

    Each library gets what it was seen to be fastest with: kornia and torchvision float images in the usual memory
    order (turning them into it is not timed). size: in pixels. images: bounds their number.
    """
    rows = data.rows("train")[: min(IMAGES, images or IMAGES)]
    slices = SliceBatches(pixel_cache(data, size), rows, data.labels(rows), augmentation_seed=0)
    batches = [slices.__getitems__(places.tolist()) for places in torch.arange(len(rows)).split(BATCH)]
    usual = [batch["pixel_values"].contiguous() for batch in batches]
    ways: dict[str, Way] = {
        "ours": partial(partial, _ours, batches),
        "torchvision v2, one by one": partial(partial, _one_by_one, _torchvision(), usual),
    }
    missing = {}
    if find_spec("kornia"):
        ways["kornia"] = partial(partial, _at_once, _kornia(), usual)
    else:
        missing["kornia"] = "not installed: pip install kornia"
    in_turns(ways, 1, "warming up")
    title = f"{size} px"
    seconds = in_turns(ways, repeats, f"augmentation {title}")
    return comparison(title, seconds, reference="ours", images=len(rows), not_installed=missing)


def _ours(batches: list[dict[str, torch.Tensor]]) -> None:
    for batch in batches:
        augment(batch["pixel_values"], batch["uniform"], WIDTHS)


def _torchvision() -> v2.Transform:
    affine = v2.RandomAffine(
        WIDTHS.rotation_degrees, translate=SHIFTS, scale=SCALES, interpolation=v2.InterpolationMode.BILINEAR
    )
    return v2.Compose([v2.RandomHorizontalFlip(WIDTHS.horizontal_flip), affine, v2.ColorJitter(WIDTHS.brightness)])


def _one_by_one(transform: Transform, batches: list[torch.Tensor]) -> None:
    """One by one, as torchvision draws its numbers once for all that it is given."""
    for batch in batches:
        torch.stack([transform(pixels) for pixels in batch.float() / 255])  # colours are clipped to 0..1


def _kornia() -> torch.nn.Module:
    from kornia import augmentation

    return torch.nn.Sequential(  # faster than kornia's own AugmentationSequential
        augmentation.RandomHorizontalFlip(p=WIDTHS.horizontal_flip),
        augmentation.RandomAffine(WIDTHS.rotation_degrees, translate=SHIFTS, scale=SCALES, same_on_batch=False, p=1.0),
        augmentation.ColorJiggle(brightness=WIDTHS.brightness, p=1.0),
    )


def _at_once(transform: Transform, batches: list[torch.Tensor]) -> None:
    for batch in batches:
        transform(batch.float() / 255)
