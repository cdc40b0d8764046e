"""What a wrong input formula costs a network with real ImageNet weights (EfficientNet-Lite0, which expects `half`)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from brainmri.data.dataset import PreparedData, open_prepared
from brainmri.data.phantom.generate import make_phantom
from brainmri.data.pixel_cache import pixel_cache
from brainmri.data.prepare import prepare
from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.models.layers import bare_network
from brainmri.models.preprocessing import normalized

ROOT = Path(__file__).parents[2]
REAL_DATA = Path(os.environ.get("BRAINMRI_REAL_DATA", ROOT.parent / "shared/data/brain-tumor-mri-224"))
SIZE = 96


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("phantoms")
    raw = make_phantom(folder / "raw", subjects=64, size=SIZE, slices_per_subject=5, progress=False)
    return open_prepared(prepare(raw, folder / "ready", layout="imagefolder", groups=raw / "groups.csv"))


def probe(data: PreparedData, formula: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> float:
    """Accuracy, on validation and test, of a linear classifier on the frozen features under `formula`."""
    monkeypatch.setenv("BRAINMRI_CACHE", str(cache))
    pixels = pixel_cache(data, SIZE)
    recipe = resolve("efficientnet_lite0_frozen", overrides=[f"input.normalize={formula}"])
    network = bare_network(build_model(recipe, data.classes, "imagenet")[0]).eval()

    @torch.no_grad()
    def features(rows: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(pixels.read(rows)).float()
        maps = network.forward_features(normalized(images, recipe.input.normalize))
        return network.forward_head(maps, pre_logits=True).numpy()

    train, held_out = data.rows("train"), np.concatenate([data.rows("validation"), data.rows("test")])
    classifier = LogisticRegression(max_iter=1000).fit(features(train), data.labels(train))
    return float(classifier.score(features(held_out), data.labels(held_out)))


@pytest.mark.slow
def test_the_wrong_formula_costs_the_frozen_features_their_accuracy(
    phantoms: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formulas = ("half", "imagenet", "caffe", "double_scaled")
    accuracy = {formula: probe(phantoms, formula, tmp_path, monkeypatch) for formula in formulas}
    loss = {formula: accuracy["half"] - accuracy[formula] for formula in formulas}
    assert loss["double_scaled"] > 0.15, accuracy  # nearly black, as source C's
    assert loss["caffe"] > 0.1, accuracy  # 128 times too large
    assert abs(loss["imagenet"]) < 0.1, accuracy  # close enough to be harmless


@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the 7,023 real images are not here (set BRAINMRI_REAL_DATA)")
def test_the_collapse_of_source_c_on_real_images(tmp_path: Path) -> None:
    environment = os.environ | {"BRAINMRI_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    accuracy = {}
    for formula in ("half", "double_scaled"):
        run = tmp_path / formula
        command = [sys.executable, "scripts/train.py", "--arch", "efficientnet_lite0_frozen", "--normalize", formula]
        command += ["--data_dir", str(REAL_DATA), "--num_train_epochs", "1", "--output_dir", str(run)]
        subprocess.run([*command, "--recipe", "input.size=96"], env=environment, cwd=ROOT, check=True)
        accuracy[formula] = json.loads((run / "result.json").read_text())["test"]["accuracy"]
    assert accuracy["half"] - accuracy["double_scaled"] > 0.2, accuracy
