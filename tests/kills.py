"""A command killed with SIGKILL at a chosen moment and given again: what it leaves against an undisturbed end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pandas as pd

TRIES = 4  # of the same command after a kill; one is expected to do
POLL_S = 0.001
DEADLINE_S = 240
# Of result.json, all that differs between two undisturbed runs of one seed: clocks, and where it was made.
CLOCKS = {"time_to_converge_s", "training_only_s", "images_per_second"}
PLACES = {"command", "created", "environment"}


@dataclass(frozen=True)
class Job:
    """A command of which a window is watched. begun, ended: whether the window has opened, and whether it has closed.

    left: what the command leaves, in a form that is equal for equal outcomes.
    """

    command: list[str]
    environment: dict[str, str]
    begun: Callable[[], bool]
    ended: Callable[[], bool]
    left: Callable[[], Any]


@dataclass(frozen=True)
class Kill:
    """after_s: seconds between the opening of the window and the kill; None if the command had ended before it.

    tries: how often the command was given again until it exited with 0. lost: what it then left otherwise than an
    undisturbed one does.
    """

    after_s: float | None
    tries: int
    lost: list[str]
    printed: str


def undisturbed(job: Job) -> tuple[float, Any]:
    """Run it to its end: seconds that its window was open, and what it left."""
    with _started(job) as (process, output):
        _wait(job.begun, process, output)
        opened = time.monotonic()
        _wait(lambda: job.ended() or process.poll() is not None, process, output)
        window = time.monotonic() - opened
        process.wait(DEADLINE_S)
        assert process.returncode == 0, _text(output)
    return window, job.left()


def killed(job: Job, delay_s: float, expected: Any) -> Kill:
    """Kill it that long after its window opened, then give the same command until it ends well."""
    with _started(job) as (process, output):
        _wait(job.begun, process, output)
        time.sleep(delay_s)
        alive = process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE_S)
    printed = ""
    for tries in range(1, TRIES + 1):
        with _started(job) as (process, output):
            process.wait(DEADLINE_S)
            printed = _text(output)
        if process.returncode == 0:
            return Kill(delay_s if alive else None, tries, differences(job.left(), expected), printed)
    return Kill(delay_s if alive else None, TRIES, ["it never ended well"], printed)


def differences(found: Any, expected: Any) -> list[str]:
    """What differs between two outcomes, each with its place; empty where they are equal."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = sorted(found.keys() | expected.keys())
        return [f"{key}: {line}" for key in keys for line in differences(found.get(key), expected.get(key))]
    return [] if found == expected else [f"{found!r:.200} instead of {expected!r:.200}"]


def tree_digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file below `root`, by relative path."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run_left(run_dir: Path) -> dict[str, Any]:
    """Everything of a run folder that one seed determines: bytes of weights and predictions, figures, file names."""
    result = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    for key in PLACES:
        result.pop(key)
    result["training"] = {key: value for key, value in result["training"].items() if key not in CLOCKS}
    history = pd.read_csv(run_dir / "history.csv").drop(columns="seconds")
    exact = ("model.safetensors", "uncertainty.safetensors", "predictions.csv", "recipe.yaml", "config.json")
    return {
        "files": sorted(path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*")),
        "result": result,
        "history": history.to_dict("list"),
        **{name: hashlib.sha256((run_dir / name).read_bytes()).hexdigest() for name in exact},
    }


@contextmanager
def _started(job: Job) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    with TemporaryFile() as output:
        process = subprocess.Popen(
            job.command,
            env=job.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that what it starts dies with it
        )
        try:
            yield process, output
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _text(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode(errors="replace")


def _wait(met: Callable[[], bool], process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    limit = time.monotonic() + DEADLINE_S
    while not met():
        if process.poll() is not None and not met():
            raise AssertionError(f"ended before the moment came: {_text(output)}")
        if time.monotonic() > limit:
            raise AssertionError(f"the moment did not come: {_text(output)}")
        time.sleep(POLL_S)
