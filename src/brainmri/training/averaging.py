"""An exponential moving average of the weights, which is validated and kept in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from timm.utils import ModelEmaV3

FILE = "average.safetensors"


class MovingAverage:
    """Follows `model` after each step; early steps weigh more, as short trainings need (timm's warm-up)."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.model = model
        self.ema = ModelEmaV3(model, decay=decay, use_warmup=True)

    def update(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        self.ema.update(self.model, step=step)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model holds the average inside, and its own weights again afterwards."""
        own = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.hand_over()
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def hand_over(self) -> None:
        """Give the model the averaged weights."""
        self.model.load_state_dict(self.ema.module.state_dict())

    def save(self, checkpoint: Path) -> None:
        checkpoint.mkdir(parents=True, exist_ok=True)
        save_file({n: t.contiguous() for n, t in self.ema.module.state_dict().items()}, checkpoint / FILE)

    def load(self, checkpoint: Path) -> None:
        state: dict[str, Any] = load_file(checkpoint / FILE)
        self.ema.module.load_state_dict(state)
