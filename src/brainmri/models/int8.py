"""An ONNX file whose weights have 8 bits, rounded so that the outputs change least.

A runtime turns the weights back into float32 when it opens the file: it is a quarter as large, and not faster.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from brainmri.models.sessions import onnx_session

if TYPE_CHECKING:
    import onnx

SMALL = 2000  # weights of a layer that stay as they are
BATCH = 8
DAMPING = 0.01  # of the mean of the diagonal, as in the paper


def quantize_weights(source: Path, target: Path, pixels: NDArray[np.float32], *, gptq: bool = True) -> None:
    """Write an ONNX file whose convolutions have weights of 8 bits, with a scale for each output channel.

    The weights of convolutions of one pixel, which most are, are rounded by GPTQ (Frantar, Ashkboos, Hoefler, Alistarh:
    "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR 2023, arXiv:2210.17323).
    The others are rounded to the nearest. onnxruntime.quantization rounds the weights of convolutions to the nearest
    only, and its GPTQ is for matrices of a few bits.

    Args:
        source, target: ONNX files with the input `pixel_values`.
        pixels: training images, preprocessed (B, 3, H, W), by which GPTQ knows what enters a layer.
        gptq: whether it is used; without it all weights are rounded to the nearest.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(source)
    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv" and node.input[1] in weights]
    moments = _second_moments(model, [node for node in convolutions if gptq], pixels)
    added = []
    for name in dict.fromkeys(node.input[1] for node in convolutions):
        values = numpy_helper.to_array(weights[name])
        if values.size < SMALL:
            continue
        rows = values.reshape(len(values), -1).astype(np.float64)
        scales = (np.maximum(np.abs(rows).max(axis=1), 1e-12) / 127).astype(np.float32)
        whole = rounded(rows, scales, moments.get(name)).reshape(values.shape)
        graph.initializer.remove(weights[name])
        parts = {f"{name}_whole": whole, f"{name}_scale": scales}
        graph.initializer.extend(numpy_helper.from_array(part, key) for key, part in parts.items())
        added.append(helper.make_node("DequantizeLinear", list(parts), [name], axis=0))
    for place, node in enumerate(added):
        graph.node.insert(place, node)
    onnx.checker.check_model(model)
    target.write_bytes(model.SerializeToString(deterministic=True))


def rounded(
    weights: NDArray[np.float64], scales: NDArray[np.float32], moments: NDArray[np.float64] | None
) -> NDArray[np.int8]:
    """Weights (O, I) in whole multiples of their scales (O,), -127..127.

    Args:
        moments: the mean of x x^T (I, I) of what enters the layer: the weights of one input after the other are
            rounded, and what that changes is made up for by the inputs that are not rounded yet. None: each weight is
            rounded to the nearest.
    """
    steps = weights / scales[:, None]
    if moments is None:
        return np.clip(np.round(steps), -127, 127).astype(np.int8)
    damped = moments + DAMPING * np.mean(np.diag(moments)) * np.eye(len(moments)) + 1e-12 * np.eye(len(moments))
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    found = np.empty(weights.shape, np.int8)
    for k in range(weights.shape[1]):
        found[:, k] = whole = np.clip(np.round(steps[:, k]), -127, 127)
        steps[:, k + 1 :] -= np.outer((steps[:, k] - whole) / factor[k, k], factor[k, k + 1 :])
    return found


def _second_moments(
    model: onnx.ModelProto, convolutions: list[onnx.NodeProto], pixels: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """The mean of x x^T of what enters each convolution of one pixel, by the name of its weights."""
    import tempfile

    import onnx
    from onnx import helper

    shapes = {one.name: list(one.dims) for one in model.graph.initializer}
    taken = {
        node.input[1]: node
        for node in convolutions
        if shapes[node.input[1]][2:] == [1, 1] and _attribute(node, "group", 1) == 1 and node.input[0] != "pixel_values"
    }
    wanted = list(dict.fromkeys(node.input[0] for node in taken.values()))
    if not wanted:
        return {}
    seeing = onnx.ModelProto.FromString(model.SerializeToString())
    del seeing.graph.output[:]
    seeing.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in wanted)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "seeing.onnx"
        path.write_bytes(seeing.SerializeToString())
        session = onnx_session(path)
    found: dict[str, Any] = defaultdict(float)
    for start in range(0, len(pixels), BATCH):
        seen = dict(zip(wanted, session.run(wanted, {"pixel_values": pixels[start : start + BATCH]}), strict=True))
        for name, node in taken.items():
            down, across = _attribute(node, "strides", [1, 1])
            columns = np.moveaxis(seen[node.input[0]][:, :, ::down, ::across], 1, 0)
            columns = columns.reshape(len(columns), -1)
            found[name] = found[name] + (columns @ columns.T).astype(np.float64) / columns.shape[1]
    return found


def _attribute(node: onnx.NodeProto, name: str, otherwise: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), otherwise)
