"""Configuration of the hybrid of a convolutional stem and a transformer encoder."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class HybridCnnVitConfig(PretrainedConfig):
    """Residual convolutions down to a sixteenth of the image's side, then a transformer over what is left.

    Args:
        image_size: side of the square image in pixels, a multiple of 16.
        stem_channels: channels at a half, a quarter and an eighth of the side.
        stem_depths: residual blocks at a half, a quarter, an eighth and a sixteenth of the side.
        hidden_size: channels at a sixteenth, and features of each of the (image_size / 16) ** 2 tokens.
        layers: transformer layers.
        heads: attention heads of each layer.
        layer_scale: what each transformer layer's changes are multiplied by at first: little, so that training starts
            as that of a residual CNN, which learns from few images, and the attention comes in as it helps.
        dropout: before the classifier.
    """

    model_type = "brainmri_hybrid_cnn_vit"

    def __init__(
        self,
        image_size: int = 128,
        stem_channels: list[int] | None = None,
        stem_depths: list[int] | None = None,
        hidden_size: int = 256,
        layers: int = 3,
        heads: int = 8,
        layer_scale: float = 0.1,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if image_size % 16:
            raise ValueError(f"image_size is {image_size}: expected a multiple of 16")
        self.image_size = image_size
        self.stem_channels = stem_channels or [32, 64, 128]
        self.stem_depths = stem_depths or [0, 1, 1, 1]
        self.hidden_size = hidden_size
        self.layers = layers
        self.heads = heads
        self.layer_scale = layer_scale
        self.dropout = dropout
        kwargs.setdefault("problem_type", "single_label_classification")
        super().__init__(**kwargs)
