"""The run folder: everything that a finished run leaves, `result.json` last."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from brainmri.data.dataset import PreparedData
from brainmri.environment import environment
from brainmri.evaluation.baselines import cached_baselines, streamed_baselines
from brainmri.evaluation.ood.fit import fit_ood_detector
from brainmri.evaluation.predictions import predictions_table, write_predictions
from brainmri.files import finishing, sha256
from brainmri.metrics.calibration import uncertainty_record
from brainmri.metrics.classification import evaluate_predictions
from brainmri.metrics.detection import detection
from brainmri.models.introspect import resolve
from brainmri.models.load import save_model
from brainmri.models.preprocessing import image_processor
from brainmri.recipe import Recipe
from brainmri.reporting import plots
from brainmri.reporting.model_card import write_card
from brainmri.reporting.run_report import write_figures, write_report
from brainmri.runs.folder import RunFolder
from brainmri.schemas import json_text, write_result
from brainmri.training.arguments import RunArguments, world_size
from brainmri.training.batches import SliceBatches
from brainmri.training.train import Trained
from brainmri.transforms.augment import augment, random_parameters

HISTORY = (
    *("stage", "epoch", "learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"),
    "seconds",
)


def finalize(
    folder: RunFolder,
    trained: Trained,
    *,
    run: RunArguments,
    recipe: Recipe,
    seed: int,
    data: PreparedData,
    command: str,
    fold: int | None = None,
) -> dict[str, Any]:
    """Fill the run folder with what a training gave; `result.json` comes last. The main process calls it.

    data: that was trained on. command: how the run was called. fold: of a cross-validation.

    Returns:
        The contents of `result.json`.
    """
    processor = image_processor(recipe.input.size, recipe.input.normalize)
    with finishing(folder.path) as run_dir:
        save_model(trained.model, processor, run_dir)
        ood = fit_ood_detector(run_dir, trained.model, processor, data)
        result = _write(run_dir, trained, run, recipe, seed, data, command, fold, ood)
    folder.finish(keep_checkpoints=run.keep_checkpoints)
    return result


def _write(
    run_dir: Path,
    trained: Trained,
    run: RunArguments,
    recipe: Recipe,
    seed: int,
    data: PreparedData,
    command: str,
    fold: int | None,
    ood: dict[str, Any] | str,
) -> dict[str, Any]:
    """Every file of the run folder but the model. ood: the detector's record, or why there is none."""
    probabilities, train = trained.probabilities, trained.train
    epochs_scheduled = resolve(run.arch, run.protocol).epochs
    (run_dir / "recipe.yaml").write_text(
        yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    history = pd.DataFrame([row for stage in trained.stages for row in stage.history])
    history[list(HISTORY)].to_csv(run_dir / "history.csv", index=False, float_format="%.9g", lineterminator="\n")
    tables = [
        predictions_table(data.index.iloc[data.rows(split)], probabilities[split], data.classes, fold)
        for split in ("validation", "test")
    ]
    write_predictions(pd.concat(tables), run_dir / "predictions.csv")
    truth = {split: data.labels(data.rows(split)) for split in probabilities}
    groups = {split: data.index["group_id"].to_numpy()[data.rows(split)].tolist() for split in probabilities}
    uncertainty = uncertainty_record(
        truth["validation"],
        probabilities["validation"],
        truth["test"],
        probabilities["test"],
        data.classes,
        test_groups=groups["test"],
        ood=ood,
    )
    (run_dir / "uncertainty.json").write_text(json_text(uncertainty), encoding="utf-8")
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
        "weights": trained.weights,
        "normalize": recipe.input.normalize,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            key: data.info[key]
            for key in ("name", "fingerprint", "layout", "simulated", "origin", "split", "leaky", "classes", "counts")
        }
        | {"train_after_oversampling": len(train) if recipe.oversample else None, "groups": data.info["groups"]},
        "parameters": trained.parameters,
        "model_sha256": sha256(run_dir / "model.safetensors"),
        "training": _training(trained, history, epochs_scheduled),
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
        "calibration": uncertainty["calibration"],
        "conformal": uncertainty["conformal"],
        "ood": uncertainty["ood"],
        "floors": streamed_baselines(data.info["counts"]) if "streamed" in data.info else cached_baselines(data),
        "environment": environment(),
    }
    (run_dir / "figures").mkdir(exist_ok=True)
    _data_figures(run_dir / "figures", run.arch, recipe, data, train)
    plots.confident_errors(
        data, data.rows("test"), probabilities["test"], run_dir / "figures" / "confident_errors.png", title=run.arch
    )
    write_result(result, run_dir)
    write_figures(run_dir)
    write_report(run_dir)
    write_card(run_dir)
    return result


def _training(trained: Trained, history: pd.DataFrame, epochs_scheduled: int) -> dict[str, Any]:
    stages = trained.stages
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
        "precision": trained.precision,
        "best_train_accuracy": float(history["train_accuracy"].iloc[best]),
        "validation_accuracy_then": _number(history["validation_accuracy"].iloc[best]),
    }


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _data_figures(folder: Path, arch: str, recipe: Recipe, data: PreparedData, train: SliceBatches) -> None:
    import torch

    name = f"{data.info['name']} ({data.info['split']} split)"
    plots.class_counts(data.info["counts"], folder / "class_counts.png", title=f"{name}: images per class and split")
    plots.sample_grid(data, folder / "samples.png")
    chosen = np.random.default_rng(0).choice(len(train), min(8, len(train)), replace=False)
    before = torch.from_numpy(train.pixels.read(train.rows[chosen])).expand(-1, 3, -1, -1)
    after = augment(before, torch.from_numpy(random_parameters(len(chosen), 0, 0)), recipe.augmentations())
    before, after = (pictures.permute(0, 2, 3, 1) for pictures in (before, after))
    labels = [data.classes[k] for k in train.labels[chosen]]
    title = f"{name}: augmentation of {arch}"
    plots.augmentation_grid(before.numpy(), after.numpy(), labels, folder / "augmentation.png", title=title)
