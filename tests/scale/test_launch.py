"""The files of scripts/accelerate, each started as far as processors without a GPU can."""

import importlib.util
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from safetensors.numpy import load_file

from brainmri.models.introspect import resolve
from brainmri.training.processes import check_launch, check_sharding

from ..training.conftest import result_of
from .conftest import LAUNCH, ROOT, Launch, with_file

FILES = sorted(path.name for path in (ROOT / "scripts" / "accelerate").glob("*.yaml"))
LOSSES = ["train_loss", "validation_loss", "train_accuracy", "validation_accuracy"]
on_a_machine_without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.mark.parametrize("name", FILES)
def test_accelerate_reads_every_file_and_the_documents_name_it(name: str) -> None:
    assert FILES == ["cpu.yaml", "deepspeed.yaml", "fsdp.yaml", "multi_gpu.yaml", "multi_node.yaml"]
    path = ROOT / "scripts" / "accelerate" / name
    read = load_config_from_file(str(path))
    assert read.distributed_type in ("MULTI_GPU", "FSDP", "DEEPSPEED")  # of MULTI_CPU one process is started
    command = f"accelerate launch --config_file scripts/accelerate/{name}"
    assert command in path.read_text()
    assert command in (ROOT / "docs" / "scale.md").read_text()


@pytest.mark.integration
def test_two_processes_of_one_machine_train_one_model(launch: Launch, tmp_path: Path) -> None:
    done = launch(with_file("cpu.yaml"), "--num_train_epochs", "1", "--output_dir", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "Processes: 2 on this machine, cpu, gloo" in done.stdout
    training = result_of(tmp_path / "run")["training"]
    assert (training["world_size"], training["samples_by_rank"]) == (2, [48, 48])


@pytest.mark.integration
def test_a_launcher_that_starts_one_process_of_two_is_refused(launch: Launch, tmp_path: Path) -> None:
    settings = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_CPU", "num_processes": 2}
    (tmp_path / "usual.yaml").write_text(yaml.safe_dump(settings | {"use_cpu": True}))
    done = launch([*LAUNCH, "--config_file", str(tmp_path / "usual.yaml")], "--output_dir", str(tmp_path / "run"))
    assert done.returncode != 0
    assert "error: accelerate was asked for several processes and started this one only" in done.stderr
    assert "scripts/accelerate/cpu.yaml or torchrun" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.integration
@on_a_machine_without_gpu
def test_sharding_without_a_gpu_is_refused(launch: Launch, tmp_path: Path) -> None:
    launcher = with_file("fsdp.yaml", "--num_processes", "2")
    done = launch(launcher, "--output_dir", str(tmp_path / "run"))
    assert done.returncode != 0
    assert "error: FSDP shards a model over GPUs, and this machine has none" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.integration
def test_deepspeed_says_what_to_install(launch: Launch, tmp_path: Path) -> None:
    if importlib.util.find_spec("deepspeed"):
        pytest.skip("DeepSpeed is installed")
    done = launch(with_file("deepspeed.yaml", "--num_processes", "2"), "--output_dir", str(tmp_path / "run"))
    assert done.returncode != 0
    assert re.search(r"DeepSpeed is not installed.*pip3? install deepspeed", done.stderr)


@pytest.mark.parametrize("name", ["multi_gpu.yaml", "fsdp.yaml", "deepspeed.yaml", "multi_node.yaml"])
def test_the_number_of_processes_must_be_given(name: str) -> None:
    words = ["--config_file", str(ROOT / "scripts" / "accelerate" / name), "scripts/train.py"]
    with pytest.raises(ValueError, match="You need to manually pass in `--num_processes`"):
        _validate_launch_command(launch_command_parser().parse_args(words))
    given, _, _ = _validate_launch_command(launch_command_parser().parse_args(["--num_processes", "4", *words]))
    assert given.num_processes == 4


LAUNCHED = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "True"}


@pytest.mark.parametrize(
    ("environment", "gpu", "said"),
    [
        (LAUNCHED | {"MASTER_ADDR": "127.0.0.1"}, True, "started this one only"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, True, "srun started 4 tasks that do not know of each other"),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true"}, False, "FSDP shards a model over GPUs"),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_DEEPSPEED": "true"}, False, "DEEPSPEED shards a model over GPUs"),
        ({"WORLD_SIZE": "2", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, True, "use stage 2"),
    ],
)
def test_what_the_environment_tells_of_a_bad_launch(environment: dict[str, str], gpu: bool, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_launch(environment, gpu=gpu)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"MASTER_ADDR": "node0"},  # a job that names it for others
        LAUNCHED,
        LAUNCHED | {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2"},
        LAUNCHED | {"MASTER_ADDR": "127.0.0.1", "OMPI_COMM_WORLD_SIZE": "2"},
        {"SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_STEP_NUM_TASKS": "2", "WORLD_SIZE": "16"},
    ],
)
def test_a_good_launch_is_let_through(environment: dict[str, str]) -> None:
    check_launch(environment, gpu=False)


def test_what_needs_whole_parameters_is_refused_under_fsdp() -> None:
    change = "stages=[{epochs: 1, learning_rate: 0.1, ema: 0.9}]"
    with pytest.raises(ValueError, match=r"--recipe stages\.0\.ema=null"):
        check_sharding(resolve("cnn_4x4", "clean", [change]).stages)


@pytest.mark.slow
def test_multi_gpu_trains_on_what_there_is(launch: Launch, tmp_path: Path) -> None:
    launcher = with_file("multi_gpu.yaml", "--num_processes", "2")
    done = launch(launcher, "--num_train_epochs", "1", "--output_dir", str(tmp_path / "run"), CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    assert result_of(tmp_path / "run")["training"]["world_size"] == 2


@pytest.mark.slow
def test_a_sharded_model_trains_saves_and_resumes_as_a_whole_one(launch: Launch, tmp_path: Path) -> None:
    """FSDP2 in two processes over gloo, small parts too, in two stages: what a GPU does with fsdp.yaml, but slowly."""
    two = "stages=[{epochs: 2, learning_rate: 0.003}, {epochs: 3, learning_rate: 0.001}]"
    runs = {name: tmp_path / name for name in ("whole", "sharded")}
    sharding = with_file("fsdp.yaml", "--num_processes", "2", "--fsdp_min_num_params", "100")
    launchers = {"whole": with_file("cpu.yaml"), "sharded": [*sharding, str(Path(__file__).with_name("on_gloo.py"))]}
    recipe = ["--recipe", "input.size=32", "model.arguments.image_size=32", "model.arguments.dropout=0", two]
    for name, launcher in launchers.items():
        kept = ["--keep_checkpoints", "true", "--save_total_limit", "9", "--output_dir", str(runs[name])]
        done = launch(launcher, *recipe, *kept)
        assert done.returncode == 0, done.stderr
    check = partial(_check_alike, runs["whole"], runs["sharded"])
    check()
    found = (runs["sharded"] / "checkpoints" / "stage-2").glob("checkpoint-*")
    first = min(found, key=lambda checkpoint: int(checkpoint.name[11:]))
    done = launch(launchers["sharded"], *recipe, *kept, "--resume_from_checkpoint", str(first))
    assert done.returncode == 0, done.stderr
    check()


def _check_alike(whole: Path, sharded: Path) -> None:
    first, second = (pd.read_csv(run / "history.csv") for run in (whole, sharded))
    np.testing.assert_allclose(first[LOSSES], second[LOSSES], atol=1e-5)
    weights, parts = (load_file(run / "model.safetensors") for run in (whole, sharded))
    assert weights.keys() == parts.keys()
    for name, tensor in parts.items():
        np.testing.assert_allclose(tensor, weights[name], atol=1e-5)
