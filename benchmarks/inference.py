"""One network's predictions by several back ends: how fast, and how far from eager float32."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from benchmarks.case import Material
from benchmarks.timing import comparison, in_turns
from brainmri.data.pixel_cache import pixel_cache
from brainmri.models.build import build_model
from brainmri.models.onnx import export_onnx
from brainmri.models.preprocessing import normalized
from brainmri.training.batches import SliceBatches

BATCHES = (1, 32)
IMAGES = 64  # of one repetition
EAGER = "eager fp32"
Backend = Callable[[], np.ndarray]  # the probabilities (B, classes) of the batch that it was made for


class Classifier(torch.nn.Module):
    """Pixels (B, 3, H, W), normalised, to probabilities (B, classes)."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=pixels).logits.float().softmax(1)


def measure(material: Material, repeats: int, weights: str) -> list[dict[str, Any]]:
    """Times for each size of batch, on the CPU, with as many threads for every back end as torch has.

    weights: as of `build_model`. Speed does not depend on them; how far the probabilities differ does, so that only
    those of a trained run say what a back end costs.
    """
    model, origin = build_model(material.recipe, material.data.classes, weights)
    classifier = Classifier(model).eval().to(memory_format=torch.channels_last)
    return [_measure(material, classifier, origin, batch, repeats) for batch in BATCHES]


def _measure(material: Material, classifier: Classifier, weights: str, batch: int, repeats: int) -> dict[str, Any]:
    pixels = _pixels(material, batch)
    missing = {} if find_spec("openvino") else {"OpenVINO": "not installed: pip install -e '.[export]'"}
    backends: dict[str, Backend] = {
        EAGER: partial(_eager, classifier, pixels, bf16=False),
        "bf16 autocast": partial(_eager, classifier, pixels, bf16=True),
        "ONNX Runtime": _onnx_runtime(classifier, pixels),
    }
    if not missing:
        backends["OpenVINO"] = _openvino(classifier, pixels)
    probabilities = {name: backend() for name, backend in backends.items()}  # which warms them up, too
    calls = IMAGES // batch
    title = f"{material.arch}, batch {batch}"
    ways = {name: partial(partial, _repeat, backend, calls) for name, backend in backends.items()}
    seconds = in_turns(ways, repeats, f"inference {title}")
    return comparison(
        title,
        seconds,
        reference=EAGER,
        images=calls * batch,
        weights=weights,
        batch=batch,
        largest_difference={
            name: float(np.abs(values - probabilities[EAGER]).max()) for name, values in probabilities.items()
        },
        not_installed=missing,
    )


def _pixels(material: Material, batch: int) -> torch.Tensor:
    """The first test images, normalised: (batch, 3, size, size), channels last."""
    data = material.data
    rows = np.resize(data.rows("test"), batch)
    slices = SliceBatches(pixel_cache(data, material.recipe.input.size), rows, data.labels(rows))
    pixels = slices.__getitems__(range(batch))["pixel_values"].float()
    return normalized(pixels, material.recipe.input.normalize).contiguous(memory_format=torch.channels_last)


def _repeat(backend: Backend, calls: int) -> None:
    for _ in range(calls):
        backend()


def _eager(classifier: Classifier, pixels: torch.Tensor, *, bf16: bool) -> np.ndarray:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return classifier(pixels).numpy()


def _onnx_runtime(classifier: Classifier, pixels: torch.Tensor) -> Backend:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        export_onnx(classifier, pixels, path, outputs=["probabilities"], any_batch=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {"pixel_values": pixels.contiguous().numpy()}
    return lambda: session.run(None, inputs)[0]


def _openvino(classifier: Classifier, pixels: torch.Tensor) -> Backend:
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # by itself it takes bf16 where the processor has it
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    with torch.inference_mode():
        network = openvino.convert_model(torch.export.export(classifier, (pixels,)))
    compiled = openvino.compile_model(network, "CPU", settings)
    inputs = [pixels.contiguous().numpy()]
    return lambda: compiled(inputs)[0]
