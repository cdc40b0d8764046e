"""A timm backbone joined with a convolutional branch: source B's hybrid, which it gave up, with its faults curable."""

from __future__ import annotations

from typing import Any, cast

import timm
import torch
from torch import nn
from torch.nn import functional, init
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .configuration_backbone_cnn import BackboneCnnConfig


class BackboneCnnForImageClassification(PreTrainedModel):
    """`backbone` is timm's network; `branch`, `project_*` and `classifier` are new."""

    config_class = BackboneCnnConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"

    def __init__(self, config: BackboneCnnConfig) -> None:
        super().__init__(config)
        if not timm.is_model(config.backbone.partition(".")[0]):
            raise ValueError(f"backbone: timm has no model named {config.backbone!r}")
        backbone: Any = timm.create_model(config.backbone, pretrained=False, num_classes=0)
        if not backbone.pretrained_cfg.get("pool_size") or getattr(backbone, "output_fmt", "NCHW") != "NCHW":
            raise ValueError(f"backbone: {config.backbone} gives tokens, and a network with feature maps is needed")
        if hasattr(backbone, "pre_logits"):  # VGG's two wide layers, which come after the feature maps
            backbone.pre_logits = nn.Identity()
        for module in backbone.modules():
            module._is_hf_initialized = True  # timm's own initialisation stays
        self.backbone = backbone
        widths = [backbone.num_features]
        self.branch = nn.Sequential()
        if config.channels:
            for before, channels in zip([3, *config.channels], config.channels, strict=False):
                self.branch.append(nn.Conv2d(before, channels, 3, padding=1, bias=not config.balanced))
                if config.balanced:
                    self.branch.append(nn.BatchNorm2d(channels))
                self.branch.append(nn.ReLU())
                self.branch.append(nn.MaxPool2d(2))
            widths.append(config.channels[-1])
        if config.balanced:
            self.projections = nn.ModuleList(
                nn.Sequential(nn.Linear(width, config.width), nn.LayerNorm(config.width)) for width in widths
            )
            widths = [config.width] * len(widths)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(sum(widths), cast(int, config.num_labels))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            init.zeros_(module.bias)

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None
    ) -> ImageClassifierOutputWithNoAttention:
        """pixel_values: normalised RGB, float (B, 3, H, W). Returns logits (B, num_labels)."""
        features = [self.backbone.forward_features(pixel_values).mean((2, 3))]
        if len(self.branch):
            features.append(self.branch(pixel_values).mean((2, 3)))
        if self.config.balanced:
            features = [project(part) for project, part in zip(self.projections, features, strict=True)]
        logits = self.classifier(self.dropout(torch.cat(features, 1)))
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)
