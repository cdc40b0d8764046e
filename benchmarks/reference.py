"""The usual way: what Hugging Face's `run_image_classification.py` does, through the plain `Trainer`.

Images are opened by `datasets` when they are read, transformed one by one by torchvision in `with_transform`, stacked
by a collate function and loaded by 0 or more worker processes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torchvision import transforms
from transformers import PreTrainedModel, Trainer, TrainingArguments

from benchmarks.case import PLAIN, SEED, Material
from brainmri.models.preprocessing import FORMULAS
from brainmri.recipe import Recipe
from brainmri.training.arguments import stage_arguments

# What both ways have in common; of everything else each has its own default.
COMMON = ["learning_rate", "optim", "weight_decay", "max_grad_norm", "label_smoothing_factor", "use_cpu"]
COMMON += ["per_device_train_batch_size", "num_train_epochs", "dataloader_pin_memory"]


def usual_trainer(
    material: Material, model: PreTrainedModel, folder: Path, *, workers: int, same_augmentation: bool = True
) -> Trainer:
    """The plain Trainer on `material`, with the recipe's batch and optimiser.

    workers: processes that load the data; 0 for none. same_augmentation: the recipe's transformations instead of the
    example's own. folder: where it may write.
    """
    ours = stage_arguments(material.recipe, material.stage, PLAIN, SEED, str(folder))
    transform = recipe_transform(material.recipe) if same_augmentation else example_transform(material.recipe)
    return Trainer(
        model=model,
        args=usual_arguments(ours, folder, dataloader_num_workers=workers),
        train_dataset=material.files().with_transform(partial(transformed, transform)),
        data_collator=stacked,
    )


def usual_arguments(ours: TrainingArguments, folder: Path, **more: Any) -> TrainingArguments:
    """Those of the plain Trainer: what both ways have in common is as in `ours`; more: further ones."""
    common = {name: getattr(ours, name) for name in COMMON}
    settings = {"seed": SEED, "output_dir": str(folder), "save_strategy": "no", "remove_unused_columns": False}
    return TrainingArguments(**common | settings | more)


def example_transform(recipe: Recipe) -> transforms.Compose:
    """The example's own: a random crop and a mirror."""
    flips = [transforms.RandomResizedCrop(recipe.input.size), transforms.RandomHorizontalFlip()]
    return transforms.Compose([*flips, transforms.ToTensor(), _normalize(recipe)])


def recipe_transform(recipe: Recipe) -> transforms.Compose:
    """The transformations of the recipe, as torchvision has them."""
    magnitudes = recipe.augmentations()
    steps: list[Any] = [transforms.Resize((recipe.input.size, recipe.input.size))]
    if magnitudes.horizontal_flip:
        steps.append(transforms.RandomHorizontalFlip(magnitudes.horizontal_flip))
    if magnitudes.vertical_flip:
        steps.append(transforms.RandomVerticalFlip(magnitudes.vertical_flip))
    if magnitudes.rotation_degrees or magnitudes.translate or magnitudes.zoom_in or magnitudes.zoom_out:
        steps.append(
            transforms.RandomAffine(
                magnitudes.rotation_degrees,
                translate=(magnitudes.translate, magnitudes.translate),
                scale=(1 - magnitudes.zoom_out, 1 + magnitudes.zoom_in),
                interpolation=transforms.InterpolationMode.BILINEAR,
            )
        )
    if magnitudes.brightness or magnitudes.contrast:
        steps.append(transforms.ColorJitter(magnitudes.brightness, magnitudes.contrast))
    return transforms.Compose([*steps, transforms.ToTensor(), _normalize(recipe)])


def _normalize(recipe: Recipe) -> transforms.Normalize:
    factor, mean, std = FORMULAS[recipe.input.normalize]
    return transforms.Normalize([value / (255 * factor) for value in mean], [value / (255 * factor) for value in std])


def transformed(transform: transforms.Compose, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Transformed images of `datasets`, as `with_transform` calls it."""
    pixels = [transform(image.convert("RGB")) for image in examples["image"]]
    return {"pixel_values": pixels, "labels": examples["label"]}


def stacked(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch of transformed images."""
    pixels = torch.stack([example["pixel_values"] for example in examples])
    return {"pixel_values": pixels, "labels": torch.tensor([example["labels"] for example in examples])}
