"""The stages of a recipe, one after the other, each resumable."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import EarlyStoppingCallback

from brainmri.metrics.slice_classification import compute_metrics
from brainmri.training.arguments import stage_arguments
from brainmri.training.batches import SliceBatches
from brainmri.training.checkpoints import BEGINNING, ResumePoint, Seal, seal
from brainmri.training.feature_cache import AfterFrozen, Frozen, feature_batches
from brainmri.training.optimizer import set_frozen
from brainmri.training.processes import check_sharding, sharded, waiting_at_most, with_whole_parameters
from brainmri.training.streaming import StreamedImages
from brainmri.training.trainer import SliceTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from brainmri.recipe import Recipe, Stage

FINISHED, OUTCOME = "finished", "outcome.json"  # of each stage: its folder of kept weights, and its record in there


@dataclass(frozen=True)
class StageOutcome:
    """history: one dictionary per epoch, as in `history.csv`. best_epoch: counted from 1, the one whose weights stay.

    planned_epochs: those of the schedule where it ran to its end, which early stopping is too; those run where a limit
    of time or steps cut it short.
    """

    history: list[dict[str, Any]]
    best_epoch: int
    elapsed_s: float
    training_only_s: float
    samples: int
    samples_by_rank: list[int]
    planned_epochs: float


def run_stages(
    model: PreTrainedModel,
    recipe: Recipe,
    train: SliceBatches | StreamedImages,
    validation: SliceBatches,
    given: dict[str, Any],
    checkpoints: Path,
    seed: int,
    max_minutes: float | None,
    start: ResumePoint = BEGINNING,
    seal: Seal = seal,
    class_weights: Sequence[float] | None = None,
) -> tuple[SliceTrainer, list[StageOutcome]]:
    """Train `model` through every stage; it holds the kept weights of the last one afterwards.

    start: where to go on. seal: writes the manifest of a folder whose files are all there. class_weights: in the loss.

    Returns the last stage's trainer (to predict with) and an outcome for each stage.
    """
    outcomes = []
    if sharded():
        check_sharding(recipe.stages)
    else:  # what is sharded must be contiguous
        torch.nn.Module.to(model, memory_format=torch.channels_last)  # the wrapped `to` of transformers is not typed
    plain = type(model)
    for number, stage in enumerate(recipe.stages, 1):
        folder = checkpoints / f"stage-{number}"
        set_frozen(model, stage)
        assert train.augmentation_seed is not None
        train.augmentation_seed = seed + 1000 * (number - 1)
        arguments = stage_arguments(recipe, stage, given, seed, str(folder))
        train.sizes = stage.size_of_each(math.ceil(arguments.num_train_epochs)) or (recipe.input.size,)
        shared: dict[str, Any] = {"recipe": recipe, "stage": stage, "max_minutes": max_minutes, "whole": model}
        shared |= {"args": arguments, "compute_metrics": compute_metrics, "seal": seal, "class_weights": class_weights}
        on_images = SliceTrainer(model=model, train_dataset=train, eval_dataset=validation, **shared)
        if number < start.stage:
            assert start.finished_in
            outcomes.append(_load_finished(model, start.finished_in / f"stage-{number}" / FINISHED))
            continue
        features = folder / "features"
        trainer = _on_features(on_images, features, shared) if stage.cached_views else on_images
        resumed = number == start.stage and start.checkpoint is not None
        if stage.early_stopping:
            trainer.add_callback(EarlyStoppingCallback(stage.early_stopping.patience, stage.early_stopping.min_delta))
        with waiting_at_most(arguments.ddp_timeout):
            trainer.train(resume_from_checkpoint=str(start.checkpoint) if resumed else None)
        trainer.keep_average()
        if sharded():
            model = with_whole_parameters(model, plain(model.config))
        outcome = _outcome(trainer, number, stage)
        outcomes.append(outcome)
        if trainer.is_world_process_zero():
            finished = folder / FINISHED
            shutil.rmtree(finished, ignore_errors=True)  # of a later checkpoint than the one that was gone back to
            model.save_pretrained(finished)
            (finished / OUTCOME).write_text(json.dumps(vars(outcome)), encoding="utf-8")
            seal(finished)
            shutil.rmtree(features, ignore_errors=True)
        trainer.accelerator.wait_for_everyone()
    return on_images, outcomes


def _on_features(on_images: SliceTrainer, folder: Path, shared: dict[str, Any]) -> SliceTrainer:
    """A trainer of what follows the frozen part, on the features that this gives; its clock starts before them."""
    started = time.perf_counter()
    after = AfterFrozen(on_images.whole)
    views, images = on_images.stage.cached_views, on_images.train_dataset
    assert views and isinstance(images, SliceBatches) and isinstance(on_images.eval_dataset, SliceBatches)
    frozen = Frozen(on_images.whole, after, on_images.pixels_of, on_images.accelerator, on_images.seal)
    validation = feature_batches(frozen, on_images.eval_dataset, 1, folder / "validation")
    train = feature_batches(frozen, images, views, folder / "train")
    spent = time.perf_counter() - started
    return SliceTrainer(model=after, train_dataset=train, eval_dataset=validation, spent_s=spent, **shared)


def _load_finished(model: PreTrainedModel, finished: Path) -> StageOutcome:
    # By transformers, which saves its own networks under other names than their modules have.
    model.load_state_dict(type(model).from_pretrained(finished).state_dict())
    return StageOutcome(**json.loads((finished / OUTCOME).read_text(encoding="utf-8")))


def _outcome(trainer: SliceTrainer, number: int, stage: Stage) -> StageOutcome:
    """Read the epochs from the trainer's log, where a resume finds them again."""
    history: list[dict[str, Any]] = []
    for entry in trainer.state.log_history:
        if "train_accuracy" in entry:
            row: dict[str, Any] = {"stage": number, "epoch": round(entry["epoch"], 3)}
            row |= {key: entry[key] for key in ("learning_rate", "train_loss", "train_accuracy", "samples")}
            row |= {"validation_loss": None, "validation_accuracy": None, "seconds": entry["elapsed_s"]}
            history.append(row)
        elif history and "eval_accuracy" in entry:
            history[-1] |= {"validation_loss": entry["eval_loss"], "validation_accuracy": entry["eval_accuracy"]}
            history[-1]["seconds"] = entry["elapsed_s"]
    state = trainer.state
    steps_per_epoch = state.global_step / max(state.epoch or 0, 1e-9)
    best = len(history)
    if stage.keep == "best" and trainer.args.load_best_model_at_end and state.best_global_step:
        best = max(1, round(state.best_global_step / steps_per_epoch))
    return StageOutcome(
        history=history,
        best_epoch=best,
        elapsed_s=trainer.clock.elapsed_s,
        training_only_s=trainer.clock.elapsed_s - trainer.clock.aside_s,
        samples=int(sum(row["samples"] for row in history)),
        samples_by_rank=trainer.samples_by_rank,
        planned_epochs=history[-1]["epoch"] if trainer.cut_short else state.max_steps / steps_per_epoch,
    )
