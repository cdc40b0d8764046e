"""What the network of the demo in the browser would lose by 8 bits: size, accuracy, calibration and abstentions.

    python -m benchmarks.int8 SITE RUN DATA

SITE is what `brainmri demo --static SITE --model RUN` wrote, DATA the prepared data that RUN was made on.

Static: weights (by channel) and activations of 8 bits, calibrated on 256 training images. Weights: those alone, which a
runtime turns back into float32 when it opens the file. Measured on the test split, beside float32. The guard: the
paired interval of the lost accuracy ends below 0.5 points, the calibration error grows by 0.01 at most, and 99 % of the
abstentions stay as they are.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import brainmri
from brainmri.data.dataset import open_prepared
from brainmri.data.statistics import global_statistics
from brainmri.evaluation.browser import MODEL
from brainmri.io.read import prepared_image
from brainmri.metrics.bootstrap import group_bootstrap_mean
from brainmri.metrics.classification import expected_calibration_error
from brainmri.metrics.probabilities import apply_temperature, softmax
from brainmri.models.numpy_preprocessing import NumpyPreprocessing
from brainmri.models.sessions import onnx_session
from brainmri.schemas import BrowserModel, read

CALIBRATION, BATCH = 256, 32
MOST_LOST, MOST_ERROR, LEAST_SAME = 0.005, 0.01, 0.99
SMALL = 2000  # weights of a layer that stay as they are


class Batches(CalibrationDataReader):
    def __init__(self, pixels: NDArray[np.float32]) -> None:
        self.rest: Iterator[NDArray[np.float32]] = iter(np.split(pixels, len(pixels) // 8))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self.rest, None)
        return None if batch is None else {"pixel_values": batch}


def quantize_weights(source: Path, target: Path) -> None:
    """Write an ONNX file whose large weights have 8 bits and a scale for each output channel."""
    model = onnx.load(source)
    graph, added = model.graph, []
    known = {one.name: one for one in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm") or node.input[1] not in known:
            continue
        name = node.input[1]
        weights = numpy_helper.to_array(known[name])
        if weights.size < SMALL:
            continue
        turned = node.op_type == "Conv" or any(one.name == "transB" and one.i for one in node.attribute)
        axis = 0 if turned else 1
        others = tuple(place for place in range(weights.ndim) if place != axis)
        scale = np.maximum(np.abs(weights).max(axis=others, keepdims=True), 1e-12) / 127
        whole = np.clip(np.round(weights / scale), -127, 127).astype(np.int8)
        graph.initializer.remove(known.pop(name))
        parts = {f"{name}_whole": whole, f"{name}_scale": scale.astype(np.float32).ravel()}
        graph.initializer.extend(numpy_helper.from_array(values, key) for key, values in parts.items())
        added.append(helper.make_node("DequantizeLinear", list(parts), [name], axis=axis))
    for place, node in enumerate(added):
        graph.node.insert(place, node)
    onnx.checker.check_model(model)
    onnx.save(model, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("site", "run", "data"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    record = read(arguments.site / MODEL, BrowserModel)
    model, data = brainmri.load_model(arguments.run), open_prepared(arguments.data)
    rule, pixels = model.ood_detector, NumpyPreprocessing(record.pixels)
    if rule is None or record.temperature is None:
        raise ValueError(f"{arguments.run} has no OOD detector, or no temperature")
    train = [data.root / data.index["file_name"].iloc[row] for row in data.rows("train")]
    random.Random(0).shuffle(train)
    rows = data.index.iloc[data.rows("test")]
    images = [prepared_image(data.root / name) for name in rows["file_name"]]
    statistics = np.stack([global_statistics(image) for image in images])
    labels = rows["label"].map(record.classes.index).to_numpy()
    temperature = record.temperature

    def measured(path: Path) -> tuple[NDArray[np.bool_], float, NDArray[np.bool_]]:
        session = onnx_session(path)
        batches = [pixels(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        found = [session.run(["logits", "features"], {"pixel_values": batch}) for batch in batches]
        logits, features = (np.concatenate(parts) for parts in zip(*found, strict=True))
        error = expected_calibration_error(labels, apply_temperature(softmax(logits), temperature))
        named = logits.argmax(axis=1)
        return named == labels, error, rule.rejected(rule.score(features, statistics, named))

    with TemporaryDirectory() as scratch:
        plain, prepared = arguments.site / "model.onnx", Path(scratch) / "prepared.onnx"
        static, weights = Path(scratch) / "static.onnx", Path(scratch) / "weights.onnx"
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        calibration = Batches(pixels([prepared_image(file) for file in train[:CALIBRATION]]))
        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(
            str(prepared), str(static), calibration, quant_format=QuantFormat.QDQ, per_channel=True, **types
        )
        quantize_weights(plain, weights)
        right, error, refused = measured(plain)
        print(f"float32: {plain.stat().st_size / 1e6:.2f} MB, accuracy {right.mean():.4f}, ECE {error:.4f}")
        for name, path in (("static", static), ("weights", weights)):
            own, own_error, own_refused = measured(path)
            lost = right.astype(float) - own.astype(float)
            low, high = group_bootstrap_mean(lost, rows["group_id"].tolist()) or (np.nan, np.nan)
            same = float((refused == own_refused).mean())
            holds = high < MOST_LOST and own_error - error <= MOST_ERROR and same >= LEAST_SAME
            says = "holds" if holds else "does not hold"
            interval = f"[{100 * low:.2f}, {100 * high:.2f}]"
            print(
                f"{name}: {path.stat().st_size / 1e6:.2f} MB, lost {100 * lost.mean():.2f} points {interval}, "
                f"ECE {own_error - error:+.4f}, same abstentions {100 * same:.1f} %: the guard {says}"
            )


if __name__ == "__main__":
    main()
