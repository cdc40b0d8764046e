"""The price of the Trainer: its training steps against a bare PyTorch loop that does the same work.

The Trainer runs for real, in one call of `train()`. At the end of every block of its steps a callback stops its clock,
lets the bare loop do as many, and starts the clock again. So a block of the Trainer holds everything that goes with a
step (loader, accelerate, callbacks, clipping, bar, the ends of epochs), but not the set-up before the first one; the
first block of each is a warm-up and not counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from benchmarks.candidate import our_trainer
from benchmarks.case import Material
from benchmarks.timing import clock, comparison
from brainmri.models.preprocessing import normalized
from brainmri.transforms.augment import augment

BLOCK = 20  # steps
TARGET = 1.05


def measure(material: Material, repeats: int) -> dict[str, Any]:
    """Times of `repeats` blocks of each."""
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(StringIO()):
        trainer = our_trainer(material, material.model(), Path(scratch), max_steps=BLOCK * (repeats + 1))
        bare = material.model()
        torch.nn.Module.to(bare, trainer.args.device)
        torch.nn.Module.to(bare, memory_format=torch.channels_last)
        turns = Turns(bare_steps(bare, material, trainer.args))
        trainer.add_callback(turns)
        trainer.train()
    batch = trainer.args.per_device_train_batch_size
    title = f"{material.arch}, {BLOCK} steps of {batch} images"
    return comparison(title, turns.seconds, reference="bare loop", images=BLOCK * batch, at_most=TARGET)


class Turns(TrainerCallback):
    """Lets `bare` do a block of steps after each block of the Trainer's.

    seconds: of every block of both but the first.
    """

    def __init__(self, bare: Iterator[None]) -> None:
        self.bare = bare
        self.seconds: dict[str, list[float]] = {"SliceTrainer": [], "bare loop": []}
        self._since: float | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % BLOCK:
            return
        stopped = clock()
        for _ in islice(self.bare, BLOCK):
            pass
        finished = clock()
        if self._since is not None:
            self.seconds["SliceTrainer"].append(stopped - self._since)
            self.seconds["bare loop"].append(finished - stopped)
        self._since = clock()


def bare_steps(model: PreTrainedModel, material: Material, arguments: TrainingArguments) -> Iterator[None]:
    """Train `model` step by step, for ever, with nothing but the work itself: no loader, no clipping, no records."""
    recipe, slices, device = material.recipe, material.slices(), arguments.device
    magnitudes = recipe.augmentations()
    kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = kind(trainable, **options, weight_decay=arguments.weight_decay)
    model.train()
    for epoch in count():
        slices.set_epoch(epoch)
        for positions in torch.randperm(len(slices)).split(arguments.per_device_train_batch_size):
            batch = {name: tensor.to(device) for name, tensor in slices.__getitems__(positions.tolist()).items()}
            pixels = (
                augment(batch["pixel_values"], batch["uniform"], magnitudes) if magnitudes else batch["pixel_values"]
            )
            pixels = normalized(pixels.float(), recipe.input.normalize)
            with torch.autocast(device.type, torch.bfloat16, enabled=bool(arguments.bf16)):
                logits = model(pixel_values=pixels).logits
            smoothing = arguments.label_smoothing_factor
            loss = functional.cross_entropy(logits.float(), batch["labels"], label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield
