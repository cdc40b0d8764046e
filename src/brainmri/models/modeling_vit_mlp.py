"""Source A's second vision transformer: ViT-B/16 with a head of two hidden layers on its class token."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional, init
from transformers import PreTrainedModel, ViTConfig, ViTModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .configuration_vit_mlp import VitMlpConfig


class VitMlpForImageClassification(PreTrainedModel):
    """`vit` is transformers' `ViTModel` without its pooler, so that its weights fit; `classifier` is the new head."""

    config_class = VitMlpConfig
    base_model_prefix = "vit"
    main_input_name = "pixel_values"

    def __init__(self, config: VitMlpConfig) -> None:
        super().__init__(config)
        backbone = ViTConfig(**config.vit)
        self.vit = ViTModel(backbone, add_pooling_layer=False)
        layers: list[nn.Module] = []
        width = backbone.hidden_size
        for size, dropout in zip(config.head_sizes, config.head_dropout, strict=True):
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
            width = size
        self.classifier = nn.Sequential(*layers, nn.Linear(width, cast(int, config.num_labels)))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keras' defaults for the head: Glorot uniform weights, zero biases. (ViTModel initialises itself.)"""
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None
    ) -> ImageClassifierOutputWithNoAttention:
        """pixel_values: normalised RGB, float (B, 3, H, W). Returns logits (B, num_labels)."""
        class_token = self.vit(pixel_values=pixel_values).last_hidden_state[:, 0]
        logits = self.classifier(class_token)
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)
