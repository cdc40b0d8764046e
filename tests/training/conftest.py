"""A tiny prepared phantom set, and the real command line run on it in a subprocess."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from safetensors.numpy import load_file

from brainmri.data.phantom.generate import make_phantom
from brainmri.data.prepare import prepare

from ..scripts import run_here

ROOT = Path(__file__).parents[2]
# 32 pixels and no dropout: a network on which runs must agree to the digit.
# The OOD detector, which takes longer than all that, is fitted where a test looks at it.
RECIPE = ["input.size=32", "model.arguments.image_size=32", "model.arguments.dropout=0", "stages.0.learning_rate=0.003"]
TINY = ["--arch", "cnn_4x4", "--ood", "false", "--recipe", *RECIPE]
# A network of timm whose backbone can be frozen; further changes of the recipe follow.
TINY_RESNET = ["--arch", "resnet50", "--weights", "random", "--ood", "false"]
TINY_RESNET += ["--recipe", "model.arguments.architecture=test_resnet", "input.size=32"]
Train = Callable[..., subprocess.CompletedProcess[str]]


def result_of(run: Path) -> dict:
    return json.loads((run / "result.json").read_text())


def left_by(run: Path, stopped: Path, checkpoints: list[Path]) -> Path:
    """The folder `stopped`: what `run` would have left with these of its checkpoints, had it been killed."""
    for place in ("run.json", "checkpoints/splits.csv"):
        (stopped / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(run / place, stopped / place)
    for checkpoint in checkpoints:
        shutil.copytree(checkpoint, stopped / checkpoint.relative_to(run))
    return stopped


def same_weights(one: Path, other: Path) -> None:
    weights = load_file(other / "model.safetensors")
    for name, tensor in load_file(one / "model.safetensors").items():
        np.testing.assert_array_equal(tensor, weights[name])


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    raw = make_phantom(folder / "raw", subjects=32, size=32, slices_per_subject=6, progress=False)
    return prepare(raw, folder / "ready", layout="imagefolder", groups=raw / "groups.csv", name="phantom tiny")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    cache = str(tmp_path_factory.mktemp("cache"))
    return os.environ | {"BRAINMRI_CACHE": cache, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": cache}


@pytest.fixture(scope="session")
def train(environment: dict[str, str]) -> Train:
    """train(*arguments, launcher=...): run scripts/train.py to its end."""

    def run(*arguments: str, launcher: tuple[str, ...] = (sys.executable,)) -> subprocess.CompletedProcess[str]:
        command = [*launcher, str(ROOT / "scripts" / "train.py"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def train_here(environment: dict[str, str]) -> Train:
    """train_here(*arguments): the same in this process, which has the libraries already."""
    return lambda *arguments: run_here("train.py", *arguments, environment=environment)


@pytest.fixture(scope="session")
def finished(train: Train, phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an uninterrupted run of six epochs in one process; all workers of pytest-xdist share it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, printed = shared / "finished" / "one", shared / "finished" / "stdout.txt"
    launcher = (sys.executable, "-m", "accelerate.commands.launch")
    arguments = [*TINY, "--data_dir", str(phantom), "--num_train_epochs", "6", "--output_dir", str(folder)]
    arguments += ["--ood", "true"]
    with FileLock(shared / "finished.lock"):
        if not printed.is_file():
            done = train(*arguments, launcher=launcher)
            assert done.returncode == 0, done.stderr
            printed.write_text(done.stdout)
    return folder
