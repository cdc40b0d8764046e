"""The `Trainer` of one stage: batches augmented on the device, a clock, and a record of every epoch.

Its callbacks give each epoch fresh random numbers, keep the record, and draw the bar.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import broadcast
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler, Sampler
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
)
from transformers.trainer_utils import EvalLoopOutput

from brainmri.errors import NoSpaceError, advising, lost_process, out_of_memory, writing
from brainmri.models.load import class_names
from brainmri.models.preprocessing import normalized
from brainmri.recipe import Recipe, Stage
from brainmri.training.arguments import memory_advice
from brainmri.training.batches import SliceBatches, mixer
from brainmri.training.checkpoints import Seal, best_of, fault, remove_older, seal
from brainmri.training.feature_cache import AfterFrozen, FeatureBatches
from brainmri.training.hard_examples import HardExamples
from brainmri.training.loss import training_loss
from brainmri.training.optimizer import MovingAverage, frozen_norms, parameter_groups
from brainmri.training.processes import ready_to_shard, sharded
from brainmri.training.progress import Clock, EpochLines, EpochTally, LossProgress, diverged, not_finite
from brainmri.training.streaming import StreamedImages
from brainmri.transforms.augment import augment

EACH_STEP, SELDOM = 1, 10  # steps between two looks at the loss: where it lies in reach, and on a GPU, which would wait


class SliceTrainer(Trainer):
    """Trains on `SliceBatches` or `StreamedImages`, or an `AfterFrozen` on `FeatureBatches`.

    class_weights: of each class in the training loss; none for equal ones. whole: the model that has every parameter,
    where `model` is only the part of it that trains. seal: writes the manifest of a checkpoint, last. spent_s: seconds
    that went into this stage already. Each epoch's training loss and accuracy (of the augmented batches as they
    passed), the seconds since the first step and the share of them that was not training stand in `state.log_history`,
    so that they survive a resume.
    """

    model: PreTrainedModel | AfterFrozen
    train_dataset: SliceBatches | FeatureBatches | StreamedImages

    def __init__(
        self,
        *,
        recipe: Recipe,
        stage: Stage,
        max_minutes: float | None,
        whole: PreTrainedModel,
        class_weights: Sequence[float] | None = None,
        seal: Seal = seal,
        spent_s: float = 0.0,
        **kwargs: Any,
    ) -> None:
        smoothing = kwargs["args"].label_smoothing_factor
        self.training_loss = training_loss(recipe, class_weights, smoothing, class_names(whole))
        # Told of it, the Trainer counts the images of an optimiser step, which `compute_loss` divides by.
        super().__init__(data_collator=_as_it_is, compute_loss_func=self.training_loss, **kwargs)
        if sharded():
            ready_to_shard(whole)
        self.stage, self.whole, self.seal, self.clock = stage, whole, seal, Clock(spent_s)
        self.augmentation = recipe.augmentations()
        self.normalize = recipe.input.normalize
        self.mix = mixer(recipe.mix, cast(int, self.model.config.num_labels)) if recipe.mix else None
        self.average = MovingAverage(self.model, stage.ema) if stage.ema else None
        data = self.train_dataset
        self.hard = HardExamples(data) if isinstance(data, SliceBatches) and data.hard_example_share < 1 else None
        self.batch: torch.Tensor | None = None  # the latest one in training
        self.max_minutes = max_minutes
        self.cut_short = False  # by max_minutes
        self.ended = False  # before the checkpoint that was resumed from
        self.loss_is_scaled_for_ga = True  # by `compute_loss`
        self.frozen_norms = frozen_norms(self.model)
        self.samples_by_rank: list[int] = []  # of the latest epoch
        self.tally = EpochTally()
        self.remove_callback(PrinterCallback if self.args.disable_tqdm else ProgressCallback)
        self.add_callback(EpochLines() if self.args.disable_tqdm else LossProgress(lambda: self.tally))
        self.add_callback(EpochRecord(self))

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        """A random order of whole global batches: the rest of an epoch (less than a batch) waits for another epoch.

        Otherwise processes would share the last batch unequally, and two would not train as one does.
        """
        dataset = self.train_dataset
        batch = self._train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        whole = len(dataset) // batch * batch
        return RandomSampler(dataset, num_samples=whole or len(dataset))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Streamed images are divided between the processes already: accelerate would divide them again."""
        if not isinstance(self.train_dataset, StreamedImages):
            return super().get_train_dataloader()
        return self.train_dataset.loader(
            batch=self._train_batch_size,
            accumulation=self.args.gradient_accumulation_steps,
            rank=self.args.process_index,
            processes=self.args.world_size,
            workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def pixels_of(self, batch: dict[str, Any]) -> torch.Tensor:
        """What the network gets of a batch of images: augmented, normalised, on the device; (B, 3, H, W)."""
        pixels: torch.Tensor = self._prepare_inputs(batch)["pixel_values"]
        return pixels

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        uniform, positions = inputs.pop("uniform", None), inputs.pop("positions", None)
        if positions is not None:
            self.tally.saw(positions)
        if "features" in inputs:
            return inputs
        pixels = inputs["pixel_values"]
        if uniform is not None and self.augmentation:
            pixels = augment(pixels, uniform, self.augmentation)
        pixels = normalized(pixels.float(), self.normalize)
        if uniform is not None and self.mix:
            pixels, inputs["labels"] = self.mix(pixels, inputs["labels"])
        # As the weights are (see run_stages); a mixer gives its images back in another order.
        if not self.model.training:
            return inputs | {"pixel_values": pixels.contiguous(memory_format=torch.channels_last)}
        # A batch takes the place of the one before it: elsewhere it would part the memory that a step freed.
        if self.batch is None or self.batch.shape != pixels.shape:
            self.batch = torch.empty_like(pixels, memory_format=torch.channels_last)
        return inputs | {"pixel_values": self.batch.copy_(pixels)}

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimiser of the arguments, with the groups of `parameter_groups` instead of the Trainer's own.

        The Trainer's would let the weights of batch norms, class tokens and position embeddings decay.
        """
        if self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.whole)
            groups = parameter_groups(self.whole, self.stage, self.args.learning_rate, self.args.weight_decay)
            self.optimizer = kind(groups, **options)
        return self.optimizer

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """The Trainer's; what ends it early knows where it ended, and what would help."""
        try:
            return super().train(*args, **kwargs)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or lost_process(error):
                error.add_note(f"at epoch {self.state.epoch or 0:.2f}, step {self.state.global_step}")
            elif out_of_memory(error) and not getattr(error, "__notes__", None):
                error.add_note(memory_advice(self.args))
            raise

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """None are counted: pixels times weights, as the Trainer has it, is no figure of a convolution, and takes a
        walk through all layers in every step."""
        return 0

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.clock.start()
        return super().training_step(*args, **kwargs)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The recipe's loss in training; outside it plain cross entropy, so that validation losses compare.

        In training it is this batch's part of the mean over all images of the process's optimiser step, whatever the
        batches that they come in. The model never sees the labels: it would take mixed ones for a question of many
        labels, and save that.
        """
        for module in self.frozen_norms:
            module.eval()  # model.train() has just woken them
        labels = inputs["labels"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        if model.training:
            loss = self.training_loss(outputs.logits, labels)
            self.tally.add(loss, outputs.logits, labels)
            if self.hard:
                self.hard.note(self.tally.latest, outputs.logits, labels)
            loss = loss * (len(labels) / num_items_in_batch.sum())  # a number for each GPU, where one process has many
        else:
            loss = functional.cross_entropy(outputs.logits, labels)
        return (loss, outputs) if return_outputs else loss

    def check_loss(self) -> None:
        """See, before the weights take in a step, that the epoch's loss is still a number, in every process.

        On a GPU only every tenth step is looked at, as a look waits for it; the end of an epoch is always.

        Raises:
            DivergedError: if it is not.
        """
        if (self.state.global_step + 1) % (EACH_STEP if self.args.device.type == "cpu" else SELDOM) == 0:
            self._require_number(self._total(self.tally.sums[:1]).item(), "the loss", self.state.global_step + 1)

    def _check_weights(self) -> None:
        """See, before weights are kept, that they are numbers: a last step may have spoilt them without a bad loss."""
        bad = self._total(not_finite(self.model.state_dict().values())[None].double()).item()
        self._require_number(float("nan") if bad else 0.0, "a weight", self.state.global_step)

    def _total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, so that all of them stop at one step."""
        return self.accelerator.reduce(values, "sum") if self.args.world_size > 1 else values

    def _require_number(self, value: float, what: str, step: int) -> None:
        if not math.isfinite(value):
            whole, rate = self.model is self.whole, self._highest_rate()
            raise diverged(what, value, self.args, step=step, epoch=self.state.epoch or 0.0, rate=rate, whole=whole)

    def _highest_rate(self) -> float:
        groups = cast(torch.optim.Optimizer, self.optimizer).param_groups
        return float(max(group["lr"] for group in groups))

    def finish_epoch(self) -> None:
        """Log the epoch's training loss and accuracy over all processes.

        Raises:
            DivergedError: if the loss is no number.
            RuntimeError: if two processes saw the same sample, which means that they did not share the work.
        """
        self.samples_by_rank = self.tally.samples_by_rank(self.args.world_size, len(self.train_dataset))
        loss, correct, samples = self.accelerator.reduce(self.tally.sums, "sum").tolist()
        self._require_number(loss, "the loss", self.state.global_step)
        self.tally = EpochTally()
        if self.hard:
            self.hard.finish_epoch()
        figures = {"train_loss": loss / samples, "train_accuracy": correct / samples, "samples": samples}
        self.log(figures | {"learning_rate": self._highest_rate()})
        # For a resume; it is no figure to report.
        cast(dict[str, Any], self.state.log_history[-1])["samples_by_rank"] = self.samples_by_rank

    def out_of_time(self) -> bool:
        """Whether one more epoch like those before would end after `max_minutes`; all processes get one answer."""
        if self.max_minutes is None:
            return False
        projected = self.clock.elapsed_s + (self.clock.elapsed_s - self.clock.spent_s) / (self.state.epoch or 1)
        self.cut_short = bool(
            broadcast(torch.tensor(projected, device=self.args.device)).item() > 60 * self.max_minutes
        )
        return self.cut_short

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        cut = {"cut_short": 1.0} if self.cut_short else {}
        super().log(logs | {"elapsed_s": self.clock.elapsed_s, "aside_s": self.clock.aside_s} | cut, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        with self.clock.aside(), self.average.in_place() if self.average else nullcontext():
            return super().evaluate(*args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """The Trainer's, with the loss taken over the gathered logits: its own mean counts padded samples twice."""
        batch = self.args.per_device_eval_batch_size
        with advising(f"try --per_device_eval_batch_size {max(1, batch // 2)} (it is {batch} now)"):
            output = super().evaluation_loop(*args, **kwargs)
        logits, labels = (torch.from_numpy(np.asarray(part)) for part in (output.predictions, output.label_ids))
        assert output.metrics is not None
        output.metrics[f"{kwargs.get('metric_key_prefix', 'eval')}_loss"] = float(
            functional.cross_entropy(logits.double(), labels)
        )
        return output

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if isinstance(self.model, AfterFrozen):  # the Trainer cannot save channels-last weights of a plain module
            state_dict = {name: tensor.contiguous() for name, tensor in self.model.state_dict().items()}
        super()._save(output_dir, state_dict)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """The Trainer's; its manifest comes when every process has written its part, and older ones go after that."""
        with self.clock.aside():
            self._save_sealed(*args, **kwargs)

    def _save_sealed(self, *args: Any, **kwargs: Any) -> None:
        self._check_weights()
        folder = self._checkpoint()
        if self.args.should_save:
            shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed here
        try:
            with writing(folder, self._checkpoint_bytes()):
                if self.average and self.args.should_save:
                    self.average.save(folder)
                if self.hard:
                    self.hard.save(folder, here=self.args.should_save)
                self.accelerator.wait_for_everyone()
                limit, self.args.save_total_limit = self.args.save_total_limit, None
                try:
                    super()._save_checkpoint(*args, **kwargs)
                finally:
                    self.args.save_total_limit = limit
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    self.seal(folder)
        except NoSpaceError:
            if self.args.should_save:
                shutil.rmtree(folder, ignore_errors=True)  # half a checkpoint is none, and takes what space is left
            raise
        if self.args.should_save:
            best = self.state.best_model_checkpoint
            remove_older(folder.parent, limit, Path(best).name if best else None)

    def _checkpoint_bytes(self) -> int:
        """What a checkpoint takes: the weights, their average, and what the optimiser keeps of each."""
        states = cast(torch.optim.Optimizer, self.optimizer).state.values()
        kept = [*self.model.state_dict().values(), *(value for state in states for value in state.values())]
        kept += list(self.average.ema.module.state_dict().values()) if self.average else []
        return sum(tensor.nbytes for tensor in kept if isinstance(tensor, torch.Tensor))

    def _checkpoint(self) -> Path:
        return Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"

    def _init_training_state(self, *args: Any, **kwargs: Any) -> Any:
        """The Trainer's; a run folder that was moved finds its best checkpoint again, and what had ended stays so."""
        state = super()._init_training_state(*args, **kwargs)
        checkpoint = args[3] if len(args) > 3 else kwargs["resume_from_checkpoint"]
        if checkpoint is not None:
            best = best_of(Path(checkpoint))
            self.state.best_model_checkpoint = str(best) if best else None
            for entry in cast(list[dict[str, Any]], self.state.log_history):
                self.samples_by_rank = entry.get("samples_by_rank", self.samples_by_rank)
            self.cut_short = bool(self.state.log_history and self.state.log_history[-1].get("cut_short"))
            stops = [c for c in self.callback_handler.callbacks if isinstance(c, EarlyStoppingCallback)]
            self.ended = (
                self.cut_short
                or self.state.global_step >= self.state.max_steps
                or any(stop.early_stopping_patience_counter >= stop.early_stopping_patience for stop in stops)
            )
        return state

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.ended:  # before the checkpoint; the Trainer would train until the next evaluation
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _load_best_model(self) -> None:
        best = Path(str(self.state.best_model_checkpoint))
        if wrong := fault(best):
            raise OSError(
                f"the best checkpoint, {best}, cannot be used: {wrong}; the same command goes back to a whole one"
            )
        super()._load_best_model()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *args: Any, **kwargs: Any) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, *args, **kwargs)
        if self.average:
            self.average.load(Path(resume_from_checkpoint))
        if self.hard:
            self.hard.load(Path(resume_from_checkpoint))

    def keep_average(self) -> None:
        """Give the trained model the averaged weights, where the stage has them: the best ones or the last."""
        if self.average is None:
            return
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint:
            self.average.load(Path(self.state.best_model_checkpoint))
        self.average.hand_over()


def _as_it_is(batch: Any) -> Any:
    return batch  # `SliceBatches` gives whole batches already


class EpochRecord(TrainerCallback):
    """Gives the training set its epoch's random numbers, and has each epoch recorded."""

    def __init__(self, trainer: SliceTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for entry in state.log_history[-1:]:  # of the checkpoint that was loaded, if one was
            self.trainer.clock.go_on(entry["elapsed_s"], entry["aside_s"])

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
