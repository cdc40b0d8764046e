"""The end of a run: its files are made aside and move into the run folder when all are there, `result.json` last."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brainmri.durable import sync
from brainmri.faults import writing

FOLDER = "finishing"


@contextmanager
def finishing(run_dir: Path) -> Iterator[Path]:
    """A folder inside `run_dir` to write every file of a finished run into; at the end they move up.

    A run killed meanwhile has no `result.json`, and its checkpoints are all there. So where `result.json` stands,
    everything else does, and is of the same training.
    """
    with writing(run_dir):
        made = run_dir / FOLDER
        shutil.rmtree(made, ignore_errors=True)  # of a run that was killed here
        made.mkdir(parents=True)
        yield made
        files = sorted(path for path in made.rglob("*") if path.is_file() and path != made / "result.json")
        for path in (*files, made / "result.json"):
            sync(path)
        (run_dir / "result.json").unlink(missing_ok=True)  # of the same run, trained again from one of its checkpoints
        for path in (*files, made / "result.json"):
            place = run_dir / path.relative_to(made)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
            sync(place.parent)
        shutil.rmtree(made)


def is_finished(run_dir: Path) -> bool:
    """Whether a run came to its end there: `result.json`, which is written last, and the report stand there."""
    return (run_dir / "result.json").is_file() and (run_dir / "report.html").is_file()
