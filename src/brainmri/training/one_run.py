"""One training run, from the pictures of a split to the finished run folder."""

from __future__ import annotations

import logging
from typing import Any

from accelerate import PartialState
from transformers import set_seed

from brainmri.data.batches import SliceBatches
from brainmri.data.binary import class_without_tumour
from brainmri.data.cache import PixelCache
from brainmri.data.dataset import SPLITS, PreparedData, oversampled
from brainmri.data.exchange import Exchange
from brainmri.data.shards import Shards
from brainmri.data.streaming import StreamedPictures, class_of
from brainmri.evaluation.finishing import finishing
from brainmri.evaluation.reject.fitting import fitted_beside
from brainmri.models.build import build_model, parameter_counts, synchronized
from brainmri.models.preprocessing import image_processor
from brainmri.models.saving import save_model
from brainmri.training.arguments import RunArguments, batch_advice, stage_arguments
from brainmri.training.main_process import first_in_main_process
from brainmri.training.outcome import predict, write_run
from brainmri.training.parameters import set_frozen
from brainmri.training.precision import bf16_is_faster, precision_probe
from brainmri.training.processes import sharded, with_whole_parameters
from brainmri.training.recipe import Recipe, resolve
from brainmri.training.run_folder import RunFolder
from brainmri.training.stages import run_stages

logger = logging.getLogger(__name__)


def exchange_of(data: PreparedData, pixels: PixelCache, recipe: Recipe) -> Exchange | None:
    """What the recipe's training pictures take from each other; None if nothing."""
    widths = recipe.augmentations()
    if not (widths.levels or widths.transplant or widths.half_mirror):
        return None
    rows = data.rows("train")
    known = data.outlines()
    found = {
        row: known[source]
        for row, source in zip(rows.tolist(), data.index["source"].iloc[rows], strict=True)
        if source in known
    }
    name = class_without_tumour(data.classes)
    if (widths.transplant or widths.half_mirror) and not (found and name):
        logger.info("The data has no outlines (prepare_data.py --outlines): no tumour is given or taken.")
    healthy = data.classes.index(name) if name else None
    return Exchange(pixels, rows, data.labels(rows), widths, found, healthy)


def train_once(
    run: RunArguments,
    given: dict[str, Any],
    recipe: Recipe,
    seed: int,
    data: PreparedData,
    by_size: dict[int, PixelCache],
    folder: RunFolder,
    state: PartialState,
    fold: int | None = None,
    shards: Shards | None = None,
) -> dict[str, Any] | None:
    """Train on `data`, whose pictures `by_size` holds, and fill `folder`, which was looked at and knows the data.

    shards: whence the training pictures are streamed; `data` then holds the other splits, and a few of them.

    Returns the contents of `result.json`, in the main process only.
    """
    given = dict(given)  # the precision that is chosen here is not that of the next run
    arguments = [stage_arguments(recipe, stage, given, seed, str(folder.path)) for stage in recipe.stages]

    # ------------------------------------------------------------------ pictures
    pixels = by_size[recipe.input.size]
    as_they_are = {split: SliceBatches(pixels, data.rows(split), data.labels(data.rows(split))) for split in SPLITS}
    train_rows = as_they_are["train"].rows
    if recipe.oversample:
        train_rows = oversampled(train_rows, as_they_are["train"].labels, seed)
    pictures = data.index["picture_id"].to_numpy()[train_rows] if recipe.one_file_per_picture else None
    train = SliceBatches(
        pixels,
        train_rows,
        data.labels(train_rows),
        seed,
        by_size,
        pictures,
        exchange_of(data, pixels, recipe),
    )
    trained = StreamedPictures(shards, class_of(shards, data), recipe.input.size, seed) if shards else train
    counts = ", ".join(f"{split} {len(batches)}" for split, batches in (as_they_are | {"train": trained}).items())
    logger.info("Data: %s, split %r, %s", data.info["name"], data.info["split"], counts)
    if data.info["leaky"]:
        logger.info("This split LEAKS: images of one group stand on both sides. Its accuracies rank nothing.")

    # ------------------------------------------------------------------ model
    set_seed(seed)
    model, weights = first_in_main_process(state, lambda: build_model(recipe, data.classes, run.weights))
    if run.sync_batchnorm:
        model = synchronized(model)
    set_frozen(model, recipe.stages[-1])
    parameters = parameter_counts(model)
    if advice := batch_advice(recipe, arguments[0]):
        logger.info(advice)
    logger.info(
        "Model: %s, {total:,} parameters ({trainable:,} trainable), weights: %s".format(**parameters), run.arch, weights
    )

    # ------------------------------------------------------------------ training, then test is read once
    start = folder.begin(weights)
    probe = None
    if not {"bf16", "fp16"} & (given.keys() | recipe.training_arguments.keys()):
        probe = precision_probe(model, recipe, arguments, len(trained), folder.checkpoints / "precision.json")
    if probe:
        given["bf16"] = bf16_is_faster(probe)
        logger.info("Precision: %s, as a step takes %s s", "bf16" if given["bf16"] else "fp32", probe)
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
    )
    scored = ["validation", "test"] + ["train"] * run.evaluate_train
    probabilities = {split: predict(trainer, as_they_are[split]) for split in scored}
    model = trainer.accelerator.unwrap_model(trainer.whole)
    if sharded():
        model = with_whole_parameters(model, plain(model.config))

    # ------------------------------------------------------------------ run folder
    if not state.is_main_process:
        return None
    processor = image_processor(recipe.input.size, recipe.input.normalize)
    with finishing(folder.path) as run_dir:
        save_model(model, processor, run_dir)
        reject = fitted_beside(run_dir, model, processor, data)
        result = write_run(
            run_dir,
            run=run,
            recipe=recipe,
            epochs_scheduled=resolve(run.arch, run.protocol).epochs,
            seed=seed,
            data=data,
            train=train,
            weights=weights,
            parameters=parameters,
            trainer=trainer,
            precision_probe=probe,
            stages=stages,
            probabilities=probabilities,
            reject=reject,
            fold=fold,
        )
    folder.finish(keep_checkpoints=run.keep_checkpoints)
    return result
