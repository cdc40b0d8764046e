"""What a training keeps of freed memory, and gives back before it scores."""

import platform
import subprocess
import sys
from importlib import import_module

import pytest
import torch

from brainmri.training.trainer import SliceTrainer

from .conftest import TINY

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an allocator other than glibc's")
MEBIBYTES = 240
CODE = f"""
import numpy as np
from brainmri.environment import keep_freed_memory, return_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

assert keep_freed_memory()
before = resident()
arrays = [np.ones(1 << 20) for _ in range({MEBIBYTES} // 8)]
last = np.ones(100)  # behind them: memory before it is given back by asking alone
full = resident()
del arrays
kept = resident()
return_freed_memory()
print(full - before, kept - before, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_freed_memory_is_kept_until_it_is_returned() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    full, kept, returned = map(int, done.stdout.split())
    assert full >= MEBIBYTES
    assert kept >= MEBIBYTES
    assert returned < MEBIBYTES / 4


@pytest.mark.integration
def test_a_run_returns_what_its_training_kept_before_it_scores(train_here, phantom, tmp_path, monkeypatch) -> None:
    """Else the tensors of scoring lie beside what is left of those of training, and memory grows beyond its peak."""
    training, order = import_module("brainmri.training.train"), []

    def noted(name: str) -> None:
        real = getattr(training, name)

        def call(*arguments, **others):
            order.append(name)
            return real(*arguments, **others)

        monkeypatch.setattr(training, name, call)

    for name in ("run_stages", "return_freed_memory", "predict"):
        noted(name)
    places: dict[bool, set[int]] = {True: set(), False: set()}
    prepare = SliceTrainer._prepare_inputs

    def prepared(trainer: SliceTrainer, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        batch = prepare(trainer, inputs)
        places[trainer.model.training].add(batch["pixel_values"].data_ptr())
        return batch

    monkeypatch.setattr(SliceTrainer, "_prepare_inputs", prepared)
    done = train_here(
        *TINY, "--data_dir", str(phantom), "--num_train_epochs", "1", "--output_dir", str(tmp_path / "run")
    )
    assert done.returncode == 0, done.stderr
    assert order == ["run_stages", "return_freed_memory", "predict", "predict"]
    assert len(places[True]) == 1  # each batch lies where the one before it lay
    assert places[False] and not places[True] & places[False]
