"""An epoch of training: the project's way against the usual one, through the same `transformers.Trainer`.

Each repetition is one whole call from the untrained model to the trained one, with nothing taken off: making the
trainer, starting workers, loading, training. The pixel cache is there beforehand, as it is from the first run on. Both
ways run in one process, so the usual one also gains from `keep_freed_memory`.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.case import PLAIN, SEED, Material
from benchmarks.reference import usual_trainer
from benchmarks.timing import Way, comparison, in_turns
from brainmri.training.stages import run_stages

TARGETS = {"cnn_4to32": 3.0, "efficientnet_lite0": 1.3}
STEPS = {"resnet50": 30}  # instead of the epoch, which takes very long on a CPU


def measure(material: Material, repeats: int) -> dict[str, Any]:
    """Times of the epoch (of `STEPS` for the networks there); the faster number of workers decides."""
    batch = material.recipe.batch_size
    if material.arch in STEPS:
        material = material.part(STEPS[material.arch] * batch)
    title = f"{material.arch}, {len(material)} images"
    with tempfile.TemporaryDirectory() as scratch:
        in_turns(_ways(material.part(2 * batch), Path(scratch)), 1, f"warming up {material.arch}")
        seconds = in_turns(_ways(material, Path(scratch)), repeats, f"epoch {title}")
    return comparison(
        title, seconds, reference="ours", images=len(material), at_least=TARGETS.get(material.arch), batch=batch
    )


def _ways(material: Material, folder: Path) -> dict[str, Way]:
    return {
        "ours": partial(_ours, material, folder),
        "usual, 0 workers": partial(_usual, material, folder, 0),
        "usual, 2 workers": partial(_usual, material, folder, 2),
    }


def _ours(material: Material, folder: Path) -> Callable[[], object]:
    gc.collect()  # the trainer before, which points at itself, goes now and not under the clock
    model, slices = material.model(), material.slices()

    def run() -> None:
        with redirect_stdout(StringIO()):  # the figures of the epoch
            run_stages(model, material.recipe, slices, slices, PLAIN, folder, SEED, None)

    return run


def _usual(material: Material, folder: Path, workers: int) -> Callable[[], object]:
    gc.collect()
    model = material.model()

    def run() -> None:
        with redirect_stdout(StringIO()):
            usual_trainer(material, model, folder, workers=workers).train()

    return run
