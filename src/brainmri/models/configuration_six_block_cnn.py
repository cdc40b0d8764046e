"""Configuration of the six-block CNN of source A."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class SixBlockCnnConfig(PretrainedConfig):
    """Five blocks of two convolutions with batch norm, a sixth of one, global pooling and three linear layers.

    Args:
        channels: channels of the blocks.
        hidden_sizes: widths of the two linear layers before the classifier (no activation between, as in the source).
        dropout: probability of dropping a whole channel in the last two blocks, before their pooling.
        norm_momentum: share of a batch's statistics in the running ones of the batch norms (0.01 is Keras' default).
    """

    model_type = "brainmri_six_block_cnn"

    def __init__(
        self,
        channels: list[int] | None = None,
        hidden_sizes: list[int] | None = None,
        dropout: float = 0.2,
        norm_momentum: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.channels = channels or [16, 32, 64, 128, 256, 512]
        self.hidden_sizes = hidden_sizes or [128, 64]
        self.dropout = dropout
        self.norm_momentum = norm_momentum
        kwargs.setdefault("problem_type", "single_label_classification")
        super().__init__(**kwargs)
