"""Which MRI sequence and plane a slice looks like, by its pixels: a small network that knows simulated heads only.

It was fitted on slices of the phantom's heads in contrasts that the physics of each sequence orders
(`benchmarks.sequence`, which also measures it on real images; docs/guides/out-of-distribution.md has the figures). No
real image took part, so that it can be asked about any. Where it is not sure it says so, and where a file says what it
is, the file is believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from brainmri.io.geometry import PLANES
from brainmri.io.sequence import FLAIR, OTHER, T1, T1_CONTRAST, T1_PLAIN, T2, UNKNOWN

OUTPUTS = (T1_CONTRAST, T1_PLAIN, T2, FLAIR, OTHER)  # and after them the `ESTIMATED_PLANES`
ESTIMATED_PLANES = ("axial", "coronal", "sagittal")
SIDE, FRAME = 64, 2  # pixels of what the network sees, and of the empty frame around the head in it
EDGE, LEAST_SHARE = 0.15, 0.03  # of the brightest hundredth, and of a line's pixels: where the head begins
SURE = 0.7  # probability from which a sequence or plane is named; chosen on development images (benchmarks.sequence)
LAYERS = 4
ESTIMATOR = "sequence.safetensors"


@dataclass(frozen=True)
class Look:
    """What a slice is.

    Attributes:
        sequence: one of `brainmri.io.sequence.SEQUENCES`. plane: "axial", "coronal", "sagittal" or "unknown".
        sequence_from, plane_from: "file" where the file says it, "picture" where it was estimated.
    """

    sequence: str
    plane: str
    sequence_from: str = "picture"
    plane_from: str = "picture"

    def told(self, sequence: str, plane: str) -> Look:
        """With what the file says in the place of the estimate. sequence: "" and plane: "slice" say nothing."""
        look = replace(self, sequence=sequence, sequence_from="file") if sequence else self
        return replace(look, plane=plane, plane_from="file") if plane in PLANES else look


def looks(images: Sequence[Image.Image]) -> list[Look]:
    """The estimate for each image, upright, of any mode of 8 bits."""
    if not images:
        return []
    sequences, planes = probabilities(np.stack([head_view(image) for image in images]))
    return [Look(_sequence(one), _named(other, ESTIMATED_PLANES)) for one, other in zip(sequences, planes, strict=True)]


def _sequence(shares: NDArray[np.float64]) -> str:
    """T1 with and without a contrast agent are one: on real volumes they were told apart no better than by chance."""
    return _named(np.array([shares[0] + shares[1], *shares[2:]]), (T1, *OUTPUTS[2:]))


def _named(shares: NDArray[np.float64], names: Sequence[str]) -> str:
    best = int(shares.argmax())
    return names[best] if shares[best] >= SURE else UNKNOWN


def head_view(image: Image.Image) -> NDArray[np.uint8]:
    """The head in an image, as the network sees it: (SIDE, SIDE), on a black square."""
    values = np.asarray(image.convert("L"), dtype=np.float32)
    bright = values > EDGE * np.quantile(values, 0.99)
    rows, columns = (np.flatnonzero(bright.mean(axis=axis) > LEAST_SHARE) for axis in (1, 0))
    if len(rows) > 1 and len(columns) > 1:
        values = values[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(values.shape)
    square = np.zeros((side, side), np.float32)
    top, left = (side - values.shape[0]) // 2, (side - values.shape[1]) // 2
    square[top : top + values.shape[0], left : left + values.shape[1]] = values
    inner = SIDE - 2 * FRAME
    small = np.asarray(Image.fromarray(square).resize((inner, inner), Image.Resampling.BILINEAR))
    return np.pad(small, FRAME).round().clip(0, 255).astype(np.uint8)


def probabilities(views: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each of `OUTPUTS` (N, 5) and `ESTIMATED_PLANES` (N, 3), from `head_view`s (N, SIDE, SIDE)."""
    weights = _weights()
    values = standardized(views)[:, None]
    for number in range(LAYERS):
        values = _convolved(values, weights[f"kernel{number}"], weights[f"bias{number}"])
    outputs = values.reshape(len(values), -1) @ weights["dense"].T + weights["dense_bias"]
    return _softmax(outputs[:, : len(OUTPUTS)]), _softmax(outputs[:, len(OUTPUTS) :])


def standardized(views: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Each image with a mean of 0 and a deviation of 1, float32."""
    values = views.astype(np.float32)
    return (values - values.mean((1, 2), keepdims=True)) / (values.std((1, 2), keepdims=True) + 1)


def _convolved(
    values: NDArray[np.float32], kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A 3x3 convolution of stride 2 with a frame of zeros, and no negative values: (N, C, H, W) -> (N, D, H/2, W/2)."""
    padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2]
    found = np.tensordot(windows, kernel, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
    return np.maximum(found + bias[:, None, None], 0)


def _softmax(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    raised = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def estimator_weights() -> bytes:
    """The file of the network's weights: safetensors of 16-bit floats."""
    return (files("brainmri") / "evaluation" / ESTIMATOR).read_bytes()


@cache
def _weights() -> dict[str, NDArray[np.float32]]:
    from safetensors.numpy import load

    return {name: values.astype(np.float32) for name, values in load(estimator_weights()).items()}
