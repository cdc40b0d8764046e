"""The run folder: everything that a finished run leaves, `result.json` last."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml
from scipy.special import softmax

from brainmri.data.augmentation import augment, draws
from brainmri.data.batches import SliceBatches
from brainmri.data.contents import content_fingerprint
from brainmri.data.dataset import PreparedData
from brainmri.data.storage import cache_folder
from brainmri.durable import sha256
from brainmri.evaluation import figures
from brainmri.evaluation.calibration import make_trust
from brainmri.evaluation.detection import detection
from brainmri.evaluation.floors import FLOORS_VERSION, compute_floors, streamed_floors
from brainmri.evaluation.metrics import evaluate_predictions
from brainmri.evaluation.predictions import predictions_table, write_predictions
from brainmri.evaluation.report import write_figures, write_report
from brainmri.evaluation.results import json_text, write_result
from brainmri.hub.cards import write_card
from brainmri.training.arguments import RunArguments, command_line, world_size
from brainmri.training.machine import environment
from brainmri.training.recipe import Recipe
from brainmri.training.stages import StageOutcome
from brainmri.training.trainer import SliceTrainer

if TYPE_CHECKING:
    from numpy.typing import NDArray

HISTORY = (
    *("stage", "epoch", "learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"),
    "seconds",
)


def predict(trainer: SliceTrainer, batches: SliceBatches) -> NDArray[np.float64]:
    """Uncalibrated probabilities (N, C) of the rows of `batches`, in float32; every process must call it.

    The finished model leaves its mixed precision here, so that whoever loads it gets the same probabilities.
    """
    trainer.accelerator.native_amp = False  # else a trainer that has not trained (features did) wraps its model anew
    trainer.model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    logits = trainer.predict(batches).predictions
    return softmax(np.asarray(logits, dtype=np.float64), axis=1)


def floors_of(data: PreparedData) -> dict[str, float]:
    """The trivial floors of these files and this split, computed once and kept in the cache by what the files hold."""
    path = cache_folder() / f"floors-v{FLOORS_VERSION}" / f"{content_fingerprint(data)}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")  # another run may be at it too
        unfinished.write_text(json.dumps(compute_floors(data)), encoding="utf-8")
        unfinished.replace(path)
    return dict(json.loads(path.read_text(encoding="utf-8")))


def write_run(
    run_dir: Path,
    *,
    run: RunArguments,
    recipe: Recipe,
    epochs_scheduled: int,
    seed: int,
    data: PreparedData,
    train: SliceBatches,
    weights: str,
    parameters: dict[str, int],
    trainer: SliceTrainer,
    precision_probe: dict[str, float] | None,
    stages: list[StageOutcome],
    probabilities: dict[str, NDArray[np.float64]],
    reject: dict[str, Any] | str,
    fold: int | None = None,
) -> dict[str, Any]:
    """Write every file of the run folder but the model, and return the contents of `result.json`.

    precision_probe: seconds of a step in each precision, where they decided. probabilities: of the splits that were
    scored (`validation` and `test`, perhaps `train`). reject: the reject rule's record, or why there is none. fold: of
    a cross-validation.
    """
    (run_dir / "recipe.yaml").write_text(
        yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    history = pd.DataFrame([row for stage in stages for row in stage.history])
    history[list(HISTORY)].to_csv(run_dir / "history.csv", index=False, float_format="%.9g", lineterminator="\n")
    tables = [
        predictions_table(data.index.iloc[data.rows(split)], probabilities[split], data.classes, fold)
        for split in ("validation", "test")
    ]
    write_predictions(pd.concat(tables), run_dir / "predictions.csv")
    truth = {split: data.labels(data.rows(split)) for split in probabilities}
    groups = {split: data.index["group_id"].to_numpy()[data.rows(split)].tolist() for split in probabilities}
    trust = make_trust(
        truth["validation"],
        probabilities["validation"],
        truth["test"],
        probabilities["test"],
        data.classes,
        test_groups=groups["test"],
        reject=reject,
    )
    (run_dir / "trust.json").write_text(json_text(trust), encoding="utf-8")
    scores = {
        split: evaluate_predictions(truth[split], values, groups[split], data.classes)
        for split, values in probabilities.items()
    }
    result = {
        "schema_version": 1,
        "arch": run.arch,
        "recipe_title": recipe.title,
        "source": recipe.source,
        "published": recipe.published.model_dump() if recipe.published else None,
        "protocol": run.protocol,
        "seed": seed,
        "split_seed": data.info["split_seed"],
        "fold": fold,
        "weights": weights,
        "normalize": recipe.input.normalize,
        "command": command_line(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            key: data.info[key]
            for key in ("name", "fingerprint", "layout", "simulated", "origin", "split", "leaky", "classes", "counts")
        }
        | {"train_after_oversampling": len(train) if recipe.oversample else None, "groups": data.info["groups"]},
        "parameters": parameters,
        "model_sha256": sha256(run_dir / "model.safetensors"),
        "training": _training(stages, history, trainer, epochs_scheduled) | {"precision_probe": precision_probe},
        "test": scores["test"],
        "validation": scores["validation"],
        "train": scores.get("train"),
        "detection": detection(
            truth["validation"],
            probabilities["validation"],
            truth["test"],
            probabilities["test"],
            groups["test"],
            data.index["site"].iloc[data.rows("test")].tolist(),
            data.classes,
        ),
        "calibration": trust["calibration"],
        "conformal": trust["conformal"],
        "reject": trust["reject"],
        "floors": streamed_floors(data.info["counts"]) if "streamed" in data.info else floors_of(data),
        "environment": environment(),
    }
    (run_dir / "figures").mkdir(exist_ok=True)
    _data_figures(run_dir / "figures", run.arch, recipe, data, train)
    figures.confident_errors(
        data, data.rows("test"), probabilities["test"], run_dir / "figures" / "confident_errors.png", title=run.arch
    )
    write_result(result, run_dir)
    write_figures(run_dir)
    write_report(run_dir)
    write_card(run_dir)
    return result


def _training(
    stages: list[StageOutcome], history: pd.DataFrame, trainer: SliceTrainer, epochs_scheduled: int
) -> dict[str, Any]:
    best = int(history["train_accuracy"].to_numpy().argmax())
    training_only = sum(stage.training_only_s for stage in stages)
    planned = sum(stage.planned_epochs for stage in stages)
    return {
        "epochs_run": round(sum(stage.history[-1]["epoch"] for stage in stages), 3),
        "epochs_scheduled": epochs_scheduled,
        "schedule_fraction": min(1.0, round(planned / epochs_scheduled, 4)),
        "best_epoch": stages[-1].best_epoch + sum(len(stage.history) for stage in stages[:-1]),
        "time_to_converge_s": round(sum(stage.elapsed_s for stage in stages), 3),
        "training_only_s": round(training_only, 3),
        "images_per_second": round(sum(stage.samples for stage in stages) / training_only, 3),
        "world_size": world_size(),
        "samples_by_rank": stages[-1].samples_by_rank,
        "precision": "bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "fp32",
        "best_train_accuracy": float(history["train_accuracy"].iloc[best]),
        "validation_accuracy_then": _number(history["validation_accuracy"].iloc[best]),
    }


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _data_figures(folder: Path, arch: str, recipe: Recipe, data: PreparedData, train: SliceBatches) -> None:
    import torch

    name = f"{data.info['name']} ({data.info['split']} split)"
    figures.class_counts(data.info["counts"], folder / "class_counts.png", title=f"{name}: images per class and split")
    figures.sample_grid(data, folder / "samples.png")
    chosen = np.random.default_rng(0).choice(len(train), min(8, len(train)), replace=False)
    before = torch.from_numpy(train.pixels.read(train.rows[chosen])).expand(-1, 3, -1, -1)
    after = augment(before, torch.from_numpy(draws(len(chosen), 0, 0)), recipe.augmentations())
    before, after = (pictures.permute(0, 2, 3, 1) for pictures in (before, after))
    labels = [data.classes[k] for k in train.labels[chosen]]
    title = f"{name}: augmentation of {arch}"
    figures.augmentation_grid(before.numpy(), after.numpy(), labels, folder / "augmentation.png", title=title)
