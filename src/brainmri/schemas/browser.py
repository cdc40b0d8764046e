"""`model.json` of the demo that runs in a browser: all that it knows of its model beside the ONNX file."""

from __future__ import annotations

from typing import Literal

from brainmri.schemas.base import Record
from brainmri.schemas.kinds import TrainingKinds
from brainmri.schemas.manifests import PixelSettings
from brainmri.schemas.pooling import PoolingRule


class FloatArray(Record):
    """An array of float32 in a JSON file.

    Attributes:
        shape: of the array. base64: its bytes, little-endian, in C order, by the alphabet of URLs: it has no slash, so
            that nothing in it looks like a path.
    """

    shape: list[int]
    base64: str


class BrowserDetector(Record):
    """The OOD detector, as `evaluation.ood.detector.OODDetector` has it: the same names, shapes and units."""

    threshold: float
    means: FloatArray
    directions: FloatArray
    deviations: FloatArray
    statistics_mean: FloatArray
    statistics_whitening: FloatArray
    units: FloatArray


class BrowserConformal(Record):
    """The prediction sets.

    Attributes:
        coverage: the share of images whose set is made to hold the right class, 0..1.
        thresholds: of 1 - p, one for each class.
        calibrated: whether p is the calibrated probability.
    """

    coverage: float
    thresholds: list[float]
    calibrated: bool


class BrowserFigures(Record):
    """What was measured on the test split, as the page says it; None where it was not.

    Attributes:
        data: name of the data set. simulated: whether its images are.
        accuracy, coverage, refused, ece: shares, 0..1. accuracy_ci95, coverage_ci95: their intervals by group.
    """

    data: str
    simulated: bool
    accuracy: float | None
    accuracy_ci95: list[float] | None
    ece: float | None
    coverage: float | None
    coverage_ci95: list[float] | None
    refused: float | None


class BrowserInt8(Record):
    """What weights of 8 bits cost, measured on the test split beside float32.

    Attributes:
        bytes: size of the file. images: of the test split.
        lost: share of right answers lost, -1..1, with its paired interval by group (None: one group only).
        ece_grown: the calibration error less that of float32.
        same_abstentions: share of images that both refuse or both answer; None without an OOD detector.
        used: whether that is good enough, so that the page runs them.
    """

    bytes: int
    images: int
    lost: float
    lost_ci95: list[float] | None
    ece_grown: float
    same_abstentions: float | None
    used: bool


class BrowserModel(Record):
    """`model.json`.

    Attributes:
        name: of the model, as the page shows it. classes: the label names, in the order of the outputs.
        without_tumour: number of the class without a tumour; None where there is none.
        network: the ONNX file: its name beside this one, and its SHA-256.
        maps: whether it has the output `maps` (B, C, h, w), the evidence for each class.
        features: whether it has the output `features` (B, D), which the detector looks at.
        pixels: what the network gets of an image.
        temperature: by which logits are divided; None without one.
        conformal, detector, pooling, pooling_threshold, figures: None where the model has none.
        kinds: what its training images were; None where that was not counted.
        int8: what weights of 8 bits cost; None where that was not measured.
        cautions: what must be known before any answer, in English, a sentence or two each.
    """

    schema_version: Literal[1] = 1
    name: str
    classes: list[str]
    without_tumour: int | None
    network: str
    sha256: str
    maps: bool
    features: bool
    pixels: PixelSettings
    temperature: float | None
    conformal: BrowserConformal | None
    detector: BrowserDetector | None
    pooling: PoolingRule
    pooling_threshold: float | None
    figures: BrowserFigures | None
    kinds: TrainingKinds | None
    int8: BrowserInt8 | None = None
    cautions: list[str]
