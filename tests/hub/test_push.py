"""train.py --push_to_hub gives what publish.py model gives."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from brainmri.hub.build import take_push
from brainmri.hub.model_repository import model_repository

from .conftest import ROOT, TINY_CNN, Run, python
from .loopback import LoopbackHub

PUSHED = "lab/net"


@pytest.fixture(scope="module")
def trainers_hub() -> Iterator[LoopbackHub]:
    """The Hub that `pushed_run` was pushed to when it was trained."""
    hub = LoopbackHub()
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def pushed_run(
    trainers_hub: LoopbackHub, phantom: Path, brainmri_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run folder of a network of our own, trained with --push_to_hub; beside it what was printed."""
    push = ("--push_to_hub", "--hub_model_id", PUSHED, "--hub_token", "hf_anna", "--hub_private_repo", "false")
    folder = tmp_path_factory.mktemp("runs") / "pushed"
    flags = [*TINY_CNN, *push, "--num_train_epochs", "2", "--data_dir", phantom, "--output_dir", folder]
    own = {"BRAINMRI_CACHE": str(brainmri_cache), "HF_HOME": str(folder.parent / "hf")}
    done = python(trainers_hub, ROOT / "scripts" / "train.py", *flags, token=None, **own)
    assert done.returncode == 0, done.stderr
    (folder.parent / "stdout.txt").write_text(done.stdout)
    return folder


def test_the_repository_is_that_of_publish(trainers_hub: LoopbackHub, pushed_run: Path, tmp_path: Path) -> None:
    tree = model_repository(pushed_run, PUSHED, tmp_path / "tree")
    there = trainers_hub.files("model", PUSHED)
    assert {*tree.files, ".gitattributes"} == there.keys()
    assert [name for name in tree.files if (tree.folder / name).read_bytes() != there[name]] == []
    repo = trainers_hub.repos["model", PUSHED]
    assert len(repo.commits) == 2  # the initial one, and one: the Trainer itself pushed nothing
    assert not repo.private
    assert f"{trainers_hub.url}/{PUSHED}: " in (pushed_run.parent / "stdout.txt").read_text()


def test_the_token_stays_out_of_the_run_folder(pushed_run: Path) -> None:
    assert "--hub_token TOKEN" in json.loads((pushed_run / "result.json").read_text())["command"]
    for file in pushed_run.rglob("*"):
        assert not file.is_file() or b"hf_anna" not in file.read_bytes()


def test_what_would_fail_in_the_end_fails_at_the_start(
    hub: LoopbackHub, here: Run, phantom: Path, tmp_path: Path
) -> None:
    flags = [*TINY_CNN, "--data_dir", phantom, "--output_dir", tmp_path / "run", "--push_to_hub"]
    done = here(hub, "train.py", *flags, token="hf_wrong")
    assert done.returncode == 2
    assert "error: wrong token" in done.stderr
    assert not (tmp_path / "run").exists()


def test_flags_are_taken_from_the_trainer() -> None:
    given = {"push_to_hub": True, "hub_model_id": "anna/x", "hub_revision": "next", "learning_rate": 1}
    push = take_push(given, "mit", folds=False)
    assert given == {"learning_rate": 1}
    assert (push.repo, push.revision, push.public, push.licence) == ("anna/x", "next", False, "mit")
    assert take_push({"hub_model_id": "anna/x"}, None, folds=False) is None
    with pytest.raises(ValueError, match="a run is published once, at its end"):
        take_push({"push_to_hub": True, "hub_strategy": "every_save"}, None, folds=False)
    with pytest.raises(ValueError, match="train without --folds"):
        take_push({"push_to_hub": True}, None, folds=True)
