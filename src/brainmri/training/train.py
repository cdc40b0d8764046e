"""One training, from prepared images to weights and predictions."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import PartialState
from scipy.special import softmax
from transformers import set_seed

from brainmri.data.dataset import SPLITS, PreparedData, class_without_tumour, oversampled
from brainmri.data.pixel_cache import PixelCache
from brainmri.data.shards import Shards
from brainmri.environment import return_freed_memory
from brainmri.models.build import build_model, parameter_counts, synchronized
from brainmri.models.layers import NoClassifierLayer, classifier_layer, features_of
from brainmri.recipe import Recipe
from brainmri.training.arguments import RunArguments, batch_advice, stage_arguments, world_size
from brainmri.training.batches import SliceBatches
from brainmri.training.checkpoints import RunPlace
from brainmri.training.loss import balanced_weights
from brainmri.training.optimizer import set_frozen
from brainmri.training.processes import first_in_main_process, sharded, with_whole_parameters
from brainmri.training.stages import StageOutcome, run_stages
from brainmri.training.streaming import StreamedImages, class_of
from brainmri.training.trainer import SliceTrainer
from brainmri.transforms.copy_paste import CopyPaste

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)
MOST_FEATURES = 5000  # images of a split whose features are kept from scoring


def exchange_of(data: PreparedData, pixels: PixelCache, recipe: Recipe) -> CopyPaste | None:
    """What the recipe's training images take from each other; None if nothing."""
    magnitudes = recipe.augmentations()
    if not magnitudes.as_read:
        return None
    rows = data.rows("train")
    known = data.outlines()
    found = {
        row: known[source]
        for row, source in zip(rows.tolist(), data.index["source"].iloc[rows], strict=True)
        if source in known
    }
    name = class_without_tumour(data.classes)
    moved = magnitudes.copy_paste or magnitudes.hemisphere_mirroring or magnitudes.tumour_removal
    if moved and not (found and name):
        logger.info("The data has no outlines (prepare_data --outlines): no tumour is given or taken.")
    if magnitudes.lesion_contrast and not found:
        logger.info("The data has no outlines (prepare_data --outlines): no tumour gets another contrast.")
    healthy = data.classes.index(name) if name else None
    return CopyPaste(pixels, rows, data.labels(rows), magnitudes, found, healthy)


def _class_weights(recipe: Recipe, data: PreparedData, train: SliceBatches) -> dict[str, float] | None:
    """By the images of an epoch, which duplicate-aware sampling has fewer of; streamed ones are counted in `info`."""
    if recipe.class_weights == "none":
        return None
    counts = np.bincount(train.labels, minlength=len(data.classes)).tolist()
    if data.streamed:
        counts = [data.info.counts["train"][label] for label in data.classes]
    return dict(zip(data.classes, balanced_weights(counts), strict=True))


@dataclass(frozen=True)
class Trained:
    """What a training gives: the network, and what it says of the images that are scored.

    Attributes:
        model: in float32, with the weights that are kept.
        weights: where those at the start came from, with their hash.
        parameters: `total` and `trainable`.
        stages: of each stage its history, times and best epoch.
        precision: "fp32", "bf16" or "fp16", of the training.
        probabilities: (N, C) of each scored split (`validation` and `test`, perhaps `train`), uncalibrated.
        class_weights: of each label in the loss; None for equal ones.
        train: the training images as they were trained on, oversampled where the recipe says so.
        features: of the scored splits, for the OOD detector; those that scoring did not keep are absent.
    """

    model: PreTrainedModel
    weights: str
    parameters: dict[str, int]
    stages: list[StageOutcome]
    precision: str
    probabilities: dict[str, NDArray[np.float64]]
    train: SliceBatches
    class_weights: dict[str, float] | None = None
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def predict(trainer: SliceTrainer, batches: SliceBatches) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
    """Uncalibrated probabilities (N, C) of the rows of `batches`, in float32, and features (N, D), what enters the last
    layer; every process must call it.

    The finished model leaves its mixed precision here, so that whoever loads it gets the same probabilities. Features
    are kept where one process sees all images and keeping them is cheap; else None.
    """
    trainer.accelerator.native_amp = False  # else a trainer that has not trained (features did) wraps its model anew
    trainer.model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    with features_of(trainer.whole, _last_layer(trainer, batches)) as seen:
        logits = trainer.predict(batches).predictions
    return softmax(np.asarray(logits, dtype=np.float64), axis=1), torch.cat(seen).cpu().numpy() if seen else None


def _last_layer(trainer: SliceTrainer, batches: SliceBatches) -> str | None:
    """The layer whose input the features are; None where they are not to be kept, or the network has none."""
    args = trainer.args
    if world_size() > 1 or args.n_gpu > 1 or args.torch_compile or len(batches) > MOST_FEATURES:
        return None
    trainer.whole.eval()
    try:
        return classifier_layer(trainer.whole, trainer.pixels_of(batches.__getitems__([0])))
    except NoClassifierLayer:
        return None


def train(
    run: RunArguments,
    given: dict[str, Any],
    recipe: Recipe,
    seed: int,
    data: PreparedData,
    by_size: dict[int, PixelCache],
    folder: RunPlace,
    state: PartialState,
    shards: Shards | None = None,
) -> Trained:
    """Train on `data`, whose images `by_size` holds, and score its validation and test images.

    folder: where checkpoints go. shards: whence the training images are streamed; `data` then holds the other splits,
    and a few of them. Every process must call it, and each gets the result.
    """
    # ------------------------------------------------------------------ images
    pixels = by_size[recipe.input.size]
    as_they_are = {split: SliceBatches(pixels, data.rows(split), data.labels(data.rows(split))) for split in SPLITS}
    train_rows = as_they_are["train"].rows
    if recipe.oversample:
        train_rows = oversampled(train_rows, as_they_are["train"].labels, seed)
    images = data.index["duplicate_id"].to_numpy()[train_rows] if recipe.duplicate_aware_sampling else None
    train_batches = SliceBatches(
        pixels,
        train_rows,
        data.labels(train_rows),
        seed,
        by_size,
        images,
        exchange_of(data, pixels, recipe),
        recipe.hard_example_share,
    )
    trained = StreamedImages(shards, class_of(shards, data), recipe.input.size, seed) if shards else train_batches
    weights_of_classes = _class_weights(recipe, data, train_batches)
    counts = ", ".join(f"{split} {len(batches)}" for split, batches in (as_they_are | {"train": trained}).items())
    if recipe.hard_example_share < 1:
        counts += f" of {len(train_rows)} in each epoch"
    logger.info("Data: %s, split %r, %s, in %s", data.info.name, data.info.split, counts, data.root)
    if data.info.leaky:
        logger.info("This split LEAKS: images of one group stand on both sides. Its accuracies rank nothing.")

    if weights_of_classes:
        shown = ", ".join(f"{label} {weight:.3g}" for label, weight in weights_of_classes.items())
        logger.info("Class weights in the loss: %s", shown)

    # ------------------------------------------------------------------ model
    set_seed(seed)
    model, weights = first_in_main_process(state, lambda: build_model(recipe, data.classes, run.weights))
    if run.sync_batchnorm:
        model = synchronized(model)
    set_frozen(model, recipe.stages[-1])
    parameters = parameter_counts(model)
    first = stage_arguments(recipe, recipe.stages[0], given, seed, str(folder.path))
    if advice := batch_advice(recipe, first):
        logger.info(advice)
    logger.info(
        "Model: %s, {total:,} parameters ({trainable:,} trainable), weights: %s".format(**parameters), run.arch, weights
    )

    # ------------------------------------------------------------------ training, then test is read once
    start = folder.begin(weights)
    plain = type(model)
    trainer, stages = run_stages(
        model,
        recipe,
        trained,
        as_they_are["validation"],
        given,
        folder.checkpoints,
        seed,
        run.max_minutes,
        start,
        folder.seal,
        list(weights_of_classes.values()) if weights_of_classes else None,
    )
    return_freed_memory()
    scored = ["validation", "test"] + ["train"] * run.evaluate_train
    logger.info("Scoring the %s images", " and ".join(scored))
    found = {split: predict(trainer, as_they_are[split]) for split in scored}
    probabilities = {split: of_split for split, (of_split, _) in found.items()}
    features = {split: seen for split, (_, seen) in found.items() if seen is not None}
    model = trainer.accelerator.unwrap_model(trainer.whole)
    if sharded():
        model = with_whole_parameters(model, plain(model.config))

    precision = "bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "fp32"
    return Trained(
        model, weights, parameters, stages, precision, probabilities, train_batches, weights_of_classes, features
    )
