"""A convolutional stem and a transformer encoder, the hybrid that source A's outlook asks for."""

from __future__ import annotations

from typing import cast

import torch
from timm.models.vision_transformer import Block
from torch import nn
from torch.nn import functional, init
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .configuration_hybrid_cnn_vit import HybridCnnVitConfig


def convolution(before: int, channels: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, channels, 3, stride, padding=1, bias=False), nn.BatchNorm2d(channels)]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a short cut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *convolution(channels, channels), nn.ReLU(inplace=True), *convolution(channels, channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.residual(x) + x).relu()


class HybridCnnVitForImageClassification(PreTrainedModel):
    """The stem finds local texture with few data; the encoder relates places across the whole slice."""

    config_class = HybridCnnVitConfig
    base_model_prefix = "network"
    main_input_name = "pixel_values"

    def __init__(self, config: HybridCnnVitConfig) -> None:
        super().__init__(config)
        widths = [*config.stem_channels, config.hidden_size]
        layers: list[nn.Module] = []
        for before, channels, depth in zip([3, *widths], widths, config.stem_depths, strict=False):
            layers += [*convolution(before, channels, 2), nn.ReLU(inplace=True)]
            layers += [ResidualBlock(channels) for _ in range(depth)]
        self.stem = nn.Sequential(*layers)
        self.position = nn.Parameter(torch.zeros(1, (config.image_size // 16) ** 2, config.hidden_size))
        self.encoder = nn.Sequential(
            *(
                Block(config.hidden_size, config.heads, qkv_bias=True, init_values=config.layer_scale)
                for _ in range(config.layers)
            )
        )
        self.norm = nn.LayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, cast(int, config.num_labels))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=0.02)
            init.zeros_(module.bias)
        elif isinstance(module, HybridCnnVitForImageClassification):
            init.trunc_normal_(module.position, std=0.02)

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None
    ) -> ImageClassifierOutputWithNoAttention:
        """pixel_values: normalised RGB, float (B, 3, image_size, image_size). Returns logits (B, num_labels)."""
        tokens = self.stem(pixel_values).flatten(2).transpose(1, 2)
        tokens = self.norm(self.encoder(tokens + self.position))
        logits = self.classifier(self.dropout(tokens.mean(1)))
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)
