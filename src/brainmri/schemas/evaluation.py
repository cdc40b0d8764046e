"""`evaluation.json`, `robustness.json` and `maps.json`: what is measured of a finished model; and `export.json`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from brainmri.schemas.base import Interval, Record
from brainmri.schemas.dataset import DataSummary
from brainmri.schemas.figures import Baselines, Detection, Environment, PatientScores, Rejection, Scores, Share
from brainmri.schemas.pooling import Pooling


class TrainedOn(Record):
    """Name and fingerprint of the data that a run was trained on."""

    name: str
    fingerprint: str


class EvaluatedRun(Record):
    """What is known of the run that is scored; as in `result.json`.

    created: when the run ended, which tells two of one recipe and seed apart; None in the file of an earlier version.
    """

    arch: str
    protocol: str
    seed: int
    weights: str
    data: TrainedOn
    created: str | None = None


class CalibrationEffect(Record):
    """What a stored temperature changes on the scored images; see `Scores` for the figures."""

    temperature: float
    fitted_on: str
    loss_before: float | None
    loss_after: float | None
    ece_before: float | None
    ece_after: float | None
    brier_before: float | None
    brier_after: float | None


class ScoredModelAndData(Record):
    """What was scored on what: the part that an evaluation and its study of robustness share.

    Attributes:
        name: of the model. kind: "run", "model" or "predictions".
        command: how it was called. created: ISO 8601, UTC.
        run: of a run of this project only.
        data: the whole data set. split: what was scored of it: "train", "validation", "test" or "all".
        own_data: whether the data are those of the run; None where that is not known. relation: the same in words.
        classes: the scored classes.
        left_out: images of each label that were not scored, because the model does not know their class.
        warnings: headline and sentence of what must be known before any figure.
    """

    name: str
    kind: str
    command: str
    created: str
    run: EvaluatedRun | None
    data: DataSummary
    split: str
    own_data: bool | None
    relation: str
    classes: list[str]
    left_out: dict[str, int]
    warnings: list[tuple[str, str]]
    environment: Environment


class SeenImages(Record):
    """Images of a data set that the run was trained or validated on, found by the hashes of its own images.

    Attributes:
        training_images, validation_images: number of hashes that the run keeps. images: number that was looked up.
        seen: number found. of_validation: number of these that are like a validation image alone.
        excluded: whether the figures of the evaluation are without them; not where no other image would be left.
        listed_in: the CSV beside `evaluation.json` that names them; None without any.
        scores, detection: the figures with them, as in `EvaluationResult`; None where there is nothing to set apart.
    """

    training_images: int
    validation_images: int = 0
    images: int
    seen: int
    of_validation: int = 0
    excluded: bool
    listed_in: str | None
    scores: Scores | None
    detection: Detection | None


class EvaluationResult(ScoredModelAndData):
    """`evaluation.json`.

    Attributes:
        missing: the scored classes that no scored image has.
        model_classes: each class of the model and what it was scored as.
        data_classes: what each label was scored as; None where the model does not know it.
        scores: as in `result.json`, without what missing classes make meaningless; missing_reason: why, in a sentence.
        detection: for every model with a class that means "no tumour", and with the threshold of the run where it
            set one; else None, with the reason in `detection_reason`.
        seen: images that the run was trained or validated on; None where that was not looked into (see `relation`).
        patients: by patient, pooled as the run says, or by the default rule; None in the file of an earlier version.
        pooling: of the run, chosen on its own validation split; None for what has none.
        calibration, ood: None where nothing was stored with the model, with the reason beside it.
        baselines: of the scored split (the key in the file is `floors`).
    """

    schema_version: Literal[2] = 2
    missing: list[str]
    model_classes: list[tuple[str, str]]
    data_classes: dict[str, str | None]
    scores: Scores
    missing_reason: str | None
    detection: Detection | None
    detection_reason: str | None = None
    seen: SeenImages | None = None
    patients: PatientScores | None = None
    pooling: Pooling | None = None
    calibration: CalibrationEffect | None
    calibration_reason: str | None
    ood: Rejection | None
    ood_reason: str | None
    baselines: Baselines = Field(alias="floors")


class DrawnImages(Record):
    """Attributes:
    scored: number of images of the evaluation. drawn: of those that were corrupted. statement: the same in words.
    """

    scored: int
    drawn: int
    statement: str


class CorruptionKind(Record):
    """Attributes:
    unit, values: of the parameter at each strength. meaning: what it does, in words.
    """

    unit: str
    values: list[int | float]
    meaning: str


class RobustnessRow(Record):
    """One corruption at one strength.

    Attributes:
        kind: of corruption, or "clean". strength: 1..5, 0 for clean. value, unit: of its parameter.
        n, groups: numbers of images and groups. accuracy: 0..1.
        drop: accuracy lost against the clean images, 0..1, negative where it rose. changed: images with another answer.
        tumours, others: numbers of images. sensitivity, specificity: shares, by the likeliest class. None where no
            class means "no tumour".
        worst_class: the class of the lowest accuracy, with its number of images and its accuracy.
    """

    kind: str
    strength: int
    value: int | float | None
    unit: str | None
    n: int
    groups: int
    accuracy: Share
    accuracy_ci95: Interval | None
    drop: float | None
    drop_ci95: Interval | None
    changed: int
    tumours: int | None
    others: int | None
    sensitivity: Share | None
    sensitivity_ci95: Interval | None
    specificity: Share | None
    specificity_ci95: Interval | None
    worst_class: str | None
    worst_class_n: int | None
    worst_class_accuracy: Share | None
    worst_class_accuracy_ci95: Interval | None


class GroupAccuracy(Record):
    """Accuracy of the images of one class, one site, or one class of one site.

    Attributes:
        label, site: None where it is not by them that images were taken together; site "" where it is not known.
        judged: whether it has images and groups enough to be called the worst.
    """

    label: str | None = None
    site: str | None = None
    n: int
    groups: int
    accuracy: Share
    accuracy_ci95: Interval | None
    judged: bool


class GroupAccuracies(Record):
    """Attributes:
    all: each entry. worst: the judged one of the lowest accuracy; None where none is judged.
    """

    all: list[GroupAccuracy]
    worst: GroupAccuracy | None


class WorstGroups(Record):
    """Accuracy by class and site; those by site are None where no image has one.

    Attributes:
        smallest: images that an entry needs to be judged.
    """

    smallest: int
    by_class: GroupAccuracies | None = Field(alias="class")
    site: GroupAccuracies | None
    class_and_site: GroupAccuracies | None

    def parts(self) -> dict[str, GroupAccuracies]:
        """Those that there are, by their names in the file."""
        found = {"class": self.by_class, "site": self.site, "class_and_site": self.class_and_site}
        return {name: part for name, part in found.items() if part is not None}


class RobustnessResult(ScoredModelAndData):
    """`robustness.json`.

    Attributes:
        images: how many were corrupted. corruptions: each kind. rows: clean first, then by kind and strength.
        majority: share (0..1) of the largest class. groups: of all scored images, as they are.
    """

    schema_version: Literal[1] = 1
    images: DrawnImages
    corruptions: dict[str, CorruptionKind]
    majority: Share
    rows: list[RobustnessRow]
    groups: WorstGroups


class MapScore(Record):
    """Mean (0..1) of a score over images. lead: by how much the network is above this map, image by image."""

    mean: float
    ci95: Interval | None
    lead: float | None = None
    lead_ci95: Interval | None = None


class MapScores(Record):
    """Attributes:
    images, groups: their numbers. methods: for each kind of map its scores by name.
    """

    images: int
    groups: int
    methods: dict[str, dict[str, MapScore]]


class RandomisationStep(Record):
    """How like the maps are to those of the trained network, with `layers` layers random down to `layer`.

    Attributes:
        judged: images with maps to compare. rank_correlation, similarity: -1..1; None without such images.
    """

    layer: str
    layers: int
    judged: int
    rank_correlation: float | None
    rank_correlation_ci95: Interval | None
    similarity: float | None
    similarity_ci95: Interval | None


class Randomisation(Record):
    """The model-parameter randomisation test: number of images and layers, each step, and the verdict in words."""

    images: int
    layers: int
    steps: list[RandomisationStep]
    verdict: str


class MapsResult(Record):
    """`maps.json`: Grad-CAM maps against outlines.

    Attributes:
        model: its name. remarks: sentences that must stand beside its figures.
        layer: where the maps are computed. places: height and width of the maps.
        class_name: whose evidence is shown, or "predicted" (the key in the file is `class`).
        images: number of maps. test_images: number of images they were chosen from.
        empty_maps: maps that are 0 everywhere. empty_random_maps: the same of a network with random weights (a mean).
        tolerance_pixels: how far beside an outline still counts.
        scores: by class, and of all; None without outlines.
    """

    schema_version: Literal[1] = 1
    model: str
    remarks: list[str]
    layer: str
    places: list[int]
    class_name: str = Field(alias="class")
    images: int
    test_images: int
    empty_maps: int
    empty_random_maps: float | None
    tolerance_pixels: int | None
    gaussian_standard_deviation: float | None
    scores: dict[str, MapScores] | None
    randomisation: Randomisation


class TensorSpec(Record):
    """An input or output of an exported model.

    Attributes:
        shape: numbers, or a word for what may be any number.
    """

    name: str
    type: str
    shape: list[int | str]


class TorchComparison(Record):
    """By how much the exported model differs from torch.

    Attributes:
        images: number of simulated slices that both were asked of.
        largest_difference: of their logits, as a share of the largest logit.
    """

    images: int
    largest_difference: float


class ExportedModel(Record):
    """`onnx.json`, `openvino.json` or `torch_export.json`: what someone needs who has the exported file alone.

    Attributes:
        format: as `--format` names it. file: that holds the network. model: its name.
        classes: the label names, in the order of the outputs.
        preprocessing: the settings of the image processor that are set.
        temperature: by which logits are divided; None without one. probabilities: the same as a formula.
        conformal_thresholds: of the prediction sets by class, 0..1; None without them.
        prediction_set: the same as a formula.
        versions: of the packages that wrote the file.
    """

    schema_version: Literal[1] = 1
    format: str
    file: str
    model: str
    classes: list[str]
    input: TensorSpec
    output: TensorSpec
    preprocessing: dict[str, Any]
    temperature: float | None
    probabilities: str
    conformal_thresholds: dict[str, float] | None
    prediction_set: str | None
    compared_with_torch: TorchComparison
    versions: dict[str, str]


class SimulatedImages(Record):
    """`simulated.json` in the folder of a generator's images.

    Attributes:
        generator, version, seed: what made them.
        images: a digest of the pixels of each image, by its path in the folder.
    """

    schema_version: Literal[1] = 1
    generator: str
    version: int
    seed: int
    images: dict[str, str]
