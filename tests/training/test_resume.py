"""A run goes on only as the run that it is: scripts/train.py given again, with what was asked and with other things."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainmri.data.prepare import prepare
from brainmri.files import WriterLock
from brainmri.runs.manifest import FREE, MAY_DIFFER
from brainmri.training.checkpoints import fault, saved_checkpoints
from brainmri.training.trainer import SliceTrainer

from .conftest import RECIPE, ROOT, TINY, TINY_RESNET, Train, left_by, result_of, same_weights

pytestmark = pytest.mark.integration  # each starts from a training

Command = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def _messages(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


@pytest.fixture(scope="session")
def command(phantom: Path) -> Command:
    """command(run): the arguments of a run of three epochs."""
    return lambda run: [*TINY, "--data_dir", str(phantom), "--num_train_epochs", "3", "--output_dir", str(run)]


@pytest.fixture(scope="session")
def ended(train_here: Train, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with all its checkpoints; with nothing to resume it started."""
    run = tmp_path_factory.mktemp("ended") / "run"
    keep = ["--keep_checkpoints", "--save_total_limit", "9", "--resume_from_checkpoint", "true"]
    done = train_here(*command(run), *keep)
    assert done.returncode == 0, done.stderr
    assert len(saved_checkpoints(run / "checkpoints" / "stage-1")) == 3
    return run


@pytest.fixture
def stopped(ended: Path, tmp_path: Path) -> Path:
    """What a run leaves that is killed after two of three epochs."""
    return left_by(ended, tmp_path / "stopped", saved_checkpoints(ended / "checkpoints" / "stage-1")[:2])


def ends_alike(one: Path, other: Path) -> None:
    same_weights(one, other)
    first, second = (pd.read_csv(run / "history.csv").drop(columns="seconds") for run in (one, other))
    pd.testing.assert_frame_equal(first, second)
    assert (one / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()
    assert result_of(one)["test"] == result_of(other)["test"]


CHANGES = {
    "the learning rate was 0.003 and is now 0.01": ["--learning_rate", "0.01"],
    "the seed was 42 and is now 7": ["--seed", "7"],
    "the number of epochs was 3 and is now 4": ["--num_train_epochs", "4"],
    "the global batch (per device x accumulation x processes) was 32 and is now 16": [
        *("--per_device_train_batch_size", "16")
    ],
    "the recipe's input.normalize was ": ["--normalize", "imagenet"],
    "the recipe's augmentation.": ["--recipe", *RECIPE, "augmentation.rotation_degrees=3"],
    "--arch was cnn_4x4 and is now cnn_4to16": ["--arch", "cnn_4to16"],
    "--positive was none and is now ['glioma']": ["--positive", "glioma"],
    "the number of folds (--folds) was none and is now 2": ["--folds", "2"],
    "--weight_decay was 0 and is now 0.5": ["--weight_decay", "0.5"],
    "bfloat16 (--bf16) was False and is now True": ["--bf16", "true"],
    "--evaluate_train was False and is now True": ["--evaluate_train"],
}


@pytest.mark.parametrize("words", CHANGES)
def test_what_must_agree_and_does_not_ends_the_run(
    words: str, train_here: Train, command: Command, stopped: Path
) -> None:
    before = sorted(stopped.rglob("*"))
    done = train_here(*command(stopped), *CHANGES[words])
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {stopped} is not empty and holds another run: {words}")
    assert "another --output_dir" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(stopped.rglob("*")) == before


def test_other_data_are_told_by_the_images_that_moved(
    train_here: Train, command: Command, phantom: Path, stopped: Path, tmp_path: Path
) -> None:
    raw = phantom.parent / "raw"
    other = prepare(
        raw, tmp_path / "o", layout="imagefolder", groups=raw / "groups.csv", name="phantom tiny", split_seed=7
    )
    tables = [pd.read_csv(root / "index.csv").set_index("source")["split"] for root in (phantom, other)]
    first, second = tables[0].align(tables[1])
    moved, trained = (first != second).sum(), ((first == "train") & (second == "test")).sum()
    assert trained > 0
    done = train_here(*command(stopped), "--data_dir", str(other))
    assert done.returncode == 2
    assert "the data are not those of the run: their split seed was 42 and is now 7" in done.stderr
    assert f"{moved} of {len(first)} images are in another split now ({trained} of the " in done.stderr

    copied = tmp_path / "copied"
    shutil.copytree(phantom, copied)
    index = pd.read_csv(copied / "index.csv", dtype=str)
    index.loc[0, "group_id"] = "another"
    index.to_csv(copied / "index.csv", index=False)
    done = train_here(*command(stopped), "--data_dir", str(copied))
    assert done.returncode == 2
    assert "the data are not those of the run: images, labels, groups or splits are others" in done.stderr


def test_what_may_differ_is_said_and_a_torn_checkpoint_passed_over(
    train_here: Train, command: Command, ended: Path, stopped: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = saved_checkpoints(stopped / "checkpoints" / "stage-1")
    optimizer = second / "optimizer.pt"
    size = optimizer.stat().st_size
    optimizer.write_bytes(optimizer.read_bytes()[:1024])
    done = train_here(*command(stopped), "--logging_steps", "7", "--max_minutes", "600")
    assert done.returncode == 0, done.stderr
    assert f"{second} is not used: optimizer.pt has 1,024 of {size:,} bytes" in caplog.text
    assert f"The run in {stopped} goes on at {first.name}" in caplog.text
    assert "Otherwise than when the run began, as it may be: " in caplog.text
    assert "max_minutes none before, 600 now" in caplog.text
    ends_alike(stopped, ended)
    assert not (stopped / "checkpoints").exists()


def test_a_checkpoint_goes_on_elsewhere_as_the_run_that_it_carries(
    train_here: Train, command: Command, ended: Path, stopped: Path, tmp_path: Path
) -> None:
    checkpoint = saved_checkpoints(stopped / "checkpoints" / "stage-1")[-1]
    asked = [*command(tmp_path / "new"), "--resume_from_checkpoint", str(checkpoint)]
    done = train_here(*asked, "--learning_rate", "0.5")
    assert done.returncode == 2
    assert f"{checkpoint}: it is of another run: the learning rate was 0.003 and is now 0.5" in done.stderr
    done = train_here(*asked)
    assert done.returncode == 0, done.stderr
    ends_alike(tmp_path / "new", ended)


def test_a_finished_run_says_so_and_a_different_one_is_refused(
    train_here: Train, command: Command, ended: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = {path: path.stat().st_mtime_ns for path in ended.rglob("*")}
    for resume in ([], ["--resume_from_checkpoint", "true"]):
        done = train_here(*command(ended), *resume)
        assert done.returncode == 0, done.stderr
        assert f"{ended} is finished already" in caplog.text
        assert f"Everything is in {ended}" in done.stdout
    done = train_here(*command(ended), "--seed", "3", "--resume_from_checkpoint", "true")
    assert (done.returncode, "the seed was 42 and is now 3" in done.stderr) == (2, True)
    assert {path: path.stat().st_mtime_ns for path in ended.rglob("*")} == before


def test_a_run_killed_after_its_training_only_scores_again(
    train_here: Train, command: Command, ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end files are made aside: where result.json stands, all of the others do."""
    run = tmp_path / "run"
    shutil.copytree(ended, run)
    (run / "result.json").unlink()
    (run / "finishing").mkdir()
    (run / "finishing" / "result.json").write_text("{")
    (run / "model.safetensors").write_bytes(b"half")
    monkeypatch.setattr(SliceTrainer, "train", None)  # never called
    done = train_here(*command(run))
    assert done.returncode == 0, done.stderr
    ends_alike(run, ended)
    assert sorted(path.name for path in run.iterdir()) == sorted(
        {path.name for path in ended.iterdir()} - {"checkpoints"}
    )


def test_a_run_that_left_nothing_may_become_another(train_here: Train, command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = train_here(*command(run), "--weights", str(tmp_path / "none.safetensors"))
    assert (done.returncode, run.exists()) == (2, False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SliceTrainer, "train", lambda *_, **__: (_ for _ in ()).throw(ValueError("the disk is full")))
        done = train_here(*command(run))
    assert done.stderr == "error: the disk is full\n"
    assert (run / "run.json").is_file()
    done = train_here(*command(run), "--seed", "5", "--num_train_epochs", "1")
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "run.json").read_text())["settings"]["seed"] == result_of(run)["seed"] == 5


def test_one_run_at_a_time_writes_a_folder(train_here: Train, command: Command, stopped: Path) -> None:
    lock = WriterLock(stopped)
    lock.take()
    try:
        done = train_here(*command(stopped))
    finally:
        lock.release()
    assert done.returncode == 2
    assert done.stderr.startswith("error: another run (process ")
    assert f"is writing {stopped} at this moment: wait for it, or give another --output_dir" in done.stderr
    assert len(saved_checkpoints(stopped / "checkpoints" / "stage-1")) == 2


@pytest.mark.slow
def test_several_processes_end_with_one_message_or_go_on_together(
    train: Train, command: Command, ended: Path, stopped: Path
) -> None:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    refused = train(*command(stopped), "--seed", "7", launcher=launcher)
    assert refused.returncode != 0
    assert refused.stderr.count("the seed was 42 and is now 7") == 1
    done = train(*command(stopped), "--keep_checkpoints", launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert "processes 1 before, 2 now" in done.stdout
    last = saved_checkpoints(stopped / "checkpoints" / "stage-1")[-1]
    assert {"rng_state_0.pth", "rng_state_1.pth", "manifest.json"} <= {path.name for path in last.iterdir()}
    assert fault(last) is None
    assert result_of(stopped)["training"]["world_size"] == 2
    figures = ["train_loss", "validation_loss", "validation_accuracy"]
    first, second = (pd.read_csv(run / "history.csv")[figures] for run in (ended, stopped))
    np.testing.assert_allclose(first, second, atol=1e-5)


@pytest.mark.integration
def test_features_made_before_the_first_checkpoint_are_used_again(
    train_here: Train, phantom: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = "stages=[{epochs: 2, learning_rate: 0.01, freeze: backbone, cached_views: 2, keep: last}]"
    arguments = [*TINY_RESNET, stage, "--data_dir", str(phantom)]
    runs = tmp_path / "whole", tmp_path / "killed", tmp_path / "torn"
    done = train_here(*arguments, "--output_dir", str(runs[0]))
    assert done.returncode == 0, done.stderr
    for run in runs[1:]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SliceTrainer, "train", lambda *_, **__: (_ for _ in ()).throw(ValueError("killed")))
            assert train_here(*arguments, "--output_dir", str(run)).returncode == 2
        train = run / "checkpoints" / "stage-1" / "features" / "train"
        if run.name == "torn":
            features = train / "features.npy"
            features.write_bytes(features.read_bytes()[:-4] + b"\xff\xff\xff\x7f")
        caplog.clear()
        done = train_here(*arguments, "--output_dir", str(run))
        assert done.returncode == 0, done.stderr
        if run.name == "torn":
            assert f"{train} is not used: features.npy is damaged" in caplog.text
        else:
            assert f"those in {train} are used again" in caplog.text
        ends_alike(run, runs[0])


def test_the_table_of_what_may_differ_is_in_the_documents() -> None:
    text = (ROOT / "docs" / "resuming.md").read_text(encoding="utf-8")
    table = text.partition("MAY_DIFFER")[2]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")][1:]
    assert {kind.strip(): names.replace("`", "").split() for kind, names in rows} == MAY_DIFFER
    from transformers import TrainingArguments

    own = {"processes", "max_minutes", "keep_checkpoints", "ood", "overwrite", "license", "git_commit"}
    assert FREE - own - {"torch", "transformers"} <= TrainingArguments.__dataclass_fields__.keys()
