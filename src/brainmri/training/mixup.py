"""Mixup and cutmix: two images of a batch become one, and so do their labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torchvision.transforms import v2

if TYPE_CHECKING:
    from brainmri.recipe import Mix

Mixer = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def mixer(mix: Mix, classes: int) -> Mixer:
    """A function of images (B, 3, H, W) and labels (B,) that gives mixed images and class shares (B, classes).

    A batch that is not mixed keeps its labels (B,). The draws come from torch's generator, which a checkpoint restores;
    each process mixes its own part of a batch, so that one process and two do not train to the same digit.
    """
    kinds = [
        kind(alpha=alpha, num_classes=classes)
        for kind, alpha in ((v2.MixUp, mix.mixup), (v2.CutMix, mix.cutmix))
        if alpha > 0
    ]
    return v2.RandomApply([v2.RandomChoice(kinds)], p=mix.probability)
