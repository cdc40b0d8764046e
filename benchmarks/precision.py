"""Training steps in float32 and in bfloat16 (autocast): what `train.py --bf16 true` is worth on this machine."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.candidate import our_trainer
from benchmarks.case import Material
from benchmarks.step import bare_steps
from benchmarks.timing import comparison, in_turns

BLOCK = 10  # steps


def measure(material: Material, repeats: int) -> dict[str, Any]:
    """Times of `repeats` blocks of bare training steps in either precision, each after one that is not counted."""
    with tempfile.TemporaryDirectory() as scratch:
        ways = {
            "fp32": partial(_steps, material, Path(scratch), bf16=False),
            "bf16": partial(_steps, material, Path(scratch), bf16=True),
        }
        seconds = in_turns(ways, repeats, f"precision {material.arch}")
    title = f"{material.arch}, {BLOCK} steps of {material.recipe.batch_size} images at {material.recipe.input.size} px"
    return comparison(title, seconds, reference="fp32", images=BLOCK * material.recipe.batch_size)


def _steps(material: Material, folder: Path, *, bf16: bool) -> Callable[[], object]:
    model = material.model()
    arguments = our_trainer(material, model, folder, bf16=bf16).args
    torch.nn.Module.to(model, arguments.device)
    steps = bare_steps(model, material, arguments)
    next(steps)
    return partial(deque, islice(steps, BLOCK), 0)
