"""An ONNX file, ready to run. Without torch, which takes seconds to be imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ONNX_FILE = "onnx/model.onnx"  # where a published model has it, beside its weights


def output_names(layer: str | None) -> list[str]:
    """Of the ONNX file of a classifier; with the name of a layer it has a second one, what enters that layer."""
    return ["logits", "features"] if layer else ["logits"]


def onnx_session(path: Path, threads: int = 0) -> InferenceSession:
    """An ONNX file, ready to run on the CPU.

    threads: of one call; 0 lets ONNX Runtime choose. They sleep between the calls instead of spinning, so that an idle
    program takes no time, and several at work do not take each other's.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
