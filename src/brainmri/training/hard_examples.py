"""The losses by which an epoch's images are drawn, where a recipe has a `hard_example_share` below 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch.nn import functional

from brainmri.training.batches import SliceBatches

FILE = "losses.npz"


class HardExamples:
    """Notes the loss of each training image as it passes, and tells `images` of them when the epoch is over."""

    def __init__(self, images: SliceBatches) -> None:
        self.images = images
        self._noted: list[tuple[torch.Tensor, torch.Tensor]] = []

    def note(self, positions: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Note a batch. positions: (B,), of its samples. logits: (B, C). labels: (B,), or shares (B, C) if mixed."""
        losses = functional.cross_entropy(logits.detach().float(), labels, reduction="none")
        self._noted.append((positions, losses))

    def finish_epoch(self) -> None:
        """Tell the images what all processes noted, for the next epoch; every one of them must call it."""
        self.images.learn(*self._gathered())
        self._noted = []

    def save(self, checkpoint: Path, *, here: bool) -> None:
        """Keep the losses that the epoch was drawn by, and those noted since. here: whether this process writes; every
        one must call it."""
        positions, losses = self._gathered()
        if here:
            checkpoint.mkdir(parents=True, exist_ok=True)
            np.savez(checkpoint / FILE, drawn_by=self.images.losses, positions=positions, losses=losses)

    def load(self, checkpoint: Path) -> None:
        kept = np.load(checkpoint / FILE)
        self.images.losses = kept["drawn_by"]
        self._noted = [(torch.from_numpy(kept["positions"]), torch.from_numpy(kept["losses"]))]

    def _gathered(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Positions (N,) and losses (N,) of all processes."""
        positions = torch.cat([torch.empty(0, dtype=torch.int64), *(seen.cpu() for seen, _ in self._noted)])
        losses = torch.cat([torch.empty(0, dtype=torch.float64), *(found.double().cpu() for _, found in self._noted)])
        shares = gather_object([(positions.numpy(), losses.numpy())])
        return np.concatenate([seen for seen, _ in shares]), np.concatenate([found for _, found in shares])
