"""What a user sees of scripts/train.py: the order of its checks, where the run goes, and what is printed."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from brainmri.cli.train import default_folder
from brainmri.evaluation.load import load_model
from brainmri.models.introspect import resolve
from brainmri.runs.finalize import NOT_ASKED
from brainmri.training.arguments import RunArguments

from .conftest import ROOT, TINY, Train, result_of

NOISE = re.compile(r"faiss|fontManager|font_manager|HTTP|torchvision backend|Warning|Loading weights", re.I)


@pytest.mark.parametrize(
    ("arch", "changes", "expected"),
    [
        ("resnet50", {}, r"phantom-tiny-resnet50-clean-seed3"),
        ("timm:test_resnet", {}, r"phantom-tiny-timm-test_resnet-clean-seed3"),
        ("resnet50", {"protocol": "published"}, r"phantom-tiny-resnet50-published-seed3"),
        ("resnet50", {"normalize": "half"}, r"phantom-tiny-resnet50-clean-seed3-[0-9a-f]{6}"),
        ("resnet50", {"recipe": ["stages.0.epochs=1"]}, r"phantom-tiny-resnet50-clean-seed3-[0-9a-f]{6}"),
        ("resnet50", {"positive": ["glioma"]}, r"phantom-tiny-resnet50-clean-seed3-[0-9a-f]{6}"),
    ],
)
def test_the_default_folder_names_the_data_and_what_was_changed(arch: str, changes: dict, expected: str) -> None:
    run = RunArguments(arch=arch, **changes)
    normalize = [f"input.normalize={run.normalize}"] if run.normalize else []
    recipe = resolve(run.arch, run.protocol, run.recipe + normalize)
    folder = default_folder("phantom tiny", run, recipe, 3)
    assert re.fullmatch(expected, folder.name)
    assert folder.parent == Path("runs")


def test_other_changes_go_elsewhere_and_the_recipes_own_values_are_no_change() -> None:
    def folder(*changes: str) -> str:
        run = RunArguments(arch="cnn_4x4", recipe=list(changes))
        return default_folder("d", run, resolve("cnn_4x4", overrides=list(changes)), 1).name

    own = resolve("cnn_4x4").stages[0]
    assert folder(f"stages.0.epochs={own.epochs}") == folder() == "d-cnn_4x4-clean-seed1"
    assert len({folder("stages.0.epochs=77"), folder("stages.0.epochs=78"), folder()}) == 3
    two = ("stages.0.epochs=77", "input.size=64")
    assert folder(*two) == folder(*reversed(two))


def test_the_arguments_are_checked_first_then_the_data_then_the_folder(train_here: Train, tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "notes.txt").write_text("kept")
    command = [*TINY, "--output_dir", str(occupied), "--data_dir", str(tmp_path / "missing")]
    for wrong in (
        ["--learning_rate", "-1"],
        ["--overwrite", "--resume_from_checkpoint", "true"],
        ["--folds", "2", "--resume_from_checkpoint", str(tmp_path)],
    ):
        done = train_here(*command, *wrong)
        assert done.returncode == 2
        assert wrong[0] in done.stderr
        assert "missing" not in done.stderr
    done = train_here(*command)
    assert "missing: no such folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["occupied"]  # not even a lock beside it
    assert [path.name for path in occupied.iterdir()] == ["notes.txt"]


def test_data_are_looked_at_before_the_folder(train_here: Train, phantom: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("kept")
    command = [*TINY, "--output_dir", str(tmp_path), "--data_dir", str(phantom)]
    assert "--positive stroke: the classes are" in train_here(*command, "--positive", "stroke").stderr
    assert "is not empty" in train_here(*command).stderr


@pytest.fixture(scope="module")
def printed(
    environment: dict[str, str], phantom: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder where a training of two epochs was started, and what it printed, without a bar."""
    folder = tmp_path_factory.mktemp("started")
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *TINY, "stages.0.epochs=2", "--disable_tqdm", "true"]
    command += ["--data_dir", os.path.relpath(phantom, folder)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.mark.integration
def test_the_run_goes_where_the_terminal_says(printed: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = printed
    (run,) = (folder / "runs").glob("[!.]*")
    assert re.fullmatch("phantom-tiny-cnn_4x4-clean-seed42-[0-9a-f]{6}", run.name)
    assert f"Run folder: runs/{run.name}" in done.stdout.splitlines()


@pytest.mark.integration
def test_a_training_prints_a_line_for_each_step_and_no_noise(
    printed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = printed
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    assert not [line for line in lines if NOISE.search(line)]
    assert {line: count for line, count in Counter(lines).items() if count > 1 and line.strip()} == {}
    steps = ["Data: ", "Model: ", "epoch 1 of 2 ", "epoch 2 of 2 ", "Scoring ", "Measuring: ", "Test accuracy "]
    places = [next(k for k, line in enumerate(lines) if line.startswith(step)) for step in steps]
    assert places == sorted(places)


@pytest.mark.integration
def test_a_run_without_a_detector_says_why_wherever_one_would_stand(
    printed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    (run,) = (printed[0] / "runs").glob("[!.]*")
    uncertainty = json.loads((run / "uncertainty.json").read_text())
    assert (uncertainty["ood"], uncertainty["ood_reason"]) == (None, NOT_ASKED)
    assert result_of(run)["ood"] is None
    assert not (run / "uncertainty.safetensors").exists()
    assert NOT_ASKED in (run / "report.html").read_text()
    assert load_model(str(run)).ood_detector is None
