"""The runs of a cross-validation as one: predictions pooled, every image tested once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from brainmri.data.dataset import PreparedData
from brainmri.data.folds import Folds
from brainmri.evaluation.inference import read_predictions, write_predictions
from brainmri.runs.finalize import ScoredSplit, measure, write_run
from brainmri.schemas import Baselines, RunResult, Scores, Unit, read_result
from brainmri.wording import BASELINES

SUMS = ("time_to_converge_s", "training_only_s")
POOLED = "Pooled from several networks, which have a rule for refusing an image each, in the folders of their folds."
MEANS = ("epochs_run", "schedule_fraction", "images_per_second", "best_train_accuracy", "validation_accuracy_then")


def pool(run_dir: Path, folders: list[Path], data: PreparedData, folds: Folds) -> RunResult:
    """Write `predictions.csv`, `result.json`, `uncertainty.json`, figures and report of all folds into `run_dir`.

    Figures are of the pooled predictions: each test image was predicted by the one network that saw nothing of its
    group. Baselines are means over the folds, weighted by their test images; times are sums.

    Args:
        run_dir: the folder that holds those of the folds.
        folders: finished run folders, of one command.
        data: what the folds were made of. folds: which of them tested each image.

    Returns:
        The contents of `result.json`; its key `fold` is null, `data.split` says how many folds there are, and `sites`
        has the figures of each site that a fold left out.

    Raises:
        ValueError: unless the folds' test images are together all images of `data`, each once.
    """
    results = [read_result(folder) for folder in folders]
    first = results[0]
    index = data.index.set_index("file_name")
    classes = first.data.classes
    pooled = pd.concat(
        [pd.read_csv(folder / "predictions.csv", dtype=str, keep_default_na=False) for folder in folders]
    )
    _check_tested_once(pooled, folders, data)
    write_predictions(pooled, run_dir / "predictions.csv")
    history = [pd.read_csv(folder / "history.csv").assign(fold=number) for number, folder in enumerate(folders)]
    means = pd.concat(history).groupby(["stage", "epoch"], as_index=False).mean().drop(columns="fold")
    means.to_csv(run_dir / "history.csv", index=False, float_format="%.9g", lineterminator="\n")
    unit = data.patient_unit()
    splits = {split: _pooled_split(run_dir, split, classes, pooled, index, unit) for split in ("validation", "test")}
    measured = measure(splits, classes, POOLED)
    uncertainty = measured.uncertainty
    data_part = {
        "counts": _counts(results),
        "fingerprint": folds.fingerprint(data.info.fingerprint),
    }
    training: dict[str, float | None] = {key: sum(_times(results, key)) for key in SUMS}
    training |= {key: _mean([getattr(result.training, key) for result in results]) for key in MEANS}
    result = first.model_copy(
        update={
            "fold": None,
            "model_sha256": None,
            "data": first.data.model_copy(update=data_part),
            "training": first.training.model_copy(update={**training, "best_epoch": None, "class_weights": None}),
            "test": measured.scores["test"],
            "validation": measured.scores["validation"],
            "train": None,
            "sites": _sites(results, folds),
            "detection": measured.detection,
            "patients": measured.patients,
            "pooling": uncertainty.pooling,
            "calibration": uncertainty.calibration,
            "conformal": uncertainty.conformal,
            "ood": uncertainty.ood,
            "baselines": _baselines(results),
        }
    )
    shutil.copy(folders[0] / "recipe.yaml", run_dir)
    write_run(run_dir, result, uncertainty)
    return result


def _pooled_split(
    run_dir: Path, split: str, classes: list[str], pooled: pd.DataFrame, index: pd.DataFrame, unit: Unit
) -> ScoredSplit:
    labels, probabilities = map(np.array, read_predictions(run_dir / "predictions.csv", split, classes))
    rows = pooled[pooled["split"] == split]
    known = index.loc[rows["file_name"]]
    return ScoredSplit(
        labels,
        probabilities,
        rows["group_id"].tolist(),
        known["site"].tolist(),
        known["duplicate_id"].tolist(),
        unit,
    )


def _sites(results: list[RunResult], folds: Folds) -> dict[str, Scores] | None:
    """What each network scored on the site that it was trained without; None where the folds are no sites."""
    if not folds.sites:
        return None
    return {site: result.test for site, result in zip(folds.sites, results, strict=True) if result.test}


def _times(results: list[RunResult], key: str) -> list[float]:
    return [getattr(result.training, key) or 0.0 for result in results]


def _baselines(results: list[RunResult]) -> Baselines:
    """Means over the folds, weighted by their test images; None where a fold lacks one."""
    weights = [result.test.n for result in results if result.test]
    found: dict[str, float | None] = {}
    for name in BASELINES:
        values = [getattr(result.baselines, name, None) for result in results]
        known = [value * n for value, n in zip(values, weights, strict=True) if value is not None]
        found[name] = sum(known) / sum(weights) if len(known) == len(values) else None
    return Baselines(**found)


def _check_tested_once(pooled: pd.DataFrame, folds: list[Path], data: PreparedData) -> None:
    tests = pooled[pooled["split"] == "test"]
    for number, (fold, rows) in enumerate(tests.groupby("fold", sort=False)):
        if fold != str(number):
            raise ValueError(f"{folds[number]} holds predictions of fold {fold}: remove that folder and start again")
        if unknown := set(rows["file_name"]) - set(data.index["file_name"]):
            raise ValueError(f"{folds[number]} tested {len(unknown)} images that the data lack, such as {min(unknown)}")
    if (twice := tests[tests["file_name"].duplicated(keep=False)]).size:
        name = twice["file_name"].iloc[0]
        where = " and ".join(str(folds[int(fold)]) for fold in twice.loc[twice["file_name"] == name, "fold"])
        raise ValueError(f"{where} tested {name} both, and {twice['file_name'].nunique() - 1} more images")
    if never := set(data.index["file_name"]) - set(tests["file_name"]):
        raise ValueError(f"no fold of {folds[0].parent} tested {min(never)}, and {len(never) - 1} more images")


def _counts(results: list[RunResult]) -> dict[str, dict[str, int]]:
    """Of test the sum, which is every image; of train and validation the mean over the folds, rounded."""
    counts = [result.data.counts for result in results]
    return {
        split: {
            label: round(sum(one[split][label] for one in counts) / (1 if split == "test" else len(counts)))
            for label in counts[0][split]
        }
        for split in counts[0]
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
