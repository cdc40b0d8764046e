"""What is kept and shown of a training: its clock, sums of an epoch, a bar with the time left, and divergence."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import ProgressCallback, TrainerCallback

from brainmri.training.checkpoints import fault, saved_checkpoints

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)


class LossProgress(ProgressCallback):
    """A bar with the current loss and the time left, and a line for each epoch. tally: of the running epoch."""

    def __init__(self, tally: Callable[[], EpochTally]) -> None:
        super().__init__()
        self.tally = tally

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        if self.training_bar is not None and (state.global_step % 10 == 0 or state.global_step == 1):
            loss, _, samples = self.tally().sums.tolist()
            self.training_bar.set_postfix_str(
                f"epoch {state.epoch:.1f}, loss {loss / max(samples, 1):.4f}", refresh=False
            )

    def on_prediction_step(
        self, args: Any, state: Any, control: Any, eval_dataloader: Any = None, **kwargs: Any
    ) -> None:
        if self.training_bar is None:  # one bar at a time: the validation of an epoch belongs to the training
            super().on_prediction_step(args, state, control, eval_dataloader, **kwargs)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.training_bar is not None and (line := _line(state, logs)):
            self.training_bar.write(line)


class EpochLines(TrainerCallback):
    """The same lines, where no bar is wanted."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and (line := _line(state, logs)):
            logger.info(line)


def _line(state: Any, logs: dict[str, Any]) -> str | None:
    """What the terminal shows of an epoch's figures; None for other entries of the log."""
    for split, prefix in (("train", "train"), ("validation", "eval")):
        if f"{prefix}_accuracy" in logs:
            loss, accuracy = logs[f"{prefix}_loss"], logs[f"{prefix}_accuracy"]
            when = f"epoch {state.epoch:.3g} of {state.num_train_epochs} ({logs['elapsed_s']:.0f} s)"
            return f"{when}: {split} loss {loss:.4f}, accuracy {accuracy:.4f}"
    return None


class Clock:
    """Seconds since the first training step, and the part of them that was no training (evaluating, saving).

    spent_s: that went into the training before its first step.
    """

    def __init__(self, spent_s: float = 0.0) -> None:
        self.spent_s = spent_s
        self._before, self._aside = spent_s, 0.0
        self._started: float | None = None
        self._aside_since: float | None = None

    def start(self) -> None:
        """At every training step; the first one starts it."""
        if self._started is None:
            self._started = time.perf_counter()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done in this block is no training."""
        self._aside_since = time.perf_counter()
        try:
            yield
        finally:
            self._aside, self._aside_since = self.aside_s, None

    def go_on(self, elapsed_s: float, aside_s: float) -> None:
        """Go on from what was on it when a checkpoint was written."""
        self._before, self._aside = elapsed_s, aside_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first training step, with those before a resume."""
        return self._before + (0.0 if self._started is None else time.perf_counter() - self._started)

    @property
    def aside_s(self) -> float:
        """The part of `elapsed_s` that went into evaluating and saving."""
        return self._aside + (0.0 if self._aside_since is None else time.perf_counter() - self._aside_since)


class EpochTally:
    """Of this process, since the epoch began.

    sums: float64 (3,), on the device of the training: the loss summed over samples, correct answers, samples.
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64)
        self._positions: list[torch.Tensor] = []

    def saw(self, positions: torch.Tensor) -> None:
        """Note the samples (B,) of a batch, by their positions in the training set."""
        self._positions.append(positions)

    @property
    def latest(self) -> torch.Tensor:
        """The positions (B,) of the latest batch."""
        return self._positions[-1]

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add a batch. loss: its mean. logits: (B, C). labels: class numbers (B,), or shares (B, C) of mixed images."""
        likeliest = labels if labels.ndim == 1 else labels.argmax(1)
        correct = (logits.detach().argmax(1) == likeliest).sum()
        self.sums = self.sums.to(labels.device)
        self.sums += torch.stack([loss.detach() * len(labels), correct, labels.new_tensor(len(labels))])

    def samples_by_rank(self, processes: int, samples: int) -> list[int]:
        """How many samples each process saw; every one of them must call it. samples: of the training set.

        Raises:
            RuntimeError: if two processes saw the same sample, which means that they did not share the work.
        """
        own = torch.cat(self._positions).cpu().numpy() if self._positions else np.empty(0, np.int64)
        if processes == 1:
            return [len(own)]
        shares = gather_object([own])
        found = [len(share) for share in shares]
        distinct = len(np.unique(np.concatenate(shares)))
        if distinct != sum(found) and samples >= sum(found):
            raise RuntimeError(f"{processes} processes saw only {distinct} different samples: {found}")
        return found


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
