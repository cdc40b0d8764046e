"""A network as an ONNX file, for programs without torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from brainmri.models.layers import features_of
from brainmri.models.sessions import onnx_session, output_names

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from transformers import PreTrainedModel

TOLERANCE = 1e-4  # between the outputs of ONNX Runtime and of torch, in shares of the largest


class LogitsAndFeatures(torch.nn.Module):
    """Pixels (B, 3, H, W), normalised as the model's image processor does, to logits (B, classes).

    With the name of a `layer` also to what enters it, the features (B, D) that the OOD detector looks at.
    """

    def __init__(self, model: PreTrainedModel, layer: str | None) -> None:
        super().__init__()
        self.model = model
        self.layer = layer

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with features_of(self.model, self.layer) as seen:
            logits = self.model(pixel_values=pixel_values).logits
        return (logits, *seen)

    @property
    def outputs(self) -> list[str]:
        """The names of what it gives."""
        return output_names(self.layer)


def export_onnx(
    network: torch.nn.Module, pixels: torch.Tensor, path: Path, *, outputs: Sequence[str], any_batch: bool
) -> None:
    """Write `network` as one ONNX file with the input `pixel_values` and outputs of these names.

    The same network gives the same bytes, and what the exporter notes of this machine's files is left out.

    Args:
        network: from `pixels` (B, 3, H, W) to a tensor with B rows, or several.
        any_batch: whether the file takes other numbers of images than B, which must then be 2 or more.
    """
    import onnx

    for noisy in ("onnxscript", "onnx_ir"):  # a line for each step of their optimisation
        logging.getLogger(noisy).setLevel(logging.WARNING)
    dynamic = ({0: torch.export.Dim("batch")},) if any_batch else None
    torch.onnx.export(
        network,
        (pixels,),
        path,
        dynamo=True,
        verbose=False,
        external_data=False,
        input_names=["pixel_values"],
        output_names=list(outputs),
        dynamic_shapes=dynamic,
    )
    file = onnx.load(path)
    for part in [file, file.graph, *file.graph.node, *file.graph.value_info, *file.functions]:
        _forget_origin(part)
    for function in file.functions:
        for node in function.node:
            _forget_origin(node)
    path.write_bytes(file.SerializeToString(deterministic=True))


def export_classifier(model: PreTrainedModel, size: tuple[int, int], path: Path, *, layer: str | None = None) -> None:
    """Write a classifier as ONNX: `pixel_values` (B, 3, H, W), normalised, to `logits` (B, classes).

    Args:
        size: H and W.
        layer: with its name the file has a second output, `features` (B, D): what enters that layer of the model.

    Raises:
        ValueError: if ONNX Runtime gives other values than torch.
    """
    network = LogitsAndFeatures(model, layer).eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(network, some_pixels(2, size), path, outputs=network.outputs, any_batch=True)
    session = onnx_session(path)
    if (difference := largest_difference(session, network, size)) > TOLERANCE:
        raise ValueError(
            f"{path.name}: the outputs of ONNX Runtime differ from torch's by {difference:.1g} of the largest"
        )


@torch.inference_mode()
def largest_difference(session: InferenceSession, network: LogitsAndFeatures, size: tuple[int, int]) -> float:
    """How far the outputs of an ONNX file are from those of the network, in shares of the largest of each (or of 1)."""
    pixels = some_pixels(1, size)
    found = session.run(network.outputs, {"pixel_values": pixels.numpy()})
    pairs = [(torch.from_numpy(value), expected) for value, expected in zip(found, network(pixels), strict=True)]
    if any(value.shape != expected.shape for value, expected in pairs):
        return float("inf")
    return max(float((value - expected).abs().max() / expected.abs().max().clamp(min=1)) for value, expected in pairs)


def some_pixels(count: int, size: tuple[int, int]) -> torch.Tensor:
    """Noise in the place of preprocessed images, float (count, 3, H, W), the same at each call."""
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(0))


def _forget_origin(part: object) -> None:
    """Drop the stack traces and the documentation that the exporter adds to a part of the file."""
    for field in ("metadata_props", "doc_string"):
        if any(known.name == field for known in part.DESCRIPTOR.fields):  # type: ignore[attr-defined]
            part.ClearField(field)  # type: ignore[attr-defined]
