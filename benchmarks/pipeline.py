"""The input pipeline alone: images on their way to the network, and no network."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from transformers import Trainer

from benchmarks.candidate import our_trainer
from benchmarks.case import Material
from benchmarks.reference import usual_trainer
from benchmarks.timing import comparison, in_turns

IMAGES = 1024  # at most in one repetition; the speed of the pipeline does not change along an epoch
WORKERS = (0, 2)
TARGET = 5.0


def measure(material: Material, repeats: int) -> list[dict[str, Any]]:
    """The time of one pass over the images, by the trainers' own loaders and preparation.

    Two comparisons: with the usual way doing the recipe's transformations, and with it doing the example's own, which
    are less work. Each is taken without and with worker processes, of which the faster decides.
    """
    material = material.part(IMAGES)
    with tempfile.TemporaryDirectory() as scratch:
        model, folder = material.model(), Path(scratch)
        trainers: dict[str, Trainer] = {"ours": our_trainer(material, model, folder)}
        for workers in WORKERS:
            for same, kind in ((True, "recipe"), (False, "example")):
                trainers[f"{kind}'s transformations, {workers} workers"] = usual_trainer(
                    material, model, folder, workers=workers, same_augmentation=same
                )
        ways = {name: partial(partial, _drain, trainer) for name, trainer in trainers.items()}
        title = f"{material.arch}, {material.recipe.input.size} px"
        in_turns(ways, 1, "warming up")
        seconds = in_turns(ways, repeats, f"pipeline {title}")
    return [
        comparison(
            f"{title}, against the {kind}'s transformations",
            {name: values for name, values in seconds.items() if name == "ours" or name.startswith(kind)},
            reference="ours",
            images=len(material),
            at_least=TARGET,
        )
        for kind in ("recipe", "example")
    ]


def _drain(trainer: Trainer) -> None:
    for batch in trainer.get_train_dataloader():
        trainer._prepare_inputs(batch)
