"""The six-block CNN of source A ("Tumor Classification in MRI: a Comparison of Neural Network Architectures")."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import nn
from torch.nn import functional, init
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .configuration_six_block_cnn import SixBlockCnnConfig

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R 601, as PIL converts RGB to grey


class SixBlockCnnForImageClassification(PreTrainedModel):
    """2,438,901 parameters for 5 classes, running statistics included as Keras counts them."""

    config_class = SixBlockCnnConfig
    base_model_prefix = "network"
    main_input_name = "pixel_values"

    def __init__(self, config: SixBlockCnnConfig) -> None:
        super().__init__(config)
        last = len(config.channels) - 1
        layers: list[nn.Module] = []
        before = 1
        for block, channels in enumerate(config.channels):
            for _ in range(1 if block == last else 2):
                layers += [
                    nn.Conv2d(before, channels, 3, padding=1),
                    nn.BatchNorm2d(channels, eps=1e-3, momentum=config.norm_momentum),  # Keras' epsilon
                    nn.ReLU(),
                ]
                before = channels
            if block >= last - 1:
                layers.append(nn.Dropout2d(config.dropout))
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        widths = [before, *config.hidden_sizes]
        self.hidden = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))
        self.classifier = nn.Linear(widths[-1], cast(int, config.num_labels))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keras' defaults: Glorot uniform weights, zero biases."""
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None
    ) -> ImageClassifierOutputWithNoAttention:
        """pixel_values: normalised RGB, float (B, 3, H, W), reduced to grey inside. Returns logits (B, num_labels)."""
        luminance = torch.tensor(LUMINANCE, dtype=pixel_values.dtype, device=pixel_values.device)
        grey = (pixel_values * luminance[:, None, None]).sum(1, keepdim=True)
        logits = self.classifier(self.hidden(self.features(grey).mean((2, 3))))
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)
