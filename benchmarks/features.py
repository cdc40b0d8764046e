"""A frozen backbone's recipe over 50 epochs, against what its features alone cost."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from benchmarks.candidate import our_trainer
from benchmarks.case import SEED, Material
from benchmarks.timing import comparison, in_turns
from brainmri.data.pixel_cache import pixel_cache
from brainmri.training.batches import SliceBatches
from brainmri.training.stages import run_stages

EPOCHS = 50
BATCH = 32
TARGET = 1.3


def measure(material: Material, repeats: int) -> dict[str, Any]:
    """Times of one pass of the frozen network over all views of each training image, and of the whole training.

    The training holds that pass, the features of the validation part (as large a share as of the training images), 50
    epochs with their validations and checkpoints, and the making of the trainers. Speed does not depend on the weights,
    which are random.

    Raises:
        ValueError: if the recipe keeps no features.
    """
    views = material.stage.cached_views
    if views is None:
        raise ValueError(f"features: {material.arch} keeps none (stages.N.cached_views)")
    with tempfile.TemporaryDirectory() as scratch:
        ways = {
            "one pass over the views": partial(_pass, material, views, Path(scratch)),
            f"{EPOCHS} epochs on features": partial(_training, material, Path(scratch)),
        }
        title = f"{material.arch}, {views} views of {len(material)} images at {material.recipe.input.size} px"
        seconds = in_turns(ways, repeats, f"features {title}")
    return comparison(title, seconds, reference="one pass over the views", images=views * len(material), at_most=TARGET)


def _pass(material: Material, views: int, folder: Path) -> Callable[[], object]:
    model, slices = material.model(), material.slices()
    trainer = our_trainer(material, model, folder)
    model.eval()

    @torch.no_grad()
    def run() -> None:
        for view in range(views):
            slices.set_epoch(view)
            for places in torch.arange(len(slices)).split(BATCH):
                batch = trainer._prepare_inputs(slices.__getitems__(places.tolist()))
                model(pixel_values=batch["pixel_values"])

    return run


def _training(material: Material, folder: Path) -> Callable[[], object]:
    model, data = material.model(), material.data
    stage = material.stage.model_copy(update={"epochs": EPOCHS})
    recipe = material.recipe.model_copy(update={"stages": [stage]})
    # As large a part of the validation images as of the training images: the whole beside a few would weigh too much.
    rows = data.rows("validation")
    rows = rows[:: max(1, len(data.rows("train")) // len(material))]
    validation = SliceBatches(pixel_cache(data, recipe.input.size), rows, data.labels(rows))
    checkpoints = tempfile.mkdtemp(dir=folder)
    given: dict[str, Any] = {"disable_tqdm": True, "seed": SEED}

    def run() -> None:
        with redirect_stdout(StringIO()):
            run_stages(model, recipe, material.slices(), validation, given, Path(checkpoints), SEED, None)

    return run
