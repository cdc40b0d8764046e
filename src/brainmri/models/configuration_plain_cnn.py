"""Configuration of the plain CNNs of source D."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class PlainCnnConfig(PretrainedConfig):
    """A stack of 3x3 convolutions, each followed by ReLU and 2x2 max-pooling, then two linear layers.

    Args:
        image_size: side of the square input in pixels; must be divisible by 2 ** len(channels).
        channels: output channels of each convolution.
        hidden_size: width of the first linear layer.
        dropout: probability of the one dropout layer.
        dropout_first: whether dropout stands before the first linear layer, instead of between the two.
    """

    model_type = "brainmri_plain_cnn"

    def __init__(
        self,
        image_size: int = 256,
        channels: list[int] | None = None,
        hidden_size: int = 32,
        dropout: float = 0.3,
        dropout_first: bool = False,
        **kwargs: Any,
    ) -> None:
        self.image_size = image_size
        self.channels = channels or [4, 4, 4, 4]
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.dropout_first = dropout_first
        if image_size % 2 ** len(self.channels):
            raise ValueError(
                f"image_size {image_size} cannot be halved {len(self.channels)} times: "
                f"expected a multiple of {2 ** len(self.channels)}"
            )
        kwargs.setdefault("problem_type", "single_label_classification")
        super().__init__(**kwargs)
