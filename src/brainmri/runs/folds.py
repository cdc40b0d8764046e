"""The runs of a cross-validation as one: predictions pooled, every image tested once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainmri.data.dataset import PreparedData
from brainmri.data.splits import folds_fingerprint
from brainmri.evaluation.predictions import read_predictions, write_predictions
from brainmri.metrics.calibration import uncertainty_record
from brainmri.metrics.classification import evaluate_predictions
from brainmri.metrics.detection import detection
from brainmri.reporting.run_report import write_figures, write_report
from brainmri.schemas import json_text, read_result, write_result
from brainmri.wording import BASELINES

SUMS = ("time_to_converge_s", "training_only_s")
POOLED = "Pooled from several networks, which have a rule for refusing an image each, in the folders of their folds."
MEANS = ("epochs_run", "schedule_fraction", "images_per_second", "best_train_accuracy", "validation_accuracy_then")


def pool(run_dir: Path, folds: list[Path], data: PreparedData) -> dict[str, Any]:
    """Write `predictions.csv`, `result.json`, `uncertainty.json`, figures and report of all folds into `run_dir`.

    Figures are of the pooled predictions: each test image was predicted by the one network that saw nothing of its
    group. Floors are means over the folds, weighted by their test images; times are sums.

    Args:
        run_dir: the folder that holds those of the folds.
        folds: finished run folders, of one command.
        data: what the folds were made of.

    Returns:
        The contents of `result.json`; its key `fold` is null, and `data.split` says how many folds there are.

    Raises:
        ValueError: unless the folds' test images are together all images of `data`, each once.
    """
    results = [read_result(folder) for folder in folds]
    first = results[0]
    sites = dict(zip(data.index["file_name"], data.index["site"], strict=True))
    classes: list[str] = first["data"]["classes"]
    pooled = pd.concat([pd.read_csv(folder / "predictions.csv", dtype=str, keep_default_na=False) for folder in folds])
    _check_tested_once(pooled, folds, data)
    write_predictions(pooled, run_dir / "predictions.csv")
    history = [pd.read_csv(folder / "history.csv").assign(fold=number) for number, folder in enumerate(folds)]
    means = pd.concat(history).groupby(["stage", "epoch"], as_index=False).mean().drop(columns="fold")
    means.to_csv(run_dir / "history.csv", index=False, float_format="%.9g", lineterminator="\n")
    (val_y, val_p), (test_y, test_p) = (
        map(np.array, read_predictions(run_dir / "predictions.csv", split, classes)) for split in ("validation", "test")
    )
    groups = {split: rows["group_id"].tolist() for split, rows in pooled.groupby("split")}
    tested = pooled.loc[pooled["split"] == "test", "file_name"]
    uncertainty = uncertainty_record(val_y, val_p, test_y, test_p, classes, test_groups=groups["test"], ood=POOLED)
    (run_dir / "uncertainty.json").write_text(json_text(uncertainty), encoding="utf-8")
    weights = [result["test"]["n"] for result in results]
    result = first | {
        "fold": None,
        "model_sha256": None,
        "data": first["data"]
        | {"counts": _counts(results), "fingerprint": folds_fingerprint(data.info["fingerprint"], len(folds))},
        "training": first["training"]
        | {key: sum(result["training"][key] for result in results) for key in SUMS}
        | {key: _mean([result["training"][key] for result in results]) for key in MEANS}
        | {"best_epoch": None},
        "test": evaluate_predictions(test_y, test_p, groups["test"], classes),
        "validation": evaluate_predictions(val_y, val_p, groups["validation"], classes),
        "train": None,
        "detection": detection(val_y, val_p, test_y, test_p, groups["test"], tested.map(sites).tolist(), classes),
        **{key: uncertainty[key] for key in ("calibration", "conformal", "ood")},
        "floors": {
            floor: sum(result["floors"][floor] * n for result, n in zip(results, weights, strict=True)) / sum(weights)
            for floor in BASELINES
        },
    }
    shutil.copy(folds[0] / "recipe.yaml", run_dir)
    (run_dir / "figures").mkdir(exist_ok=True)
    write_result(result, run_dir)
    write_figures(run_dir)
    write_report(run_dir)
    return result


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


def _counts(results: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Of test the sum, which is every image; of train and validation the mean over the folds, rounded."""
    counts = [result["data"]["counts"] for result in results]
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
