"""A network as an ONNX file, for programs without torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # between the logits of ONNX Runtime and of torch, in shares of the largest logit


class Logits(torch.nn.Module):
    """Pixels (B, 3, H, W), normalised as the model's image processor does, to logits (B, classes)."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=pixel_values).logits


def onnx_is_installed() -> bool:
    """Whether this module's other functions can work."""
    return all(find_spec(package) for package in ONNX_PACKAGES)


def export_onnx(network: torch.nn.Module, pixels: torch.Tensor, path: Path, *, output: str, any_batch: bool) -> None:
    """Write `network` as one ONNX file with the input `pixel_values` and the output `output`.

    The same network gives the same bytes, and what the exporter notes of this machine's files is left out.

    Args:
        network: from `pixels` (B, 3, H, W) to a tensor with B rows.
        any_batch: whether the file takes other numbers of pictures than B, which must then be 2 or more.
    """
    import onnx

    dynamic = ({0: torch.export.Dim("batch")},) if any_batch else None
    torch.onnx.export(
        network,
        (pixels,),
        path,
        dynamo=True,
        verbose=False,
        external_data=False,
        input_names=["pixel_values"],
        output_names=[output],
        dynamic_shapes=dynamic,
    )
    file = onnx.load(path)
    for part in [file, file.graph, *file.graph.node, *file.graph.value_info, *file.functions]:
        _forget_origin(part)
    for function in file.functions:
        for node in function.node:
            _forget_origin(node)
    path.write_bytes(file.SerializeToString(deterministic=True))


def export_classifier(model: PreTrainedModel, size: int, path: Path) -> None:
    """Write a classifier as ONNX: `pixel_values` (B, 3, size, size), normalised, to `logits` (B, classes).

    Raises:
        ValueError: if ONNX Runtime gives other logits than torch.
    """
    import onnxruntime

    network = Logits(model).eval()
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    path.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(network, pixels, path, output="logits", any_batch=True)
    with torch.inference_mode():
        expected = network(pixels[:1])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"pixel_values": pixels[:1].numpy()})[0])
    difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1))
    if difference > TOLERANCE:
        raise ValueError(
            f"{path.name}: the logits of ONNX Runtime differ from torch's by {difference:.1g} of the largest"
        )


def _forget_origin(part: object) -> None:
    """Drop the stack traces and the documentation that the exporter adds to a part of the file."""
    for field in ("metadata_props", "doc_string"):
        if any(known.name == field for known in part.DESCRIPTOR.fields):  # type: ignore[attr-defined]
            part.ClearField(field)  # type: ignore[attr-defined]
