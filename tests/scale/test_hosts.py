"""One training over two hosts, the cable between them pulled while it runs."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from ..training.conftest import TINY, result_of
from .conftest import TRAIN, Launch, with_file
from .hosts import ADDRESSES, Hosts

pytestmark = pytest.mark.integration

EPOCHS = 30
WAIT = 6  # seconds of --ddp_timeout


def _both(hosts: Hosts, phantom: Path, run: Path, *arguments: str) -> list[subprocess.Popen[bytes]]:
    own = [*TINY, "--data_dir", str(phantom), "--num_train_epochs", str(EPOCHS), "--output_dir", str(run)]
    launcher = [
        with_file(
            "multi_node.yaml", "--num_processes", "2", "--main_process_ip", ADDRESSES[0], "--machine_rank", str(r)
        )
        for r in range(2)
    ]
    return [hosts.start(rank, [*launcher[rank], TRAIN, *own, *arguments]) for rank in (1, 0)]


def _until(condition: Callable[[], bool], seconds: float, running: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert all(process.poll() is None for process in running), "a host ended before its time"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _cut_off(hosts: Hosts, phantom: Path, run: Path) -> None:
    """Start both, pull the cable after the first checkpoint, and see both end with a sentence."""
    processes = _both(hosts, phantom, run, "--ddp_timeout", str(WAIT))
    state = "checkpoints/stage-1/checkpoint-*/trainer_state.json"
    _until(lambda: any(run.glob(state)), 180, processes)
    hosts.pull_the_cable()
    cut = time.monotonic()
    for process in processes:
        assert process.wait(timeout=WAIT + 60) != 0
    assert time.monotonic() - cut < WAIT + 45  # most of it is the launcher's own end
    assert not (run / "result.json").exists()
    for rank in range(2):
        text = hosts.log(rank).read_text()
        assert "another process of this training ended" in text, text[-3000:]
        assert "continue with" in text
        assert "in training_step" not in text  # no traceback of ours, only the launcher's


@pytest.mark.slow  # it waits for the timeout of a lost host
def test_a_host_that_is_cut_off_ends_the_other_with_a_sentence(hosts: Hosts, phantom: Path, tmp_path: Path) -> None:
    _cut_off(hosts, phantom, tmp_path / "run")


@pytest.mark.slow
def test_two_hosts_train_as_one_process_does_and_go_on_after_a_cut(
    hosts: Hosts, launch: Launch, phantom: Path, tmp_path: Path
) -> None:
    one, whole, cut = tmp_path / "one", tmp_path / "whole", tmp_path / "cut"
    done = launch(["python"], "--num_train_epochs", str(EPOCHS), "--output_dir", str(one))
    assert done.returncode == 0, done.stderr
    for process in _both(hosts, phantom, whole):
        assert process.wait(timeout=300) == 0, hosts.log(0).read_text()[-3000:]
    assert "Processes: 2 on 2 machines, cpu, gloo" in hosts.log(0).read_text()
    assert result_of(whole)["training"]["world_size"] == 2
    losses = ["train_loss", "validation_loss", "train_accuracy", "validation_accuracy"]
    first, second = (pd.read_csv(run / "history.csv")[losses] for run in (one, whole))
    np.testing.assert_allclose(first, second, atol=1e-5)

    _cut_off(hosts, phantom, cut)
    hosts.plug_it_in()
    for process in _both(hosts, phantom, cut, "--resume_from_checkpoint", "true"):
        assert process.wait(timeout=300) == 0, hosts.log(0).read_text()[-3000:]
    pd.testing.assert_frame_equal(pd.read_csv(cut / "history.csv")[losses], pd.read_csv(whole / "history.csv")[losses])
    weights = load_file(whole / "model.safetensors")
    for name, tensor in load_file(cut / "model.safetensors").items():
        np.testing.assert_array_equal(tensor, weights[name])
    alone = load_file(one / "model.safetensors")
    difference = max(np.abs(weights[name] - tensor).max() for name, tensor in alone.items())
    assert difference < 1e-5
    print(f"largest difference of a weight between one process and two hosts: {difference:.1e}")
