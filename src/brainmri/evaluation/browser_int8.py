"""The demo's network with weights of 8 bits: whether it says the same as that of float32, by the run's own test split.

Nothing is chosen on the test split: the weights are rounded by training images, and the limits are fixed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainmri.evaluation.backend import Backend
from brainmri.evaluation.browser import MODEL
from brainmri.files import sha256
from brainmri.io.read import prepared_image
from brainmri.metrics.bootstrap import group_bootstrap_mean
from brainmri.metrics.classification import expected_calibration_error
from brainmri.models.int8 import quantize_weights
from brainmri.models.numpy_preprocessing import NumpyPreprocessing
from brainmri.models.sessions import onnx_session
from brainmri.schemas import BrowserInt8, BrowserModel, write

if TYPE_CHECKING:
    from brainmri.data.dataset import PreparedData
    from brainmri.evaluation.inference import Prediction
    from brainmri.evaluation.model import LoadedModel

INT8 = "model.int8.onnx"
CALIBRATION, BATCH = 256, 32  # training images that GPTQ looks at, and images at once
MOST_LOST, MOST_ECE, LEAST_SAME, MOST_BYTES = 0.005, 0.01, 0.99, 4_000_000


def check_data(model: LoadedModel, data: PreparedData) -> None:
    """Raises ValueError if the data are not those that the model was made on."""
    own = model.result.data.fingerprint if model.result else None
    if own != data.info.fingerprint or sorted(model.classes) != sorted(data.classes):
        raise ValueError(
            f"{data.root} is not the data that {model.name} was made on: 8-bit weights are measured on its test split"
        )


def write_int8(model: LoadedModel, data: PreparedData, folder: Path, record: BrowserModel) -> BrowserModel:
    """Write `model.int8.onnx` beside the files of `write_browser_model`, and what it costs into `model.json`.

    The page runs it where `compared` finds it good enough; else the file is removed again.

    Args:
        record: what `write_browser_model` gave for the folder.
    """
    plain, small = folder / record.network, folder / INT8
    quantize_weights(plain, small, calibration_pixels(data, NumpyPreprocessing(record.pixels)))
    found = compared(model, data, record, plain, small)
    record = record.model_copy(update={"int8": found})
    if found.used:
        record = record.model_copy(update={"network": INT8, "sha256": sha256(small)})
    else:
        small.unlink()
    write(record, folder / MODEL)
    return record


def calibration_pixels(data: PreparedData, pixels: NumpyPreprocessing) -> NDArray[np.float32]:
    """Training images, drawn at random and preprocessed, (B, 3, H, W)."""
    rows = np.random.default_rng(0).permutation(data.rows("train"))[:CALIBRATION]
    return pixels([prepared_image(data.root / name) for name in data.index["file_name"].iloc[rows]])


def compared(
    model: LoadedModel, data: PreparedData, record: BrowserModel, plain: Path, small: Path, split: str = "test"
) -> BrowserInt8:
    """What the ONNX file `small` gives in the place of `plain`, on a split of the data."""
    index = data.index.iloc[data.rows(split)]
    names, labels = list(index["file_name"]), index["label"].map(model.classes.index).to_numpy()
    before, after = (_predictions(model, data, record, path, names) for path in (plain, small))
    right, own = (np.array([one.label == label for one, label in zip(found, index["label"], strict=True)], float)
                  for found in (before, after))  # fmt: skip
    errors = [
        expected_calibration_error(labels, np.array([list(one.probabilities.values()) for one in found]))
        for found in (before, after)
    ]
    same = np.mean([a.out_of_distribution == b.out_of_distribution for a, b in zip(before, after, strict=True)])
    lost = right - own
    interval = group_bootstrap_mean(lost, index["group_id"].tolist())
    found = BrowserInt8(
        bytes=small.stat().st_size,
        images=len(names),
        lost=float(lost.mean()),
        lost_ci95=interval,
        ece_grown=errors[1] - errors[0],
        same_abstentions=float(same) if model.ood_detector else None,
        used=False,
    )
    return found.model_copy(update={"used": not failures(found)})


def failures(found: BrowserInt8) -> list[str]:
    """Why 8 bits are not used, in words; empty where they are."""
    high = found.lost_ci95[1] if found.lost_ci95 else np.inf
    limits = [
        (high > MOST_LOST, f"more than {100 * MOST_LOST:g} points of accuracy may be lost"),
        (found.ece_grown > MOST_ECE, f"the calibration error grows by more than {MOST_ECE:g}"),
        (
            found.same_abstentions is not None and found.same_abstentions < LEAST_SAME,
            f"fewer than {100 * LEAST_SAME:g} % of the abstentions stay",
        ),
        (found.bytes > MOST_BYTES, f"the file is larger than {MOST_BYTES / 1e6:g} MB"),
    ]
    return [words for fails, words in limits if fails]


def int8_sentence(found: BrowserInt8) -> str:
    """What 8 bits cost, and whether they are used."""
    low, high = found.lost_ci95 or (np.nan, np.nan)
    same = "" if found.same_abstentions is None else f", {100 * found.same_abstentions:.1f} % of the abstentions stay"
    measured = (
        f"Weights of 8 bits: {found.bytes / 1e6:.2f} MB; on {found.images:,} test images {100 * found.lost:.2f} points "
        f"of accuracy lost [{100 * low:.2f}, {100 * high:.2f}], calibration error {found.ece_grown:+.4f}{same}."
    )
    reasons = " and ".join(failures(found))
    return f"{measured} {f'Not used, since {reasons}: the page runs float32.' if reasons else 'The page runs them.'}"


def _predictions(
    model: LoadedModel, data: PreparedData, record: BrowserModel, path: Path, names: list[str]
) -> list[Prediction]:
    session, pixels = onnx_session(path), NumpyPreprocessing(record.pixels)
    outputs = ["logits", *["features"] * record.features]

    def run(images: list[Image.Image]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        logits, *features = session.run(outputs, {"pixel_values": pixels(images)})
        return logits, features[0] if features else None

    backend = Backend("onnx", run, 1)
    found: list[Prediction] = []
    for start in range(0, len(names), BATCH):
        images = [prepared_image(data.root / name) for name in names[start : start + BATCH]]
        found += model.classify(images, backend)
    return found
