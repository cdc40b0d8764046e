"""The training loss: cross entropy or focal loss, with weights of the classes or of a tumour's type by the recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from brainmri.data.dataset import class_without_tumour

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

    Cross entropy has two parts: whether there is a tumour, and of which type given that there is one (the hierarchical
    cross entropy of Bertinetto et al. 2020, with two levels). `type_weight` is that of the second part.

    It is a mean over the images, not over their weights: so it does not depend on how a global batch is cut into
    processes and accumulation steps.

    Args:
        weights: of each class; None for equal ones.
        gamma: 0 for cross entropy. Above, images that are classified rightly with confidence count less (Lin et al.
            2017).
        smoothing: the share of each label that is spread over all classes.
        types: the numbers of the classes that are types of a tumour; all others are none.
        type_weight: in (0, 1]; 1 is plain cross entropy. Not for a gamma above 0.
    """

    def __init__(
        self,
        weights: Sequence[float] | None,
        gamma: float,
        smoothing: float,
        types: Sequence[int] = (),
        type_weight: float = 1.0,
    ) -> None:
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.gamma, self.smoothing = gamma, smoothing
        self.types, self.type_weight = list(types), type_weight if len(types) > 1 else 1.0

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """logits: (B, C). labels: class numbers (B,), or shares of the classes (B, C) where images were mixed."""
        if self.weights is None and self.gamma == 0 and self.type_weight == 1:
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
        loss = losses.sum(1)
        if self.type_weight != 1:  # a type's -log p is that of a tumour and that of the type given one
            weighted = shares if self.weights is None else shares * self.weights
            given_tumour = -log_p[:, self.types].log_softmax(1)
            loss = loss - (1 - self.type_weight) * (weighted[:, self.types] * given_tumour).sum(1)
        return loss.mean()


def loss_of(recipe: Recipe) -> str:
    """What is minimised, as text."""
    if recipe.loss == "focal":
        return f"focal loss, gamma {recipe.focal_gamma:g}"
    return "cross entropy" + (f", type of a tumour weighted {recipe.type_weight:g}" if recipe.type_weight != 1 else "")


def training_loss(
    recipe: Recipe, weights: Sequence[float] | None, smoothing: float, classes: Sequence[str]
) -> TrainingLoss:
    """The recipe's loss; classes of which no one is without tumour have no types, and are trained as they are."""
    none = class_without_tumour(list(classes))
    types = [number for number, name in enumerate(classes) if name != none] if none else []
    gamma = recipe.focal_gamma if recipe.loss == "focal" else 0.0
    return TrainingLoss(weights, gamma, smoothing, types, recipe.type_weight)
