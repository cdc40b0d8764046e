"""Configuration of the small residual network of source A."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class SmallResnetConfig(PretrainedConfig):
    """A 3x3 convolution, then basic residual blocks, global pooling and a linear classifier.

    Args:
        stem_channels: channels of the first convolution.
        channels: channels of each residual block.
        strides: stride of each residual block.
        norm_momentum: share of a batch's statistics in the running ones of the batch norms (0.01 is Keras' default).
    """

    model_type = "brainmri_small_resnet"

    def __init__(
        self,
        stem_channels: int = 16,
        channels: list[int] | None = None,
        strides: list[int] | None = None,
        norm_momentum: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.stem_channels = stem_channels
        self.channels = channels or [16, 16, 32, 32, 64, 64]
        self.strides = strides or [1, 1, 2, 1, 2, 1]
        if len(self.channels) != len(self.strides):
            raise ValueError(f"{len(self.channels)} channels but {len(self.strides)} strides: expected one per block")
        self.norm_momentum = norm_momentum
        kwargs.setdefault("problem_type", "single_label_classification")
        super().__init__(**kwargs)
