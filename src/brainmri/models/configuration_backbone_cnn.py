"""Configuration of a timm backbone with a convolutional branch beside it."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class BackboneCnnConfig(PretrainedConfig):
    """The pooled feature maps of a timm backbone, joined with those of a small CNN that sees the same image.

    Args:
        backbone: timm's name of the model; its last feature maps are pooled, its own classifier is left out.
        channels: of the 3x3 convolutions of the CNN branch, each halving the image; none for the backbone alone.
        balanced: batch norm inside the branch, and both branches brought to `width` normalised features, so that
            neither drowns the other. Without: both are joined as they come.
        width: features of each balanced branch.
        dropout: before the classifier.
    """

    model_type = "brainmri_backbone_cnn"

    def __init__(
        self,
        backbone: str = "resnet50",
        channels: list[int] | None = None,
        balanced: bool = True,
        width: int = 256,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.backbone = backbone
        self.channels = [32, 64, 128, 256] if channels is None else channels
        self.balanced = balanced
        self.width = width
        self.dropout = dropout
        kwargs.setdefault("problem_type", "single_label_classification")
        super().__init__(**kwargs)
