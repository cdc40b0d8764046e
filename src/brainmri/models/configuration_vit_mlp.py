"""Configuration of a vision transformer with a head of several layers."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class VitMlpConfig(PretrainedConfig):
    """The class token of a vision transformer, and a multilayer head on it.

    Args:
        vit: arguments of transformers' `ViTConfig`; empty for ViT-B/16 at 224 pixels.
        head_sizes: units of the head's hidden layers, each followed by a ReLU and dropout.
        head_dropout: the probability after each hidden layer.
    """

    model_type = "brainmri_vit_mlp"

    def __init__(
        self,
        vit: dict[str, Any] | None = None,
        head_sizes: list[int] | None = None,
        head_dropout: list[float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.vit = vit or {}
        self.head_sizes = [512, 256] if head_sizes is None else head_sizes
        self.head_dropout = [0.3, 0.2] if head_dropout is None else head_dropout
        if len(self.head_sizes) != len(self.head_dropout):
            raise ValueError(
                f"{len(self.head_sizes)} head_sizes but {len(self.head_dropout)} head_dropout: expected one per layer"
            )
        kwargs.setdefault("problem_type", "single_label_classification")
        super().__init__(**kwargs)
