"""How long a script takes to say how it is used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.timing import comparison, in_turns

TARGET = 1.0  # seconds
TARGETS = {"train.py": 3.0}  # its flags are those of TrainingArguments, whose import brings torch


def measure(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Times of `python SCRIPT --help` for every script of `folder`, in new processes; those of one target together.

    Raises:
        ValueError: if a script fails.
    """
    scripts = sorted(folder.glob("*.py"))
    seconds = in_turns({script.name: partial(_help, script) for script in scripts}, repeats, "start-up")
    return [
        comparison(
            "--help",
            {name: values for name, values in seconds.items() if TARGETS.get(name, TARGET) == target},
            at_most=target,
        )
        for target in sorted({TARGETS.get(name, TARGET) for name in seconds})
    ]


def _help(script: Path) -> Callable[[], object]:
    def run() -> None:
        done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"{script.name} --help failed: {done.stderr.strip()}")

    return run
