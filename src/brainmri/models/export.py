"""A classifier as one file for programs without this package: ONNX, OpenVINO or torch.export, compared with torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from brainmri.models.onnx import TOLERANCE, LogitsAndFeatures, export_classifier, onnx_session, some_pixels

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FORMATS = {"onnx": "model.onnx", "openvino": "model.xml", "torch_export": "model.pt2"}
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # pixels (B, 3, H, W) to logits (B, classes)


def check_installed(kind: str) -> None:
    """Raises ValueError, which says what to install, if the packages for a format are missing."""
    if kind == "openvino" and find_spec("openvino") is None:
        raise ValueError("--format openvino needs the package openvino: pip install -e '.[export]' in the clone")


def export_model(model: PreTrainedModel, size: tuple[int, int], kind: str, folder: Path, pixels: torch.Tensor) -> float:
    """Write a classifier, from `pixel_values` float32 (B, 3, H, W) to `logits` (B, classes), for any B.

    Args:
        model: in evaluation mode, on the CPU. size: H and W.
        kind: one of `FORMATS`, which names its file in `folder`; OpenVINO adds model.bin.
        pixels: preprocessed images (N, 3, H, W) on which the written file is compared with the network, together and
            one by one.

    Returns:
        The largest difference between its logits and those of the network, in shares of the largest logit (or of 1).

    Raises:
        ValueError: if the format cannot express the network, or the difference is more than float32 explains.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FORMATS[kind]
    try:
        run = {"onnx": _onnx, "openvino": _openvino, "torch_export": _torch_export}[kind](model, size, file)
    except (ValueError, OSError):
        raise
    except Exception as error:  # exporters have many of their own, without a common class
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"{kind} cannot express this network: {first}") from error
    with torch.inference_mode():
        expected = model(pixel_values=pixels).logits.numpy()
    together = run(pixels.numpy())
    alone = np.concatenate([run(one[None]) for one in pixels.numpy()])
    difference = max(float(np.abs(found - expected).max()) for found in (together, alone))
    difference /= max(1.0, float(np.abs(expected).max()))
    if not difference <= TOLERANCE:
        raise ValueError(f"the logits of {file.name} differ from torch's by {difference:.1g} of the largest")
    return difference


def _onnx(model: PreTrainedModel, size: tuple[int, int], file: Path) -> Run:
    export_classifier(model, size, file)
    session = onnx_session(file)
    return lambda pixels: np.asarray(session.run(["logits"], {"pixel_values": pixels})[0])


def _openvino(model: PreTrainedModel, size: tuple[int, int], file: Path) -> Run:
    """By way of ONNX, whose exporter knows any number of images. Weights stay float32, which OpenVINO would halve."""
    import openvino

    with TemporaryDirectory() as scratch:
        export_classifier(model, size, Path(scratch) / "model.onnx")
        network = openvino.convert_model(Path(scratch) / "model.onnx")
        openvino.save_model(network, file, compress_to_fp16=False)
    # By itself it computes in bfloat16 where the processor has it.
    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pixels: np.asarray(compiled([pixels])[0])


def _torch_export(model: PreTrainedModel, size: tuple[int, int], file: Path) -> Run:
    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = LogitsAndFeatures(model, None)

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.network(pixel_values)[0]

    shapes = {"pixel_values": {0: torch.export.Dim("batch")}}
    with torch.no_grad():
        program = torch.export.export(Logits().eval(), (some_pixels(2, size),), dynamic_shapes=shapes)
    torch.export.save(program, file)
    network = torch.export.load(file).module()

    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(pixels)))

    return run
