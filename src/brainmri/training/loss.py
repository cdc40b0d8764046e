"""The training loss: cross entropy or focal loss, with class weights where the recipe asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brainmri.recipe import Recipe

SURE = 1e-6  # of 1 - p at least, so that a power below 1 has a slope


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """N / (C * n) for each class, of its n training images: over the N images of an epoch the weights' mean is 1.

    C counts the classes that have images; one without has weight 0.
    """
    present = sum(count > 0 for count in counts)
    return [sum(counts) / (present * count) if count else 0.0 for count in counts]


class TrainingLoss:
    """The mean over a batch of weight x (1 - p)^gamma x -log p, summed over the classes by their share of the label.

    It is a mean over the images, not over their weights: so it does not depend on how a global batch is cut into
    processes and accumulation steps.

    Args:
        weights: of each class; None for equal ones.
        gamma: 0 for cross entropy. Above, images that are classified rightly with confidence count less (Lin et al.
            2017).
        smoothing: the share of each label that is spread over all classes.
    """

    def __init__(self, weights: Sequence[float] | None, gamma: float, smoothing: float) -> None:
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.gamma, self.smoothing = gamma, smoothing

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """logits: (B, C). labels: class numbers (B,), or shares of the classes (B, C) where images were mixed."""
        if self.weights is None and self.gamma == 0:
            return functional.cross_entropy(logits, labels, label_smoothing=self.smoothing)
        log_p = functional.log_softmax(logits.float(), dim=1)
        classes = log_p.shape[1]
        shares = functional.one_hot(labels, classes).to(log_p.dtype) if labels.ndim == 1 else labels.to(log_p.dtype)
        shares = (1 - self.smoothing) * shares + self.smoothing / classes
        losses = -log_p * shares
        if self.gamma:
            losses = losses * (-torch.expm1(log_p)).clamp_min(SURE) ** self.gamma
        if self.weights is not None:
            self.weights = self.weights.to(log_p.device)
            losses = losses * self.weights
        return losses.sum(1).mean()


def training_loss(recipe: Recipe, weights: Sequence[float] | None, smoothing: float) -> TrainingLoss:
    return TrainingLoss(weights, recipe.focal_gamma if recipe.loss == "focal" else 0.0, smoothing)
