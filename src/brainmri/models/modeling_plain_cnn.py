"""The plain CNNs of source D ("A Brain Tumor Magnetic Resonance Imaging (MRI) Classification")."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import nn
from torch.nn import functional, init
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .configuration_plain_cnn import PlainCnnConfig


class PlainCnnForImageClassification(PreTrainedModel):
    """Convolutions with ReLU and max-pooling, then two linear layers; 33,488 to 9,369,668 parameters for 4 classes."""

    config_class = PlainCnnConfig
    base_model_prefix = "network"
    main_input_name = "pixel_values"

    def __init__(self, config: PlainCnnConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        before = 3
        for channels in config.channels:
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            before = channels
        self.features = nn.Sequential(*layers)
        side = config.image_size // 2 ** len(config.channels)
        self.hidden = nn.Linear(before * side * side, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, cast(int, config.num_labels))
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """PyTorch's own initialisation, which the source used."""
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            bound = 1 / math.sqrt(module.weight[0].numel())
            if module.bias is not None:
                init.uniform_(module.bias, -bound, bound)

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None
    ) -> ImageClassifierOutputWithNoAttention:
        """pixel_values: normalised RGB, float (B, 3, image_size, image_size). Returns logits (B, num_labels)."""
        features = self.features(pixel_values).flatten(1)
        if self.config.dropout_first:
            features = self.dropout(features)
        features = self.hidden(features).relu()
        if not self.config.dropout_first:
            features = self.dropout(features)
        logits = self.classifier(features)
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)
