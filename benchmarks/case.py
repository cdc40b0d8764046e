"""What the ways of one comparison share: the images, the recipe, the first weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from brainmri.data.dataset import PreparedData, load_prepared
from brainmri.data.pixel_cache import pixel_cache
from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.recipe import Recipe, Stage
from brainmri.training.batches import SliceBatches
from brainmri.training.optimizer import set_frozen

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

SEED = 0
# One epoch of plain training: validation, checkpoints and schedules are other jobs than the one that is timed.
PLAIN = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False, "seed": SEED}


@dataclass(frozen=True)
class Material:
    """Some training images of `data`, for the last stage of `recipe`.

    chosen: their places within the train split, int64; as many as fill whole batches, where there are as many.
    """

    arch: str
    data: PreparedData
    recipe: Recipe
    chosen: np.ndarray

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def stage(self) -> Stage:
        return self.recipe.stages[0]

    def part(self, images: int) -> Material:
        """The first `images` of these, or fewer to fill whole batches."""
        return Material(self.arch, self.data, self.recipe, _whole(self.chosen[:images], self.recipe.batch_size))

    def slices(self) -> SliceBatches:
        """The images in the project's way: from the pixel cache."""
        rows = self.data.rows("train")[self.chosen]
        pixels = pixel_cache(self.data, self.recipe.input.size)
        return SliceBatches(pixels, rows, self.data.labels(rows), augmentation_seed=SEED)

    def files(self) -> Dataset:
        """The images in the usual way: files that `datasets` opens when they are read (`image`, `label`).

        These are the columns that its `imagefolder` loader gives, without its guess of labels from folders.
        """
        files = load_prepared(self.data.root)["train"].select_columns(["image", "label"])
        return files if len(self) == len(files) else files.select(self.chosen)

    def model(self) -> PreTrainedModel:
        """The network with random weights, the same at each call (speed does not depend on them)."""
        from transformers import set_seed

        set_seed(SEED)
        model = build_model(self.recipe, self.data.classes, "random")[0]
        set_frozen(model, self.stage)
        return model


def material(data: PreparedData, arch: str, changes: list[str], images: int | None) -> Material:
    """The material of recipe `arch` with its `changes` (KEY=VALUE); `images` bounds it, None takes the whole split.

    Raises:
        ValueError: for an unknown recipe or key.
    """
    recipe = resolve(arch, overrides=changes)
    plain: dict[str, Any] = {
        "epochs": 1,
        "schedule": "constant",
        "warmup": 0.0,
        "plateau": None,
        "early_stopping": None,
        "ema": None,
        "sizes": [],
    }
    recipe = recipe.model_copy(update={"stages": [recipe.stages[-1].model_copy(update=plain)]})
    order = np.random.default_rng(SEED).permutation(len(data.rows("train")))
    return Material(arch, data, recipe, np.sort(_whole(order[:images], recipe.batch_size)))


def _whole(chosen: np.ndarray, batch: int) -> np.ndarray:
    """Without the rest that fills no batch, which the project's trainer leaves for another epoch."""
    return chosen[: len(chosen) // batch * batch or len(chosen)]
