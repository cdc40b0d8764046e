"""What the terminal shows of a training: one bar with the time left, and a line for each epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from transformers import ProgressCallback, TrainerCallback

from brainmri.training.tally import EpochTally

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
