"""What is shown where nobody named a model."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainmri.data.phantom.examples import examples
from brainmri.data.phantom.generate import CLASSES
from brainmri.demo import sample as sample_module
from brainmri.demo.model import open_models
from brainmri.demo.response_text import in_words
from brainmri.demo.sample import MOST_RUNS, default_places, sample

from .conftest import Edit


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "cache"


def test_finished_runs_are_shown_newest_first(run: Edit, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    made = [run(f"runs/{name}", {"created": f"2026-0{day}-01T00:00:00+00:00"}) for name, day in (("a", 2), ("b", 3))]
    made.append(run("runs/c", {"created": "2026-01-01T00:00:00+00:00"}))
    for name, broken in (("pooled", "model.safetensors"), ("half", "result.json"), ("bare", "uncertainty.json")):
        (run(f"runs/{name}") / broken).unlink()
    (run("runs/older") / "result.json").write_text(json.dumps({"schema_version": 0}))
    assert default_places(runs) == [str(made[1]), str(made[0]), str(made[2])]


def test_not_all_of_many_runs_are_shown(run: Edit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(MOST_RUNS + 2):
        run(f"runs/r{number}", {"created": f"2026-01-0{number + 1}T00:00:00+00:00"})
    found = default_places(tmp_path / "runs")
    assert [Path(place).name for place in found] == [f"r{number}" for number in range(MOST_RUNS + 1, 1, -1)]
    assert f"{MOST_RUNS + 2} finished runs" in capsys.readouterr().out


def test_without_runs_the_sample_is_trained_once(
    network: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = []

    def train(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        started.append(command)
        shutil.copytree(network, command[command.index("--output_dir") + 1])
        assert not list(cache.glob("sample*/"))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(sample_module.subprocess, "run", train)
    (place,) = default_places(tmp_path / "no runs")
    assert (Path(place) / "model.safetensors").is_file()
    assert "simulated" in capsys.readouterr().out
    assert default_places(tmp_path / "no runs") == [place]
    assert len(started) == 1


def test_a_training_that_fails_leaves_nothing(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        folder = Path(command[command.index("--output_dir") + 1])
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        return subprocess.CompletedProcess(command, -9)

    monkeypatch.setattr(sample_module.subprocess, "run", train)
    with pytest.raises(ValueError, match="could not be trained"):
        sample()
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_the_examples_are_one_of_each_class_and_always_the_same(tmp_path: Path) -> None:
    files = examples(tmp_path / "a")
    assert [file.name.split("-")[1] for file in files] == list(CLASSES)
    assert {file.stem.split("-")[2] for file in files} == {"axial", "coronal", "sagittal"}
    for file, again in zip(files, examples(tmp_path / "b"), strict=True):
        with Image.open(file) as image:
            assert (image.mode, image.size) == ("L", (128, 128))
            assert np.asarray(image).std() > 10
        assert file.read_bytes() == again.read_bytes()


@pytest.mark.slow
def test_the_sample_knows_its_simulated_slices() -> None:
    (model,) = open_models([str(sample())])
    assert model.result is not None
    assert model.result["test"]["accuracy"] > 0.8
    assert model.uncertainty is not None
    assert model.uncertainty["ood"]
    assert in_words(model.classes[0]) == "a glioma"
