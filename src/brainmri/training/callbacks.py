"""What happens at the steps and epochs of a training: fresh random numbers, the record, the bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import ProgressCallback, TrainerCallback

if TYPE_CHECKING:
    from brainmri.training.trainer import SliceTrainer


class EpochRecord(TrainerCallback):
    """Gives the training set its epoch's random numbers, and has each epoch recorded."""

    def __init__(self, trainer: SliceTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.restore_clock()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.train_dataset.set_epoch(int((state.epoch or 0) + 1e-6))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.check_loss()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.average:
            self.trainer.average.update(state.global_step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.finish_epoch()
        if self.trainer.out_of_time():
            control.should_training_stop = True


class LossProgress(ProgressCallback):
    """A bar with the current loss and the time left, and a line for each epoch."""

    def __init__(self, trainer: SliceTrainer) -> None:
        super().__init__()
        self.trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        if self.training_bar is not None and (state.global_step % 10 == 0 or state.global_step == 1):
            loss, _, samples = self.trainer._sums.tolist()
            self.training_bar.set_postfix_str(
                f"epoch {state.epoch:.1f}, loss {loss / max(samples, 1):.4f}", refresh=False
            )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.training_bar is None:  # not the main process, or after the training
            return
        for split, prefix in (("train", "train"), ("validation", "eval")):
            if f"{prefix}_accuracy" in logs:
                loss, accuracy = logs[f"{prefix}_loss"], logs[f"{prefix}_accuracy"]
                when = f"epoch {state.epoch:.3g} ({logs['elapsed_s']:.0f} s)"
                self.training_bar.write(f"{when}: {split} loss {loss:.4f}, accuracy {accuracy:.4f}")
