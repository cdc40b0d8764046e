"""A realistic finished run folder, written by code, for every test that starts from one."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pandas as pd
import pytest
import yaml

too_slow = [hypothesis.HealthCheck.too_slow]  # which says that the machine is busy
hypothesis.settings.register_profile("any machine", suppress_health_check=too_slow, deadline=None)
hypothesis.settings.load_profile("any machine")

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores; torch, imported later, would take them all
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from brainmri.schemas import DatasetInfo

MakeRun = Callable[..., Path]
CLASSES = ["glioma", "meningioma", "notumor", "pituitary"]


# What starts the demo's server, or a training that pushes: whoever needs it is integration.
STARTED = {"demo", "pushed_run"}


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if STARTED & set(getattr(item, "fixturenames", ())):
            item.add_marker("integration")


def example_predictions(classes: list[str], n: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels (N,), over-confident probabilities (N, C) and group ids (four images each), about 90 % right.

    The labels do not depend on the seed: runs with several seeds are scored on the same images.
    """
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(n).integers(len(classes), size=n)
    logits = rng.normal(size=(n, len(classes)))
    logits[np.arange(n), labels] += 2.6
    powers = np.exp(2.5 * logits)
    return labels, powers / powers.sum(axis=1, keepdims=True), [f"g{i // 4:05d}" for i in range(n)]


def example_patients(labels: np.ndarray) -> list[str]:
    """A patient for every four images of one class."""
    place = (labels[:, None] == labels[None, :]).cumsum(axis=1).diagonal()
    return [f"p{label}-{number // 4}" for label, number in zip(labels, place, strict=True)]


@pytest.fixture
def reject_record() -> dict[str, Any]:
    """An OOD detector's part of `uncertainty.json`, with two OOD test sets and one that is absent."""
    from brainmri.evaluation.ood.detector import OODDetector
    from brainmri.evaluation.ood.fit import ood_record
    from brainmri.schemas import OODTestResult

    rng = np.random.default_rng(0)
    images = rng.random((60, 16)), rng.random((60, 7)), np.zeros(60, dtype=np.int64)
    labels, probabilities, groups = example_predictions(CLASSES, 240, 51)
    probe = {"source": "gradio", "use": "held back", "meaning": "should be refused", "absent": None}
    faces = {"name": "faces, grey", "n": 100, "rejected": 0.84, "ci95": [0.753, 0.906]}
    brains = {"name": "brain MRI: one head", "n": 1, "rejected": 0.0, "ci95": [0.0, 0.975], "meaning": "a question"}
    absent = {"name": "head CT", "n": 0, "rejected": None, "ci95": None, "absent": "pydicom is not installed"}
    digits = {"name": "handwritten digits", "n": 100, "rejected": 0.61, "ci95": [0.507, 0.706], "use": "development"}
    return ood_record(
        OODDetector.fit("classifier", 1, images, images),
        fitted_images=60,
        validation=np.arange(120) < 6,
        test=np.arange(240) < 12,
        test_labels=labels,
        test_predicted=probabilities.argmax(axis=1),
        test_groups=groups,
        test_sites=["figshare" if label else "elsewhere" for label in labels],
        classes=CLASSES,
        probes=[OODTestResult.model_validate(probe | one) for one in (faces, brains, absent, digits)],
    ).as_json()


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """make_run(name, **changes): a run folder; a change is a dotted key of result.json with `__` for the dot.

    recipe: changes to the packaged recipe, as `--recipe` takes them.
    """
    from brainmri.metrics.calibration import uncertainty_record
    from brainmri.metrics.classification import evaluate_predictions
    from brainmri.metrics.patients import SliceTable, choose_pooling, patient_scores
    from brainmri.models.introspect import resolve
    from brainmri.recipe import recipe_names
    from brainmri.schemas import write

    def make(
        name: str = "resnet50-clean-seed1",
        classes: list[str] = CLASSES,
        recipe: list[str] | None = None,
        **changes: Any,
    ) -> Path:
        run = tmp_path / name
        run.mkdir(parents=True)
        seed = changes.get("seed", 1)
        splits = {
            "validation": example_predictions(classes, 120, seed),
            "test": example_predictions(classes, 240, seed + 50),
        }
        (val_y, val_p, _), (test_y, test_p, test_groups) = splits.values()
        uncertainty = uncertainty_record(val_y, val_p, test_y, test_p, classes, test_groups=test_groups)
        tables = {
            split: SliceTable(y, p, example_patients(y), [str(k) for k in range(len(y))], "patient")
            for split, (y, p, _) in splits.items()
        }
        pooling = choose_pooling(tables["validation"], classes)
        uncertainty = uncertainty.model_copy(update={"pooling": pooling})
        figures = {split: evaluate_predictions(y, p, groups, classes) for split, (y, p, groups) in splits.items()}
        scores = {split: figures.as_json() for split, figures in figures.items()}
        result = {**result_of_example(classes, seed), **scores, "train": None}
        result |= {key: uncertainty.as_json()[key] for key in ("calibration", "conformal", "ood", "pooling")}
        result["patients"] = patient_scores(tables["test"], classes, pooling, None).as_json()
        for key, value in changes.items():
            *parents, last = key.split("__")
            place = result
            for parent in parents:
                place = place[parent]
            place[last] = copy.deepcopy(value)
        (run / "result.json").write_text(json.dumps(result), encoding="utf-8")
        write(uncertainty, run / "uncertainty.json")
        arch = changes.get("arch", "resnet50")
        packaged = resolve(arch if arch in recipe_names() else "resnet50", changes.get("protocol", "clean"), recipe)
        (run / "recipe.yaml").write_text(yaml.safe_dump(packaged.model_dump(mode="json")), encoding="utf-8")
        (run / "config.json").write_text(
            json.dumps({"model_type": "timm_wrapper", "architecture": "resnet50"}), encoding="utf-8"
        )
        _write_predictions(run / "predictions.csv", splits, classes)
        _history(10).to_csv(run / "history.csv", index=False)
        return run

    return make


def dataset_info(**changes: Any) -> "DatasetInfo":
    """What `dataset.json` of a small set may say."""
    from brainmri.schemas import DatasetInfo

    thresholds = {"same_picture_correlation": 0.98, "same_picture_structure": 0.6, "same_group_structure": 0.5}
    settings = {"prepare_version": 4, "groups_file": False, "standardize": [], "images_with_given_group": 0}
    content = {"name": "set", "fingerprint": "f", "layout": "csv", "split": "grouped", "leaky": False, "groups": 1}
    content |= {"classes": ["a", "b"], "counts": {}, "split_seed": 42, "holdout": None, "val": 0.1, "test": 0.2}
    content |= {"largest_group": 1, "distinct_images": 1, "contradictory_images": [], "groups_across_splits": 0}
    content |= {"rejected": 0, "outlined": 0}
    content["settings"] = settings | thresholds | {"max_pixels": 100_000_000, "min_side": 16}
    return DatasetInfo.model_validate(content | changes)


def _write_predictions(path: Path, splits: dict[str, Any], classes: list[str]) -> None:
    tables = []
    for split, (labels, probabilities, groups) in splits.items():
        table = pd.DataFrame(
            {"file_name": [f"{split}/{i}.png" for i in range(len(labels))], "split": split, "fold": ""}
        )
        table["group_id"], table["label"] = groups, [classes[k] for k in labels]
        table["predicted"] = [classes[k] for k in probabilities.argmax(axis=1)]
        tables.append(pd.concat([table, pd.DataFrame(probabilities, columns=[f"p_{c}" for c in classes])], axis=1))
    pd.concat(tables).to_csv(path, index=False, float_format="%.9g")


def _history(epochs: int) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "stage": np.where(epoch <= epochs // 3, 1, 2),
            "epoch": epoch,
            "learning_rate": 1e-4,
            "train_loss": 1.2 / epoch,
            "train_accuracy": 1 - 0.5 / epoch,
            "validation_loss": 1.3 / epoch**0.8,
            "validation_accuracy": 1 - 0.55 / epoch**0.8,
            "seconds": 20.0 * epoch,
        }
    )


def result_of_example(classes: list[str], seed: int) -> dict[str, Any]:
    counts = {"train": 210, "validation": 30, "test": 60}
    return {
        "schema_version": 2,
        "arch": "resnet50",
        "recipe_title": "ResNet-50, all weights trained",
        "source": "B: Brain Tumor Classification using ResNet50",
        "published": {
            "accuracy": 0.9924,
            "data": "Kaggle 7023",
            "split": "Testing (1,311 images), leaky",
            "note": "",
        },
        "protocol": "clean",
        "seed": seed,
        "split_seed": 42,
        "fold": None,
        "weights": "timm/resnet50.tv_in1k@4f1d sha256:0123abcd",
        "normalize": "imagenet",
        "command": "scripts/train.py --arch resnet50 --data_dir DIR",
        "created": f"2026-01-0{seed % 9 + 1}T12:00:00+00:00",
        "data": {
            "name": "kaggle-4class",
            "fingerprint": "0123456789abcdef",
            "layout": "kaggle-4class",
            "simulated": False,
            "origin": None,
            "split": "grouped",
            "leaky": False,
            "classes": classes,
            "counts": {split: dict.fromkeys(classes, n) for split, n in counts.items()},
            "train_after_oversampling": 840,
            "groups": 300,
        },
        "parameters": {"total": 23_569_348, "trainable": 23_516_228},
        "training": {
            "epochs_run": 10,
            "epochs_scheduled": 10,
            "schedule_fraction": 1.0,
            "best_epoch": 8,
            "time_to_converge_s": 600.0,
            "training_only_s": 540.0,
            "images_per_second": 14.2,
            "world_size": 1,
            "precision": "fp32",
            "best_train_accuracy": 0.991,
            "validation_accuracy_then": 0.942,
        },
        "floors": {"majority": 0.31, "nearest_neighbour": 0.823, "global_statistics": 0.774},
        "environment": {"hardware": "2 CPU cores", "python": "3.12.3", "torch": "2.14.1", "git_commit": None},
    }


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, so that a test can read their texts and lines."""
    from matplotlib.figure import Figure

    saved = []
    original = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), original(self, *a, **k))[1])
    return saved


@pytest.fixture
def make_scored(make_run):
    """make_scored(name, wrong, **changes): a run that misses the given test images of 240, four to a group."""

    def make(name, wrong, **changes):
        run = make_run(name, **changes)
        table = pd.read_csv(run / "predictions.csv", dtype=str, keep_default_na=False)
        number = table["file_name"].str.extract(r"(\d+)")[0].astype(int)
        table["label"] = "glioma"
        missed = (table["split"] == "test") & number.isin(wrong)
        table["predicted"] = np.where(missed | (table["split"] != "test"), "notumor", "glioma")
        table.sample(frac=1, random_state=changes.get("seed", 1)).to_csv(run / "predictions.csv", index=False)
        return run

    return make
