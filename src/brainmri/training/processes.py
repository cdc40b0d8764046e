"""The processes of one training: how many there are, how long one waits for another, and what one does for all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from accelerate.utils import broadcast_object_list
from torch import distributed

if TYPE_CHECKING:
    from accelerate import PartialState
    from transformers import PreTrainedModel

    from brainmri.recipe import Stage

# What a launcher that starts several processes tells each of them: torchrun and accelerate, and MPI's three kinds.
SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
# Before and after the training one process may work while the others wait: preparing ten million images takes hours.
PATIENCE = timedelta(hours=24)


def check_launch(environment: Mapping[str, str], *, gpu: bool) -> None:
    """See that the launcher did what it was asked for.

    environment: of this process. gpu: whether there is one.

    Raises:
        ValueError: if several processes were asked for and this one knows of no other, or if parameters were to be
            sharded (FSDP, DeepSpeed) where there is no GPU; accelerate then trains in another way without a word.
    """
    alone = not any(name in environment for name in SIZES)
    if alone and "ACCELERATE_MIXED_PRECISION" in environment and "MASTER_ADDR" in environment:
        raise ValueError(
            "accelerate was asked for several processes and started this one only, as it does for MULTI_CPU, --cpu and "
            "without --multi_gpu: use --config_file scripts/accelerate/cpu.yaml or torchrun (if one process is meant, "
            "unset MASTER_ADDR)"
        )
    if alone and int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        raise ValueError(
            f"srun started {environment['SLURM_STEP_NUM_TASKS']} tasks that do not know of each other: each machine's "
            "one task must be accelerate launch, as in scripts/slurm/train.sbatch"
        )
    for way, name in (("FSDP", "ACCELERATE_USE_FSDP"), ("DEEPSPEED", "ACCELERATE_USE_DEEPSPEED")):
        if environment.get(name, "false").lower() == "true" and not gpu:
            raise ValueError(
                f"{way} shards a model over GPUs, and this machine has none: use scripts/accelerate/cpu.yaml here"
            )
    if environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3":
        raise ValueError(
            "DeepSpeed's ZeRO stage 3 divides the parameters too, and a model in parts cannot be saved: use stage 2 "
            "(scripts/accelerate/deepspeed.yaml) or scripts/accelerate/fsdp.yaml"
        )


def described(state: PartialState) -> str | None:
    """The processes in a line of the log; None for a single one."""
    if state.num_processes == 1:
        return None
    machines = max(1, state.num_processes // int(os.environ.get("LOCAL_WORLD_SIZE", state.num_processes)))
    on = f"on {machines} machines" if machines > 1 else "on this machine"
    return f"Processes: {state.num_processes} {on}, {state.device.type}, {state.backend}"


def be_patient() -> None:
    """Let the processes wait for each other as long as preparing data may take, until the training starts."""
    _set_timeout(PATIENCE)


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """Inside, a process that waits that long for another one fails: a machine that was cut off never answers."""
    _set_timeout(timedelta(seconds=seconds))
    try:
        yield
    finally:
        be_patient()


def _set_timeout(timeout: timedelta) -> None:
    if distributed.is_initialized():
        # The public name came with torch 2.14.
        change = getattr(distributed, "set_timeout", None) or distributed.distributed_c10d._set_pg_timeout
        change(timeout)


# ---------------------------------------------------------------------- FSDP
def sharded() -> bool:
    """Whether each process holds a part of every parameter (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def check_sharding(stages: list[Stage]) -> None:
    """See that a sharded model can go through these stages.

    Raises:
        ValueError: for averaged weights and features of a frozen part, which both need whole parameters.
    """
    for number, stage in enumerate(stages):
        for key in ("ema", "cached_views"):
            if getattr(stage, key):
                raise ValueError(
                    f"FSDP: {key} needs whole parameters in every process: --recipe stages.{number}.{key}=null, or "
                    "scripts/accelerate/multi_gpu.yaml"
                )


def ready_to_shard(model: PreTrainedModel) -> None:
    """Let accelerate shard `model`: it asks for the input embeddings of a language model, and wants none here."""
    model.get_input_embeddings = lambda: None  # type: ignore[method-assign,assignment,return-value]


@torch.no_grad()
def with_whole_parameters(model: PreTrainedModel, blank: PreTrainedModel) -> PreTrainedModel:
    """`blank`, with the parameters of `model` gathered from all processes; every process must call it."""
    from torch.distributed.tensor import DTensor

    whole = {
        name: (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()
        for name, tensor in model.state_dict().items()
    }
    blank.load_state_dict(whole)
    return blank


T = TypeVar("T")


def decided(state: PartialState, work: Callable[[], T]) -> T:
    """What `work` returns in the main process, in every process; each must call it.

    An error of a user's ends them all, and the main process alone tells of it.

    Raises:
        ValueError, OSError: what `work` raises, in the main process.
        SystemExit: in the others.
    """
    box: list[Any] = [None, None]
    error: Exception | None = None
    if state.is_main_process:
        try:
            box[0] = work()
        except (ValueError, OSError) as raised:
            error, box[1] = raised, str(raised)
    if state.num_processes > 1:
        broadcast_object_list(box)
    if error:
        raise error
    if box[1] is not None:
        raise SystemExit(2)
    answer: T = box[0]
    return answer


def first_in_main_process(state: PartialState, work: Callable[[], T]) -> T:
    """`work` in the main process, and then in the others, which find in the cache what it left there.

    Raises:
        as `decided`.
    """
    done: list[T] = []
    decided(state, lambda: done.append(work()))
    return done[0] if done else work()
