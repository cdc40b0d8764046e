"""What the network of the demo in the browser would lose by 8 bits: size, accuracy, calibration and abstentions.

    python -m benchmarks.int8 SITE RUN DATA

SITE is what `brainmri demo --static SITE --model RUN` wrote, DATA the prepared data that RUN was made on.

Static: weights (by channel) and activations of 8 bits, by onnxruntime.quantization, calibrated on training images.
Nearest: weights alone, each rounded to the nearest. GPTQ: weights alone, as `brainmri demo --data` writes them.
Compared with float32 on the validation split, so that the test split is left for the guard of the product.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import brainmri
from brainmri.data.dataset import open_prepared
from brainmri.evaluation.browser import MODEL, NETWORK
from brainmri.evaluation.browser_int8 import calibration_pixels, compared, failures
from brainmri.models.int8 import quantize_weights
from brainmri.models.numpy_preprocessing import NumpyPreprocessing
from brainmri.schemas import BrowserModel, read


class Batches(CalibrationDataReader):
    def __init__(self, pixels: NDArray[np.float32]) -> None:
        self.rest: Iterator[NDArray[np.float32]] = iter(np.array_split(pixels, max(1, len(pixels) // 8)))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self.rest, None)
        return None if batch is None else {"pixel_values": batch}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("site", "run", "data"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    record = read(arguments.site / MODEL, BrowserModel)
    model, data = brainmri.load_model(arguments.run), open_prepared(arguments.data)
    pixels = calibration_pixels(data, NumpyPreprocessing(record.pixels))
    plain = arguments.site / NETWORK
    with TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        files = {name: Path(scratch) / f"{name}.onnx" for name in ("static", "nearest", "gptq")}
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(
            *(str(prepared), str(files["static"]), Batches(pixels)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            **types,
        )
        quantize_weights(plain, files["nearest"], pixels, gptq=False)
        quantize_weights(plain, files["gptq"], pixels)
        print(f"float32: {plain.stat().st_size / 1e6:.2f} MB")
        for name, path in files.items():
            found = compared(model, data, record, plain, path, "validation")
            low, high = found.lost_ci95 or (np.nan, np.nan)
            print(
                f"{name}: {found.bytes / 1e6:.2f} MB; of {found.images:,} validation images {100 * found.lost:.2f} "
                f"points lost [{100 * low:.2f}, {100 * high:.2f}], ECE {found.ece_grown:+.4f}, same abstentions "
                f"{100 * (found.same_abstentions or 1):.1f} %: {'; '.join(failures(found)) or 'good enough'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
