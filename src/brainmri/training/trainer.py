"""The `Trainer` of one stage: batches augmented on the device, a clock, and a record of every epoch."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import broadcast, gather_object
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler, Sampler
from transformers import PreTrainedModel, ProgressCallback, Trainer
from transformers.trainer_utils import EvalLoopOutput

from brainmri.data.augmentation import augment
from brainmri.data.batches import SliceBatches
from brainmri.data.streaming import StreamedPictures
from brainmri.models.preprocessing import normalized
from brainmri.training.averaging import MovingAverage
from brainmri.training.callbacks import EpochRecord, LossProgress
from brainmri.training.features import AfterFrozen, FeatureBatches
from brainmri.training.mixing import mixer
from brainmri.training.parameters import parameter_groups
from brainmri.training.processes import ready_to_shard, sharded
from brainmri.training.recipe import Recipe, Stage

BATCH_NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.SyncBatchNorm)


class SliceTrainer(Trainer):
    """Trains on `SliceBatches` or `StreamedPictures`, or an `AfterFrozen` on `FeatureBatches`.

    whole: the model that has every parameter, where `model` is only the part of it that trains. spent_s: seconds that
    went into this stage already. Each epoch's training loss and accuracy (of the augmented batches as they passed), the
    seconds since the first step and the share of them that was not training stand in `state.log_history`, so that they
    survive a resume.
    """

    model: PreTrainedModel | AfterFrozen
    train_dataset: SliceBatches | FeatureBatches | StreamedPictures

    def __init__(
        self,
        *,
        recipe: Recipe,
        stage: Stage,
        max_minutes: float | None,
        whole: PreTrainedModel,
        spent_s: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_collator=_as_it_is, **kwargs)
        if sharded():
            ready_to_shard(whole)
        self.stage, self.whole, self.spent_s = stage, whole, spent_s
        self.augmentation = recipe.augmentations()
        self.normalize = recipe.input.normalize
        self.mix = mixer(recipe.mix, cast(int, self.model.config.num_labels)) if recipe.mix else None
        self.average = MovingAverage(self.model, stage.ema) if stage.ema else None
        self.max_minutes = max_minutes
        self.cut_short = False
        self.loss_is_scaled_for_ga = False  # our loss is the mean of its batch
        self.frozen_norms = [
            module
            for module in self.model.modules()
            if isinstance(module, BATCH_NORMS) and module.affine and not module.weight.requires_grad
        ]
        self.samples_by_rank: list[int] = []  # of the latest epoch
        self._start_epoch()
        self._started: float | None = None
        self._before, self._aside = spent_s, 0.0
        self._aside_since: float | None = None
        self.remove_callback(ProgressCallback)
        if not self.args.disable_tqdm:
            self.add_callback(LossProgress(self))
        self.add_callback(EpochRecord(self))

    def _start_epoch(self) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64)  # loss, correct, samples
        self._positions: list[torch.Tensor] = []

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        """A random order of whole global batches: the rest of an epoch (less than a batch) waits for another epoch.

        Otherwise processes would share the last batch unequally, and two would not train as one does.
        """
        dataset = self.train_dataset
        batch = self._train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        whole = len(dataset) // batch * batch
        return RandomSampler(dataset, num_samples=whole or len(dataset))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Streamed pictures are divided between the processes already: accelerate would divide them again."""
        if not isinstance(self.train_dataset, StreamedPictures):
            return super().get_train_dataloader()
        return self.train_dataset.loader(
            batch=self._train_batch_size,
            accumulation=self.args.gradient_accumulation_steps,
            rank=self.args.process_index,
            processes=self.args.world_size,
            workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        uniform, positions = inputs.pop("uniform", None), inputs.pop("positions", None)
        if positions is not None:
            self._positions.append(positions)
        if "features" in inputs:
            return inputs
        pixels = inputs["pixel_values"]
        if uniform is not None and self.augmentation:
            pixels = augment(pixels, uniform, self.augmentation)
        pixels = normalized(pixels.float(), self.normalize)
        if uniform is not None and self.mix:
            pixels, inputs["labels"] = self.mix(pixels, inputs["labels"])
        # As the weights are (see run_stages); a mixer gives its pictures back in another order.
        inputs["pixel_values"] = pixels.contiguous(memory_format=torch.channels_last)
        return inputs

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimiser of the arguments, with the groups of `parameter_groups` instead of the Trainer's own.

        The Trainer's would let the weights of batch norms, class tokens and position embeddings decay.
        """
        if self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.whole)
            groups = parameter_groups(self.whole, self.stage, self.args.learning_rate, self.args.weight_decay)
            self.optimizer = kind(groups, **options)
        return self.optimizer

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self._started is None:
            self._started = time.perf_counter()
        return super().training_step(*args, **kwargs)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Cross entropy, smoothed in training only, so that validation losses compare between recipes.

        The model never sees the labels: it would take mixed ones for a question of many labels, and save that.
        """
        for module in self.frozen_norms:
            module.eval()  # model.train() has just woken them
        labels = inputs["labels"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        smoothing = self.args.label_smoothing_factor if model.training else 0.0
        loss = functional.cross_entropy(outputs.logits, labels, label_smoothing=smoothing)
        if model.training:
            likeliest = labels if labels.ndim == 1 else labels.argmax(1)
            correct = (outputs.logits.detach().argmax(1) == likeliest).sum()
            self._sums = self._sums.to(labels.device)
            self._sums += torch.stack([loss.detach() * len(labels), correct, labels.new_tensor(len(labels))])
        return (loss, outputs) if return_outputs else loss

    def finish_epoch(self) -> None:
        """Log the epoch's training loss and accuracy over all processes.

        Raises:
            RuntimeError: if two processes saw the same sample, which means that they did not share the work.
        """
        own = torch.cat(self._positions).cpu().numpy() if self._positions else np.empty(0, np.int64)
        if self.args.world_size > 1:
            shares = gather_object([own])
            self.samples_by_rank = [len(share) for share in shares]
            distinct = len(np.unique(np.concatenate(shares)))
            if distinct != sum(self.samples_by_rank) and len(self.train_dataset) >= sum(self.samples_by_rank):
                raise RuntimeError(
                    f"{self.args.world_size} processes saw only {distinct} different samples: {self.samples_by_rank}"
                )
        else:
            self.samples_by_rank = [len(own)]
        loss, correct, samples = self.accelerator.reduce(self._sums, "sum").tolist()
        self._start_epoch()
        figures = {"train_loss": loss / samples, "train_accuracy": correct / samples, "samples": samples}
        highest = max(group["lr"] for group in cast(torch.optim.Optimizer, self.optimizer).param_groups)
        self.log(figures | {"learning_rate": highest})

    def out_of_time(self) -> bool:
        """Whether one more epoch like those before would end after `max_minutes`; all processes get one answer."""
        if self.max_minutes is None:
            return False
        projected = self.elapsed_s + (self.elapsed_s - self.spent_s) / (self.state.epoch or 1)
        self.cut_short = bool(
            broadcast(torch.tensor(projected, device=self.args.device)).item() > 60 * self.max_minutes
        )
        return self.cut_short

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs | {"elapsed_s": self.elapsed_s, "aside_s": self.aside_s}, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        self._aside_since = time.perf_counter()
        try:
            with self.average.in_place() if self.average else nullcontext():
                return super().evaluate(*args, **kwargs)
        finally:
            self._end_aside()

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """The Trainer's, with the loss taken over the gathered logits: its own mean counts padded samples twice."""
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
        self._aside_since = time.perf_counter()
        if self.average and self.args.should_save:  # first, as the trainer's state, which comes last, says: complete
            self.average.save(Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}")
        super()._save_checkpoint(*args, **kwargs)
        self._end_aside()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *args: Any, **kwargs: Any) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, *args, **kwargs)
        if self.average:
            self.average.load(Path(resume_from_checkpoint))

    def keep_average(self) -> None:
        """Give the trained model the averaged weights, where the stage has them: the best ones or the last."""
        if self.average is None:
            return
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint:
            self.average.load(Path(self.state.best_model_checkpoint))
        self.average.hand_over()

    def _end_aside(self) -> None:
        self._aside, self._aside_since = self.aside_s, None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first training step, with those before a resume."""
        return self._before + (0.0 if self._started is None else time.perf_counter() - self._started)

    @property
    def aside_s(self) -> float:
        """The part of `elapsed_s` that went into evaluating and saving."""
        return self._aside + (0.0 if self._aside_since is None else time.perf_counter() - self._aside_since)

    def restore_clock(self) -> None:
        """Go on from the clock of the checkpoint that was loaded, if one was."""
        for entry in self.state.log_history[-1:]:
            self._before, self._aside = entry["elapsed_s"], entry["aside_s"]


def _as_it_is(batch: Any) -> Any:
    """`SliceBatches` gives whole batches already."""
    return batch
