"""scripts/slurm/train.sbatch with a stand-in for SLURM: two nodes, and the signal before the time limit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..training.conftest import TINY, result_of
from .conftest import ROOT

JOB = "scripts/slurm/train.sbatch"
# Two nodes on this machine: every task with the variables that SLURM gives it. It ends when they have, and passes TERM.
SRUN = """#!/bin/bash
shift
trap 'kill -TERM $first $second; wait' TERM
SLURM_NODEID=0 "$@" & first=$!
SLURM_NODEID=1 "$@" & second=$!
wait $first && wait $second
"""
SCONTROL = """#!/bin/bash
case "$1" in show) echo 127.0.0.1; echo other;; *) echo "$@" >> "$STANDIN/scontrol.txt";; esac
"""


@pytest.fixture
def slurm(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment of a job of two nodes."""
    own = tmp_path / "bin"
    own.mkdir()
    _script(own / "srun", SRUN)
    _script(own / "scontrol", SCONTROL)
    path = os.pathsep.join([str(own), str(Path(sys.executable).parent), environment["PATH"]])
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "node[0-1]", "SLURM_NNODES": "2"}
    return environment | job | {"PATH": path, "STANDIN": str(tmp_path)}


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_every_node_launches_its_share(slurm: dict[str, str], tmp_path: Path) -> None:
    _script(tmp_path / "bin" / "accelerate", '#!/bin/bash\nprintf "%s\\n" "$@" > "$STANDIN/node$SLURM_NODEID.txt"\n')
    arguments = ["--arch", "resnet50", "--recipe", "title=two words", "stages.0.epochs=3"]
    job = ["bash", JOB, *arguments]
    subprocess.run(job, env=slurm | {"SLURM_GPUS_ON_NODE": "8"}, cwd=ROOT, check=True, timeout=60)
    port = str(20000 + os.getpid() % 20000)
    for rank in range(2):
        assert (tmp_path / f"node{rank}.txt").read_text().splitlines() == [
            *("launch", "--config_file", "scripts/accelerate/multi_node.yaml", "--num_machines", "2"),
            *("--num_processes", "16", "--machine_rank", str(rank), "--main_process_ip", "127.0.0.1"),
            *("--main_process_port", port, "scripts/train.py", *arguments),
        ]


def test_a_failed_training_fails_the_job_and_is_not_queued_again(slurm: dict[str, str], tmp_path: Path) -> None:
    _script(tmp_path / "bin" / "accelerate", "#!/bin/bash\nexit 2\n")
    assert subprocess.run(["bash", JOB], env=slurm, cwd=ROOT, timeout=60).returncode == 2
    assert not (tmp_path / "scontrol.txt").exists()


def test_the_signal_before_the_limit_ends_the_training_and_queues_the_job_again(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    training = """#!/bin/bash
trap 'touch "$STANDIN/ended$SLURM_NODEID"; exit 143' TERM
touch "$STANDIN/started$SLURM_NODEID"
for _ in {1..600}; do sleep 0.1; done
"""
    _script(tmp_path / "bin" / "accelerate", training)
    with subprocess.Popen(["bash", JOB, "--arch", "cnn_4x4"], env=slurm, cwd=ROOT) as job:
        deadline = time.monotonic() + 60
        while not all((tmp_path / f"started{rank}").exists() for rank in range(2)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=60) == 0
    assert all((tmp_path / f"ended{rank}").exists() for rank in range(2))
    assert (tmp_path / "scontrol.txt").read_text() == f"requeue {os.getpid()}\n"


@pytest.mark.slow
def test_the_job_trains_over_two_nodes(slurm: dict[str, str], phantom: Path, tmp_path: Path) -> None:
    own = ["--data_dir", str(phantom), "--num_train_epochs", "1", "--output_dir", str(tmp_path / "run")]
    job = ["bash", JOB, *TINY, *own]
    done = subprocess.run(job, env=slurm, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Processes: 2 on 2 machines" in done.stdout
    assert result_of(tmp_path / "run")["training"]["world_size"] == 2
