"""The folder of a run: whether it may be written, and what the terminal says of it in the end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.evaluation.results import duration, floors_of, percent, warnings_of, with_interval

if TYPE_CHECKING:
    from accelerate import PartialState


def claim(run_dir: Path, state: PartialState, *, overwrite: bool) -> None:
    """See that `run_dir` is empty or absent; with `overwrite` an earlier run in it is removed.

    Raises:
        ValueError: if it holds something and `overwrite` is not given, or something that does not look like a run.
    """
    if run_dir.exists() and any(run_dir.iterdir()):
        if not overwrite:
            raise ValueError(
                f"{run_dir} is not empty: give another --output_dir, --resume_from_checkpoint true, or --overwrite"
            )
        if not any((run_dir / name).exists() for name in ("result.json", "checkpoints", "recipe.yaml", "fold0")):
            raise ValueError(f"--overwrite: {run_dir} does not look like a run folder, so it stays as it is")
        state.wait_for_everyone()
        if state.is_main_process:
            shutil.rmtree(run_dir)
    state.wait_for_everyone()


def summary(result: dict[str, Any], run_dir: Path) -> str:
    """Test accuracy with its interval, the floors, the time and every warning, in a few lines."""
    lines = [f"\nTest accuracy {with_interval(result['test'])} (95 % interval, resampled by group)"]
    lines += [f"  floor: {name:45s} {percent(accuracy)}" for name, accuracy in floors_of(result)]
    training = result["training"]
    speed = f"{training['images_per_second']:.0f} images/s, {training['precision']}"
    lines.append(f"Time to converge {duration(training['time_to_converge_s'])}, {speed}")
    lines += [f"{headline}: {sentence}" for headline, sentence in warnings_of(result)]
    return "\n".join([*lines, f"Everything is in {run_dir}: open {run_dir / 'report.html'}"])
