"""A training whose loss, or a weight, is no number any more: what the user is told of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from brainmri.training.checkpoints import fault, saved_checkpoints

if TYPE_CHECKING:
    from transformers import TrainingArguments


class DivergedError(ValueError):
    """The loss, or a weight, is no number any more."""


def not_finite(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """Whether any of the values is infinite or nan: a bool tensor without dimensions, on their device."""
    known = [tensor for tensor in tensors if tensor.is_floating_point()]
    return torch.stack([(~torch.isfinite(tensor)).any() for tensor in known]).any()


def diverged(
    what: str, value: float, arguments: TrainingArguments, *, step: int, epoch: float, rate: float, whole: bool
) -> DivergedError:
    """The error that says where the training stopped, what is left of it, and what to try.

    Args:
        what: that has the `value`, which is no finite number.
        arguments: of the stage; its checkpoints lie in `output_dir`.
        step, epoch, rate: where it was, and its highest learning rate there.
        whole: whether a checkpoint holds the weights of the whole network, so that another run can begin with them.
    """
    precision = "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else ""
    advice = [f"a lower --learning_rate ({rate / 10:.2g})" if rate < 1 else "a --learning_rate below 0.01"]
    if not 0 < arguments.max_grad_norm <= 0.1:
        advice.append(f"a lower --max_grad_norm ({min(arguments.max_grad_norm or 1.0, 1.0) / 2:g})")
    if precision:
        advice.append(f"--{precision} false (full precision)")
    saved = reversed(saved_checkpoints(Path(str(arguments.output_dir))))
    last = next((checkpoint for checkpoint in saved if fault(checkpoint) is None), None)
    kept = f"{last} is good" if last else "there is no checkpoint before it"
    begin = f"; --weights {last} begins with its weights" if last and whole else ""
    return DivergedError(
        f"{what} is {'infinite' if math.isinf(value) else 'nan'} at step {step}, epoch {epoch:.2f}, learning rate "
        f"{rate:g}: the training stopped there and kept nothing of it ({kept}). Try {' or '.join(advice)}, with "
        f"--overwrite or another --output_dir{begin}"
    )
