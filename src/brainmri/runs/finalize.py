"""The run folder: everything that a finished run leaves, `result.json` last. Nothing else writes one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from brainmri.data.dataset import PreparedData, without_sources
from brainmri.data.duplicates.sketches import FILES as SKETCHES
from brainmri.data.duplicates.sketches import sketches
from brainmri.data.pixel_cache import Summaries, image_summaries
from brainmri.environment import environment
from brainmri.evaluation.baselines import cached_baselines, streamed_baselines
from brainmri.evaluation.inference import predictions_table, write_predictions
from brainmri.evaluation.kinds import training_kinds
from brainmri.evaluation.ood.fit import fit_ood_detector
from brainmri.files import finishing, sha256
from brainmri.metrics.calibration import apply_temperature, uncertainty_record
from brainmri.metrics.classification import evaluate_predictions
from brainmri.metrics.detection import detection
from brainmri.metrics.patients import SliceTable, choose_pooling, patient_scores
from brainmri.models.introspect import resolve
from brainmri.models.load import save_model
from brainmri.models.preprocessing import image_processor
from brainmri.recipe import Recipe
from brainmri.reporting import plots
from brainmri.reporting.checklists.evidence import DATA
from brainmri.reporting.model_card import write_card
from brainmri.reporting.run_report import write_figures, write_report
from brainmri.runs.folder import RunFolder
from brainmri.runs.table import as_trained
from brainmri.schemas import (
    DataPart,
    Detection,
    OODRecord,
    Parameters,
    PatientScores,
    RunResult,
    Scores,
    TrainingKinds,
    TrainingPart,
    Uncertainty,
    Unit,
    write,
    write_result,
)
from brainmri.training.arguments import RunArguments, world_size
from brainmri.training.batches import SliceBatches
from brainmri.training.loss import loss_of
from brainmri.training.train import Trained
from brainmri.transforms.augment import augment, random_parameters

logger = logging.getLogger(__name__)
NOT_ASKED = "No OOD detector was fitted: the run was asked to leave it out (--ood false)."
HISTORY = (
    *("stage", "epoch", "learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"),
    "seconds",
)


@dataclass(frozen=True)
class RunPlan:
    """What a run was asked to do.

    Attributes:
        run: its own flags.
        recipe: resolved.
        seed: of the training.
        command: how it was called.
    """

    run: RunArguments
    recipe: Recipe
    seed: int
    command: str


@dataclass(frozen=True)
class ScoredSplit:
    """What a model said of the images of one split.

    Attributes:
        labels: (N,) class numbers.
        probabilities: (N, C), uncalibrated.
        groups, sites: (N,) group ids, and where each image comes from ("" if not known).
        images: (N,) `duplicate_id`: copies of one image share it. unit: what a group is.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    groups: list[str]
    sites: list[str]
    images: list[str]
    unit: Unit

    def slice_table(self, temperature: float) -> SliceTable:
        """What is measured by patient: calibrated, as `predict` pools them."""
        return SliceTable(
            self.labels, apply_temperature(self.probabilities, temperature), self.groups, self.images, self.unit
        )


@dataclass(frozen=True)
class Measured:
    """What follows from the predictions of a run. scores: of each split. patients: of the test split."""

    scores: dict[str, Scores]
    detection: Detection | None
    patients: PatientScores
    uncertainty: Uncertainty


def finalize(
    folder: RunFolder, trained: Trained, plan: RunPlan, data: PreparedData, fold: int | None = None
) -> RunResult:
    """Fill the run folder with what a training gave; `result.json` comes last. The main process calls it.

    data: that was trained on. fold: of a cross-validation.
    """
    processor = image_processor(plan.recipe.input.size, plan.recipe.input.normalize)
    with finishing(folder.path) as run_dir:
        save_model(trained.model, processor, run_dir)
        summaries = image_summaries(data, plan.recipe.input.size)
        if not data.streamed:  # those of shards are gone
            for split, name in SKETCHES.items():
                np.save(run_dir / name, sketches(summaries.thumbnails[data.rows(split)]))
        scored = {split: (trained.probabilities[split], seen) for split, seen in trained.features.items()}
        ood = fit_ood_detector(run_dir, trained.model, processor, data, scored) if plan.run.ood else NOT_ASKED
        logger.info("Measuring: figures with their intervals, trivial baselines on the same images, report and card")
        recipe = as_trained(plan.recipe, folder.settings)
        write(without_sources(data), run_dir / DATA)
        text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        (run_dir / "recipe.yaml").write_text(text, encoding="utf-8")
        history = pd.DataFrame([row for stage in trained.stages for row in stage.history])
        history[list(HISTORY)].to_csv(run_dir / "history.csv", index=False, float_format="%.9g", lineterminator="\n")
        tables = [
            predictions_table(data.index.iloc[data.rows(split)], trained.probabilities[split], data.classes, fold)
            for split in ("validation", "test")
        ]
        write_predictions(pd.concat(tables), run_dir / "predictions.csv")
        splits = {split: scored_split(data, split, values) for split, values in trained.probabilities.items()}
        kinds = None if data.streamed else training_kinds(data, trained.probabilities["test"])
        measured = measure(splits, data.classes, ood, kinds)
        result = _result(run_dir, trained, plan, data, summaries, fold, history, measured)
        (run_dir / "figures").mkdir(exist_ok=True)
        _data_figures(run_dir / "figures", plan, data, trained)
        write_run(run_dir, result, measured.uncertainty)
    folder.finish(keep_checkpoints=plan.run.keep_checkpoints)
    return result


def measure(
    splits: dict[str, ScoredSplit], classes: list[str], ood: OODRecord | str, kinds: TrainingKinds | None = None
) -> Measured:
    """Every figure of `validation` and `test`, and the scores of further splits.

    Everything is chosen on `validation`, the pooling of a patient's slices too.

    ood: the detector's record, or why there is none. kinds: of the training images, or None.
    """
    validation, test = splits["validation"], splits["test"]
    found = detection(
        validation.labels,
        validation.probabilities,
        test.labels,
        test.probabilities,
        test.groups,
        test.sites,
        classes,
    )
    uncertainty = uncertainty_record(
        validation.labels,
        validation.probabilities,
        test.labels,
        test.probabilities,
        classes,
        test_groups=test.groups,
        ood=ood,
    )
    temperature = uncertainty.calibration.temperature if uncertainty.calibration else 1.0
    pooling = choose_pooling(validation.slice_table(temperature), classes)
    return Measured(
        scores={
            name: evaluate_predictions(split.labels, split.probabilities, split.groups, classes)
            for name, split in splits.items()
        },
        detection=found,
        patients=patient_scores(test.slice_table(temperature), classes, pooling, found),
        uncertainty=uncertainty.model_copy(update={"pooling": pooling, "kinds": kinds}),
    )


def write_run(run_dir: Path, result: RunResult, uncertainty: Uncertainty) -> None:
    """Write `uncertainty.json`, `result.json`, and what is made of a run folder's files: figures, report and card.

    The folder holds `history.csv` and `predictions.csv` already. A card is written where a network lies there too.
    """
    write(uncertainty, run_dir / "uncertainty.json")
    write_result(result, run_dir)
    (run_dir / "figures").mkdir(exist_ok=True)
    write_figures(run_dir)
    write_report(run_dir)
    if (run_dir / "config.json").is_file():
        write_card(run_dir)


def scored_split(data: PreparedData, split: str, probabilities: NDArray[np.float64]) -> ScoredSplit:
    """What a model said of the images of a split, in the order of the index."""
    rows = data.rows(split)
    table = data.index.iloc[rows]
    return ScoredSplit(
        data.labels(rows),
        probabilities,
        table["group_id"].tolist(),
        table["site"].tolist(),
        table["duplicate_id"].tolist(),
        data.patient_unit(),
    )


def _result(
    run_dir: Path,
    trained: Trained,
    plan: RunPlan,
    data: PreparedData,
    summaries: Summaries,
    fold: int | None,
    history: pd.DataFrame,
    measured: Measured,
) -> RunResult:
    run, recipe, uncertainty = plan.run, plan.recipe, measured.uncertainty
    return RunResult(
        arch=run.arch,
        recipe_title=recipe.title,
        source=recipe.source,
        published=recipe.published,
        protocol=run.protocol,
        seed=plan.seed,
        split_seed=data.info.split_seed,
        fold=fold,
        weights=trained.weights,
        normalize=recipe.input.normalize,
        command=plan.command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data=DataPart(
            **dict(data.info.summary()), train_after_oversampling=len(trained.train) if recipe.oversample else None
        ),
        parameters=Parameters(**trained.parameters),
        model_sha256=sha256(run_dir / "model.safetensors"),
        training=_training(trained, history, recipe, resolve(run.arch, run.protocol).epochs),
        test=measured.scores["test"],
        validation=measured.scores["validation"],
        train=measured.scores.get("train"),
        detection=measured.detection,
        patients=measured.patients,
        pooling=uncertainty.pooling,
        kinds=uncertainty.kinds,
        calibration=uncertainty.calibration,
        conformal=uncertainty.conformal,
        ood=uncertainty.ood,
        floors=streamed_baselines(data.info.counts) if data.streamed else cached_baselines(data, summaries),
        environment=environment(),
    )


def _training(trained: Trained, history: pd.DataFrame, recipe: Recipe, epochs_scheduled: int) -> TrainingPart:
    stages = trained.stages
    best = int(history["train_accuracy"].to_numpy().argmax())
    training_only = sum(stage.training_only_s for stage in stages)
    planned = sum(stage.planned_epochs for stage in stages)
    return TrainingPart(
        epochs_run=round(sum(stage.history[-1]["epoch"] for stage in stages), 3),
        epochs_scheduled=epochs_scheduled,
        schedule_fraction=min(1.0, round(planned / epochs_scheduled, 4)),
        best_epoch=stages[-1].best_epoch + sum(len(stage.history) for stage in stages[:-1]),
        time_to_converge_s=round(sum(stage.elapsed_s for stage in stages), 3),
        training_only_s=round(training_only, 3),
        images_per_second=round(sum(stage.samples for stage in stages) / training_only, 3),
        world_size=world_size(),
        samples_by_rank=stages[-1].samples_by_rank,
        precision=trained.precision,
        best_train_accuracy=float(history["train_accuracy"].iloc[best]),
        validation_accuracy_then=_number(history["validation_accuracy"].iloc[best]),
        loss=loss_of(recipe),
        class_weights=trained.class_weights,
    )


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _data_figures(folder: Path, plan: RunPlan, data: PreparedData, trained: Trained) -> None:
    name, arch = f"{data.info.name} ({data.info.split} split)", plan.run.arch
    plots.class_counts(data.info.counts, folder / "class_counts.png", title=f"{name}: images per class and split")
    plots.sample_grid(data, folder / "samples.png")
    _augmentation_figure(folder, plan, data, trained.train, f"{name}: augmentation of {arch}")
    errors = folder / "confident_errors.png"
    plots.confident_errors(data, data.rows("test"), trained.probabilities["test"], errors, title=arch)


def _augmentation_figure(folder: Path, plan: RunPlan, data: PreparedData, train: SliceBatches, title: str) -> None:
    import torch

    chosen = np.random.default_rng(0).choice(len(train), min(8, len(train)), replace=False)
    before = torch.from_numpy(train.pixels.read(train.rows[chosen])).expand(-1, 3, -1, -1)
    after = augment(before, torch.from_numpy(random_parameters(len(chosen), 0, 0)), plan.recipe.augmentations())
    before, after = (images.permute(0, 2, 3, 1) for images in (before, after))
    labels = [data.classes[k] for k in train.labels[chosen]]
    plots.augmentation_grid(before.numpy(), after.numpy(), labels, folder / "augmentation.png", title=title)
