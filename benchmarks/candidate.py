"""The project's way: its trainer on the pixel cache, built as `run_stages` builds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from benchmarks.case import PLAIN, SEED, Material
from brainmri.training.arguments import stage_arguments
from brainmri.training.trainer import SliceTrainer


def our_trainer(material: Material, model: PreTrainedModel, folder: Path, **given: Any) -> SliceTrainer:
    """The `SliceTrainer` of `material`. given: TrainingArguments over the recipe's. folder: where it may write."""
    torch.nn.Module.to(model, memory_format=torch.channels_last)
    return SliceTrainer(
        model=model,
        whole=model,
        args=stage_arguments(material.recipe, material.stage, PLAIN | given, SEED, str(folder)),
        recipe=material.recipe,
        stage=material.stage,
        max_minutes=None,
        train_dataset=material.slices(),
    )
