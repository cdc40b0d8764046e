"""A finished run of a tiny network with an OOD detector, images for it, and the demo that serves it.

The cache lies in a folder of its own.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from brainmri.data.phantom.examples import examples
from brainmri.evaluation.ood.detector import OODDetector
from brainmri.evaluation.ood.features import see
from brainmri.evaluation.ood.fit import ood_record
from brainmri.metrics.calibration import uncertainty_record
from brainmri.metrics.classification import evaluate_predictions
from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.models.layers import classifier_layer
from brainmri.models.load import load_classifier, load_processor, save_model
from brainmri.models.preprocessing import image_processor
from brainmri.schemas import json_text, write

from ..conftest import CLASSES, MakeRun, example_predictions, result_of_example
from .serving import Served, served

SIDE = 64
Edit = Callable[..., Path]


def slices(count: int, seed: int, size: tuple[int, int] = (80, 60)) -> list[Image.Image]:
    """Grey blobs on black, "L"."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    discs = [(x / a) ** 2 + (y / b) ** 2 < 1 for a, b in rng.uniform(0.5, 0.9, (count, 2))]
    return [Image.fromarray((disc * rng.integers(60, 200, (height, width))).astype(np.uint8)) for disc in discs]


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `cache_folder()` is; the ONNX files of the session's networks are written once."""
    monkeypatch.setenv("BRAINMRI_CACHE", str(shared_cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return shared_cache


def save_network(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    sizes = [f"input.size={SIDE}", f"model.arguments.image_size={SIDE}"]
    model, _ = build_model(resolve("cnn_4x4", overrides=sizes), CLASSES, "random")
    save_model(model.eval(), image_processor(SIDE, "half"), folder)
    return folder


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a saved network of four classes and the arrays of its OOD detector."""
    folder = save_network(tmp_path_factory.mktemp("network") / "saved", seed=0)
    model, processor = load_classifier(str(folder)), load_processor(str(folder))
    layer = classifier_layer(model, torch.randn(2, 3, SIDE, SIDE))
    train, validation = (see(slices(40, seed), model, processor, layer) for seed in (1, 2))
    rule = OODDetector.fit(layer, len(CLASSES), train.evidence, validation.evidence)
    rule.save(folder)
    (folder / "rule.json").write_text(json.dumps({"layer": layer, "threshold": rule.threshold}))
    return folder


@pytest.fixture
def run(make_run: MakeRun, network: Path, reject_record: dict[str, Any]) -> Edit:
    """run(name, **changes): a run of that network; keywords change uncertainty.json ("conformal__threshold")."""

    def make(name: str = "net", changes: dict[str, Any] | None = None, **trust_changes: Any) -> Path:
        rule = json.loads((network / "rule.json").read_text())
        folder = make_run(name, ood=reject_record | rule, **(changes or {}))
        for file in ("config.json", "model.safetensors", "preprocessor_config.json", "uncertainty.safetensors"):
            shutil.copy(network / file, folder / file)
        uncertainty = json.loads((folder / "uncertainty.json").read_text())
        uncertainty |= {"ood": reject_record | rule, "ood_reason": None}
        for key, value in trust_changes.items():
            part, _, inner = key.partition("__")
            uncertainty[part] = uncertainty[part] | {inner: value} if inner else value
        (folder / "uncertainty.json").write_text(json.dumps(uncertainty))
        return folder

    return make


@pytest.fixture(scope="session")
def run_folder(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of that network for the tests that serve it."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    shutil.copytree(network, folder)
    fitted = json.loads((folder / "rule.json").read_text())
    (folder / "rule.json").unlink()
    splits = {"validation": example_predictions(CLASSES, 120, 1), "test": example_predictions(CLASSES, 240, 51)}
    (val_y, val_p, _), (test_y, test_p, groups) = splits.values()
    one_slice = np.zeros((1, 16)), np.zeros((1, 7)), np.zeros(1, dtype=np.int64)
    ood = ood_record(
        OODDetector.fit(fitted["layer"], 1, one_slice, one_slice),
        fitted_images=40,
        validation=np.zeros(120, dtype=bool),
        test=np.arange(240) < 12,
        test_labels=test_y,
        test_predicted=test_p.argmax(axis=1),
        test_groups=groups,
        test_sites=[""] * 240,
        classes=CLASSES,
        probes=[],
    ).model_copy(update=fitted)
    uncertainty = uncertainty_record(val_y, val_p, test_y, test_p, CLASSES, test_groups=groups, ood=ood)
    write(uncertainty, folder / "uncertainty.json")
    figures = {split: evaluate_predictions(y, p, ids, CLASSES).as_json() for split, (y, p, ids) in splits.items()}
    result = {**result_of_example(CLASSES, 1), **figures, "train": None, "arch": "cnn_4x4"}
    result |= {key: uncertainty.as_json()[key] for key in ("calibration", "conformal", "ood")}
    (folder / "result.json").write_text(json_text(result), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def slice_png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated slice."""
    return examples(tmp_path_factory.mktemp("slices"))[0]


@pytest.fixture(scope="session")
def volume_nii(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small volume whose three planes differ."""
    values = np.random.default_rng(0).normal(100, 20, (24, 30, 18)).astype(np.float32)
    values += np.linspace(0, 200, 24)[:, None, None] + np.linspace(0, 90, 18)
    path = tmp_path_factory.mktemp("volumes") / "head.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 2.0, 3.0, 1.0])), path)
    return path


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Iterator[Served]:
    """app.py with that model, or with those of BRAINMRI_MODELS."""
    with served(tmp_path_factory.mktemp("demo"), os.environ.get("BRAINMRI_MODELS", "").split() or [run_folder]) as one:
        yield one
