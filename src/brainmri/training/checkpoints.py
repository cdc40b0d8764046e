"""Checkpoints that can be trusted: each folder has a `manifest.json`, written last, with the digest of every file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from brainmri.files import sha256, sync, write_durably
from brainmri.schemas import CheckpointManifest, SealedFile
from brainmri.training.arguments import world_size

MANIFEST = "manifest.json"
NEWEST = "true"  # what --resume_from_checkpoint takes besides a path
Seal = Callable[[Path], None]


@dataclass(frozen=True)
class ResumePoint:
    """Where a run goes on: stage (from 1, one more than there are where all are trained) and its checkpoint.

    checkpoint: None where the stage starts anew. finished_in: the folder that holds the stages before. notes: what was
    passed over, and why, a sentence each.
    """

    stage: int = 1
    checkpoint: Path | None = None
    finished_in: Path | None = None
    notes: list[str] = field(default_factory=list)


BEGINNING = ResumePoint()


class RunPlace(Protocol):
    """Where a training keeps its checkpoints; `brainmri.runs.folder.RunFolder` is one."""

    path: Path

    @property
    def checkpoints(self) -> Path: ...

    def begin(self, weights: str) -> ResumePoint:
        """Called when everything was checked; returns where the training goes on."""
        ...

    def seal(self, folder: Path) -> None:
        """Called when a checkpoint's folder is whole."""
        ...


def seal(folder: Path, run: str | None = None) -> None:
    """Write the manifest of a folder whose files are all there; the disk has them first."""
    files = []
    for path in _files(folder):
        sync(path)
        files.append(
            SealedFile(name=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=sha256(path))
        )
    for inner in sorted({path.parent for path in _files(folder)}):
        sync(inner)
    manifest = CheckpointManifest(run=run, processes=world_size(), files=files)
    write_durably(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    sync(folder.parent)


def fault(folder: Path, run: str | None = None) -> str | None:
    """What is wrong with a sealed folder, in a few words that name the file; None if every byte is as it was sealed.

    run: what its manifest must say of the run; None for any.
    """
    try:
        manifest = CheckpointManifest.model_validate_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"it has no {MANIFEST}: it was being written when the run ended"
    except (ValidationError, UnicodeDecodeError):
        return f"{MANIFEST} is damaged"
    if run is not None and manifest.run != run:
        return f"{MANIFEST} says that it belongs to another run"
    for file in manifest.files:
        path = folder / file.name
        if not path.is_file():
            return f"{file.name} is missing"
        if (size := path.stat().st_size) != file.size:
            return f"{file.name} has {size:,} of {file.size:,} bytes"
        if sha256(path) != file.sha256:
            return f"{file.name} is damaged: its contents are not those that were written"
    added = {path.relative_to(folder).as_posix() for path in _files(folder)} - {file.name for file in manifest.files}
    return f"{min(added)} was added later" if added else None


def saved_checkpoints(stage: Path) -> list[Path]:
    """The checkpoints of a stage, whole or not, by their steps."""
    numbers = {path: path.name.removeprefix("checkpoint-") for path in stage.glob("checkpoint-*") if path.is_dir()}
    return sorted((path for path, number in numbers.items() if number.isdigit()), key=lambda path: int(numbers[path]))


def remove_older(stage: Path, keep: int | None, best: str | None) -> None:
    """Keep the last `keep` checkpoints of a stage (None: all) and the one named `best`."""
    for path in saved_checkpoints(stage)[:-keep] if keep and keep > 0 else []:
        if path.name != best:
            shutil.rmtree(path)


def best_of(checkpoint: Path) -> Path | None:
    """The checkpoint that was the best one when this one was saved, beside it; None where none was chosen."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    best = state.get("best_model_checkpoint")  # where it lay then; the run folder may have moved
    return checkpoint.with_name(Path(best).name) if best else None


def resume_point(checkpoints: Path, stages: int, asked: str | None = None, run: str | None = None) -> ResumePoint:
    """The newest point under `checkpoints` from which every file that is needed is whole.

    stages: how many the recipe has. asked: the path of a checkpoint, for that one and no other. run: the digest of the
    run.

    Raises:
        ValueError: if the checkpoint that was asked for cannot be used, or a stage before it.
    """
    if asked not in (None, NEWEST):
        return _asked_point(Path(str(asked)), run)
    notes = []
    for stage in range(1, stages + 1):
        folder = checkpoints / f"stage-{stage}"
        finished = folder / "finished"
        wrong = fault(finished, run) if finished.is_dir() else "absent"
        if wrong is None:
            continue
        if finished.is_dir():
            notes.append(f"{finished} is not used: {wrong}")
        for checkpoint in reversed(saved_checkpoints(folder)):
            if (wrong := _unusable(checkpoint, run)) is None:
                return ResumePoint(stage, checkpoint, checkpoints, notes)
            notes.append(f"{checkpoint} is not used: {wrong}")
        return ResumePoint(stage, None, checkpoints, notes)
    return ResumePoint(stages + 1, None, checkpoints, notes)


def _asked_point(checkpoint: Path, run: str | None) -> ResumePoint:
    flag = f"--resume_from_checkpoint {checkpoint}"
    stage = checkpoint.parent.name.removeprefix("stage-")
    if checkpoint not in saved_checkpoints(checkpoint.parent) or not stage.isdigit():
        raise ValueError(f"{flag}: no such checkpoint (DIR/checkpoints/stage-N/checkpoint-M, or true for the latest)")
    if wrong := _unusable(checkpoint, run):
        raise ValueError(f"{flag}: it cannot be used: {wrong}")
    for number in range(1, int(stage)):
        finished = checkpoint.parents[1] / f"stage-{number}" / "finished"
        if wrong := fault(finished, run) if finished.is_dir() else "it is missing":
            raise ValueError(f"{flag}: {finished}, of the stage before, cannot be used: {wrong}")
    return ResumePoint(int(stage), checkpoint, checkpoint.parents[1])


def _unusable(checkpoint: Path, run: str | None) -> str | None:
    """What is wrong with a checkpoint or the best one before it, whose weights may be kept in the end."""
    if wrong := fault(checkpoint, run):
        return wrong
    best = best_of(checkpoint)
    if best is not None and best != checkpoint and (wrong := fault(best, run)):
        return f"the best checkpoint before it, {best.name}, cannot be used: {wrong}"
    return None


def _files(folder: Path) -> list[Path]:
    """Every file below `folder` but the manifest; hidden ones are the file system's or the desktop's."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in found if path != folder / MANIFEST and path != folder / f"{MANIFEST}.tmp")
