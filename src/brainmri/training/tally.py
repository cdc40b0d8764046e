"""What the training steps of one epoch give: loss, hits, and which samples were seen by whom."""

from __future__ import annotations

import numpy as np
import torch
from accelerate.utils import gather_object


class EpochTally:
    """Of this process, since the epoch began.

    sums: float64 (3,), on the device of the training: the loss summed over samples, correct answers, samples.
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64)
        self._positions: list[torch.Tensor] = []

    def saw(self, positions: torch.Tensor) -> None:
        """Note the samples (B,) of a batch, by their positions in the training set."""
        self._positions.append(positions)

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add a batch. loss: its mean. logits: (B, C). labels: class numbers (B,), or shares (B, C) of mixed images."""
        likeliest = labels if labels.ndim == 1 else labels.argmax(1)
        correct = (logits.detach().argmax(1) == likeliest).sum()
        self.sums = self.sums.to(labels.device)
        self.sums += torch.stack([loss.detach() * len(labels), correct, labels.new_tensor(len(labels))])

    def samples_by_rank(self, processes: int, samples: int) -> list[int]:
        """How many samples each process saw; every one of them must call it. samples: of the training set.

        Raises:
            RuntimeError: if two processes saw the same sample, which means that they did not share the work.
        """
        own = torch.cat(self._positions).cpu().numpy() if self._positions else np.empty(0, np.int64)
        if processes == 1:
            return [len(own)]
        shares = gather_object([own])
        found = [len(share) for share in shares]
        distinct = len(np.unique(np.concatenate(shares)))
        if distinct != sum(found) and samples >= sum(found):
            raise RuntimeError(f"{processes} processes saw only {distinct} different samples: {found}")
        return found
