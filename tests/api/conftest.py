"""A tiny trained run on the phantom set, with a temperature, conformal thresholds and an OOD detector."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock

from brainmri.data.phantom.generate import make_phantom
from brainmri.data.prepare import prepare

from ..scripts import run_here

TINY = ["--arch", "cnn_4x4", "--recipe", "input.size=32", "model.arguments.image_size=32", "model.arguments.dropout=0"]


class Trained(NamedTuple):
    """run: its folder. data: the prepared phantom set that it was trained on. raw: the set before."""

    run: Path
    data: Path
    raw: Path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def environment(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINMRI_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Trained:
    """All workers of pytest-xdist share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "api"
    found = Trained(folder / "run", folder / "data", folder / "phantom")
    with FileLock(folder.with_suffix(".lock")):
        if not (found.run / "report.html").is_file():
            make_phantom(found.raw, subjects=16, size=32, slices_per_subject=6, progress=False)
            prepare(found.raw, found.data, layout="imagefolder", groups=found.raw / "groups.csv", name="phantom tiny")
            arguments = [*TINY, "--data_dir", found.data, "--num_train_epochs", "2", "--output_dir", found.run]
            done = run_here("train.py", *arguments, environment={"BRAINMRI_CACHE": str(cache), "HF_HUB_OFFLINE": "1"})
            assert done.returncode == 0, done.stderr
    return found
