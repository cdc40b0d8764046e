"""The stages of a recipe, one after the other, each resumable."""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import EarlyStoppingCallback

from brainmri.data.batches import SliceBatches
from brainmri.data.streaming import StreamedPictures
from brainmri.evaluation.metrics import compute_metrics
from brainmri.training.arguments import stage_arguments
from brainmri.training.features import AfterFrozen, feature_batches
from brainmri.training.parameters import set_frozen
from brainmri.training.processes import check_sharding, sharded, waiting_at_most, with_whole_parameters
from brainmri.training.trainer import SliceTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from brainmri.training.recipe import Recipe, Stage


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


def resume_point(checkpoints: Path, asked: str) -> tuple[int, str | None]:
    """The stage (from 1) and its checkpoint to go on from; None where the stage has none yet and starts anew.

    asked: the path of a checkpoint, or `true` for the latest one.

    Raises:
        ValueError: if there is no such checkpoint.
    """
    if asked.lower() not in ("true", "last", "latest"):
        path = Path(asked)
        if not _complete(path) or not path.parent.name.startswith("stage-"):
            raise ValueError(
                f"--resume_from_checkpoint {asked}: not a complete checkpoint (DIR/checkpoints/stage-N/checkpoint-M)"
            )
        return int(path.parent.name.removeprefix("stage-")), str(path)
    finished = len(list(checkpoints.glob("stage-*/outcome.json")))
    found = sorted(
        (path for path in checkpoints.glob(f"stage-{finished + 1}/checkpoint-*") if _complete(path)),
        key=lambda path: int(path.name.removeprefix("checkpoint-")),
    )
    if not found and not finished:
        raise ValueError(
            f"--resume_from_checkpoint {asked}: no complete checkpoint under {checkpoints}; --overwrite starts anew"
        )
    return finished + 1, str(found[-1]) if found else None


def _complete(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: the trainer's state comes last, and a killed run may leave half."""
    try:
        return isinstance(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


def run_stages(
    model: PreTrainedModel,
    recipe: Recipe,
    train: SliceBatches | StreamedPictures,
    validation: SliceBatches,
    given: dict[str, Any],
    checkpoints: Path,
    seed: int,
    max_minutes: float | None,
) -> tuple[SliceTrainer, list[StageOutcome]]:
    """Train `model` through every stage; it holds the kept weights of the last one afterwards.

    Returns the last stage's trainer (to predict with) and an outcome for each stage.
    """
    asked = given.get("resume_from_checkpoint")
    first, checkpoint = resume_point(checkpoints, str(asked)) if asked else (1, None)
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
        shared |= {"args": arguments, "compute_metrics": compute_metrics}
        on_pictures = SliceTrainer(model=model, train_dataset=train, eval_dataset=validation, **shared)
        if number < first:
            _load_finished(model, folder)
            outcomes.append(StageOutcome(**json.loads((folder / "outcome.json").read_text(encoding="utf-8"))))
            continue
        features = folder / "features"
        trainer = _on_features(on_pictures, features, shared) if stage.feature_views else on_pictures
        if stage.early_stopping:
            trainer.add_callback(EarlyStoppingCallback(stage.early_stopping.patience, stage.early_stopping.min_delta))
        with waiting_at_most(arguments.ddp_timeout):
            trainer.train(resume_from_checkpoint=checkpoint if number == first else None)
        trainer.keep_average()
        if sharded() and number < len(recipe.stages):
            model = with_whole_parameters(model, plain(model.config))
        outcome = _outcome(trainer, number, stage)
        outcomes.append(outcome)
        if trainer.is_world_process_zero():
            if number < len(recipe.stages):
                model.save_pretrained(folder / "finished")
                (folder / "outcome.json").write_text(json.dumps(vars(outcome)), encoding="utf-8")
            shutil.rmtree(features, ignore_errors=True)
        trainer.accelerator.wait_for_everyone()
    return on_pictures, outcomes


def _on_features(on_pictures: SliceTrainer, folder: Path, shared: dict[str, Any]) -> SliceTrainer:
    """A trainer of what follows the frozen part, on the features that this gives; its clock starts before them."""
    started = time.perf_counter()
    after = AfterFrozen(on_pictures.whole)
    views, pictures = on_pictures.stage.feature_views, on_pictures.train_dataset
    assert views and isinstance(pictures, SliceBatches) and isinstance(on_pictures.eval_dataset, SliceBatches)
    validation = feature_batches(on_pictures, after, on_pictures.eval_dataset, 1, folder / "validation.npy")
    train = feature_batches(on_pictures, after, pictures, views, folder / "train.npy")
    spent = time.perf_counter() - started
    return SliceTrainer(model=after, train_dataset=train, eval_dataset=validation, spent_s=spent, **shared)


def _load_finished(model: PreTrainedModel, folder: Path) -> None:
    # By transformers, which saves its own networks under other names than their modules have.
    model.load_state_dict(type(model).from_pretrained(folder / "finished").state_dict())


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
        elapsed_s=trainer.elapsed_s,
        training_only_s=trainer.elapsed_s - trainer.aside_s,
        samples=int(sum(row["samples"] for row in history)),
        samples_by_rank=trainer.samples_by_rank,
        planned_epochs=history[-1]["epoch"] if trainer.cut_short else state.max_steps / steps_per_epoch,
    )
