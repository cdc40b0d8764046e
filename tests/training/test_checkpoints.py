"""A checkpoint is used when every byte is as it was written, and else the one before."""

import json
from pathlib import Path

import pytest

from brainmri.training.checkpoints import fault, remove_older, resume_point, saved_checkpoints, seal


def checkpoint(stage: Path, step: int, best: int | None = None, run: str | None = "this") -> Path:
    folder = stage / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(bytes(1000))
    (folder / "model.safetensors").write_bytes(bytes([step]) * 100)
    state = {"best_model_checkpoint": best and f"/where/it/was/checkpoint-{best}"}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    seal(folder, run)
    return folder


def truncated(folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes(bytes(24))


def changed(folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes(bytes(999) + b"\x01")


DAMAGES = {
    "optimizer.pt has 24 of 1,000 bytes": truncated,
    "optimizer.pt is damaged": changed,
    "optimizer.pt is missing": lambda folder: (folder / "optimizer.pt").unlink(),
    "rng_state_1.pth was added later": lambda folder: (folder / "rng_state_1.pth").write_text(""),
    "it has no manifest.json": lambda folder: (folder / "manifest.json").unlink(),
    "manifest.json is damaged": lambda folder: (folder / "manifest.json").write_text('{"schema_version": 1, "run"'),
}


@pytest.mark.parametrize("words", DAMAGES)
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_used(words: str, tmp_path: Path) -> None:
    stage = tmp_path / "stage-1"
    before, last = checkpoint(stage, 9), checkpoint(stage, 10)
    assert resume_point(tmp_path, 1, None, "this").checkpoint == last
    DAMAGES[words](last)
    assert str(fault(last)).startswith(words)
    point = resume_point(tmp_path, 1, "true", "this")
    assert (point.stage, point.checkpoint) == (1, before)
    assert len(point.notes) == 1
    assert point.notes[0].startswith(f"{last} is not used: {words}")
    with pytest.raises(ValueError, match=f"it cannot be used: {words}"):
        resume_point(tmp_path, 1, str(last), "this")


def test_a_checkpoint_needs_the_best_one_before_it(tmp_path: Path) -> None:
    stage = tmp_path / "stage-1"
    first, best, last = checkpoint(stage, 1, best=1), checkpoint(stage, 2, best=2), checkpoint(stage, 3, best=2)
    truncated(best)
    point = resume_point(tmp_path, 1, None, "this")
    assert point.checkpoint == first
    assert "checkpoint-2, cannot be used: optimizer.pt has 24" in point.notes[0]
    truncated(first)
    assert resume_point(tmp_path, 1, None, "this").checkpoint is None
    assert last in saved_checkpoints(stage)


def test_a_stage_counts_as_finished_by_its_own_manifest(tmp_path: Path) -> None:
    checkpoint(tmp_path / "stage-1", 5)
    for number in (1, 2):
        finished = tmp_path / f"stage-{number}" / "finished"
        finished.mkdir(parents=True)
        (finished / "outcome.json").write_text("{}")
    assert resume_point(tmp_path, 2, None, "this").stage == 1
    seal(tmp_path / "stage-1" / "finished", "this")
    assert resume_point(tmp_path, 2, None, "this").stage == 2
    seal(tmp_path / "stage-2" / "finished", "this")
    assert resume_point(tmp_path, 2, None, "this").stage == 3
    second = checkpoint(tmp_path / "stage-2", 7)
    assert resume_point(tmp_path, 2, str(second), "this").stage == 2
    (tmp_path / "stage-1" / "finished" / "outcome.json").write_text("[]")
    assert resume_point(tmp_path, 2, None, "this").stage == 1
    with pytest.raises(ValueError, match=r"of the stage before, cannot be used: outcome\.json is damaged"):
        resume_point(tmp_path, 2, str(second), "this")


def test_checkpoints_of_other_runs_and_other_things_are_refused(tmp_path: Path) -> None:
    other = checkpoint(tmp_path / "stage-1", 5, run="that")
    assert resume_point(tmp_path, 1, None, "this").checkpoint is None
    with pytest.raises(ValueError, match="belongs to another run"):
        resume_point(tmp_path, 1, str(other), "this")
    for place in (tmp_path / "stage-1" / "checkpoint-6", tmp_path / "stage-1", tmp_path):
        with pytest.raises(ValueError, match="no such checkpoint"):
            resume_point(tmp_path, 1, str(place), "this")


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 10, 9, 11):
        checkpoint(tmp_path, step)
    remove_older(tmp_path, 2, "checkpoint-2")
    assert [path.name for path in saved_checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-10", "checkpoint-11"]
    remove_older(tmp_path, None, None)
    assert len(saved_checkpoints(tmp_path)) == 3
