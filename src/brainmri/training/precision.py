"""Whether bfloat16 trains faster than float32 here: measured on the network itself, as it depends on both."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch.nn import functional

from brainmri.files import write_durably

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainingArguments

    from brainmri.recipe import Recipe

BATCH, REPEATS = 8, 3
FEW_STEPS = 200  # so short a training ends before the measurement would have paid
WORTH = 1.15  # times as fast, at least
Probe = dict[str, float]  # seconds of a training step with 8 images: "fp32", and "bf16" (autocast)


def precision_probe(
    model: PreTrainedModel, recipe: Recipe, arguments: list[TrainingArguments], samples: int, record: Path
) -> Probe | None:
    """What a training step of `model` costs in either precision; None where the training is too short to ask.

    arguments: of each stage. samples: of one epoch. record: the file in which a resumed run finds what the first one
    measured. One process measures for all.
    """
    epochs = samples // recipe.batch_size
    steps = sum(a.max_steps if a.max_steps > 0 else int(a.num_train_epochs * epochs) for a in arguments)
    if steps < FEW_STEPS:
        return None
    state = PartialState()
    found: list[Probe] = [{}]
    if state.is_main_process:
        if not record.exists():
            record.parent.mkdir(parents=True, exist_ok=True)
            write_durably(record, json.dumps(_probe(model, recipe.input.size, state.device)))
        found[0] = json.loads(record.read_text(encoding="utf-8"))
    broadcast_object_list(found)
    return found[0]


def bf16_is_faster(probe: Probe) -> bool:
    """Whether it is worth the digits that bfloat16 gives up."""
    return probe["fp32"] > WORTH * probe["bf16"]


def _probe(model: PreTrainedModel, size: int, device: torch.device) -> Probe:
    """The shorter of some steps each, by turns, of a copy of `model`; what else runs here then hits both alike."""
    network = copy.deepcopy(model).train()
    torch.nn.Module.to(network, device)
    torch.nn.Module.to(network, memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    pixels = (
        torch.randn(BATCH, 3, size, size, generator=generator).to(device).contiguous(memory_format=torch.channels_last)
    )
    labels = torch.zeros(BATCH, dtype=torch.int64, device=device)
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(1 + REPEATS):
        for name, taken in seconds.items():
            started = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16"):
                loss = functional.cross_entropy(network(pixel_values=pixels).logits.float(), labels)
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - started)
    return {name: float(np.min(taken[1:])) for name, taken in seconds.items()}
