"""The small residual network of source A ("Tumor Classification in MRI: a Comparison of Neural Networks ...")."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional, init
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .configuration_small_resnet import SmallResnetConfig

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R 601, as PIL converts RGB to grey


EPSILON = 1e-3  # Keras' default in batch norm


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and a 1x1 one on the short cut where the shape changes."""

    def __init__(self, before: int, channels: int, stride: int, momentum: float) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, channels, 3, stride, padding=1),
            nn.BatchNorm2d(channels, EPSILON, momentum),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels, EPSILON, momentum),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride), nn.BatchNorm2d(channels, EPSILON, momentum)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.residual(x) + self.shortcut(x)).relu()


class SmallResnetForImageClassification(PreTrainedModel):
    """176,325 parameters for 5 classes, running statistics included as Keras counts them."""

    config_class = SmallResnetConfig
    base_model_prefix = "network"
    main_input_name = "pixel_values"

    def __init__(self, config: SmallResnetConfig) -> None:
        super().__init__(config)
        self.stem = nn.Sequential(
            nn.Conv2d(1, config.stem_channels, 3, padding=1),
            nn.BatchNorm2d(config.stem_channels, EPSILON, config.norm_momentum),
            nn.ReLU(),
        )
        widths = [config.stem_channels, *config.channels]
        self.blocks = nn.Sequential(
            *(
                BasicBlock(before, channels, stride, config.norm_momentum)
                for before, channels, stride in zip(widths, config.channels, config.strides, strict=False)
            )
        )
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
        logits = self.classifier(self.blocks(self.stem(grey)).mean((2, 3)))
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)
