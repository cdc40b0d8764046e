"""The measured parts that several files share: scores, detection, calibration, prediction sets, OOD detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from brainmri.schemas.base import Interval, Record
from brainmri.schemas.kinds import TrainingKinds
from brainmri.schemas.pooling import Pooling, Share, Unit


class ClassScores(Record):
    """Figures of one class against the rest; shares (0..1), None where undefined or not meaningful.

    Attributes:
        precision, recall (sensitivity), specificity, f1: of this class.
        support: number of images of this class.
    """

    precision: Share | None
    recall: Share | None
    specificity: Share | None
    f1: Share | None
    support: int


class Scores(Record):
    """All figures of one split.

    Attributes:
        n: number of images. groups: number of groups.
        accuracy: share of the images that are classified rightly, with its interval (None for a single group).
        balanced_accuracy: mean recall of the classes that occur. macro_f1: mean F1 of them. Both 0..1.
        auroc: mean area under the ROC curve, one class against the rest, 0..1; None if a class is absent.
        loss: mean cross entropy, in nats. ece: expected calibration error, 0..1. brier: Brier score, 0..2.
        per_class: figures by label.
        confusion_matrix: (C, C) numbers of images; rows: true class, columns: predicted class.
    """

    n: int
    groups: int
    accuracy: Share
    accuracy_ci95: Interval | None
    balanced_accuracy: Share | None
    macro_f1: Share | None
    auroc: Share | None
    loss: float | None
    ece: Share | None
    brier: float | None
    per_class: dict[str, ClassScores]
    confusion_matrix: list[list[int]]


class OperatingPoint(Record):
    """Tumour against no tumour, of some images.

    Attributes:
        tumours, others: numbers of images with and without a tumour.
        sensitivity: share of the tumours that are called one, specificity: of the others that are not; with intervals.
            None without such images.
        sensitivity_of_likeliest, specificity_of_likeliest: the same without a threshold, by the likeliest class.
        sensitivity_at_90_specificity, sensitivity_at_95_specificity: share of these tumours above the lowest threshold
            that leaves at least 90 % (95 %) of all images without a tumour alone. That threshold is set on the scored
            images themselves, so that every model has these figures; their intervals draw both kinds of images anew.
        auroc: of these tumours against all images without one, 0..1.
    """

    tumours: int | None = None
    others: int | None = None
    sensitivity: Share | None = None
    sensitivity_ci95: Interval | None = None
    specificity: Share | None = None
    specificity_ci95: Interval | None = None
    sensitivity_of_likeliest: Share | None = None
    sensitivity_of_likeliest_ci95: Interval | None = None
    specificity_of_likeliest: Share | None = None
    specificity_of_likeliest_ci95: Interval | None = None
    sensitivity_at_90_specificity: Share | None = None
    sensitivity_at_90_specificity_ci95: Interval | None = None
    sensitivity_at_95_specificity: Share | None = None
    sensitivity_at_95_specificity_ci95: Interval | None = None
    auroc: Share | None = None
    auroc_ci95: Interval | None = None


class TumourThreshold(Record):
    """From which probability of any tumour an image is called one.

    Attributes:
        without_tumour: the class that means "no tumour".
        specificity_on_validation: share (0..1) of the validation images without a tumour that must not be called one.
        threshold: an image with a higher probability of any tumour is called one, 0..1.
    """

    without_tumour: str
    specificity_on_validation: Share
    threshold: float


class Detection(Record):
    """How many tumours are found.

    Attributes:
        without_tumour, specificity_on_validation, threshold: as in `TumourThreshold`; the last two None for a model
            that has no threshold of its own.
        all: of all images. sites: of each site; "" where it is not known.
    """

    without_tumour: str
    specificity_on_validation: Share | None
    threshold: float | None
    all: OperatingPoint
    sites: dict[str, OperatingPoint]


class PatientScores(Record):
    """Figures by patient: one answer for all slices that a patient has among the scored images.

    A patient has a tumour where any of its images has one; its class is then the most frequent class of those. Copies
    of one image (mirrored, encoded again) count once.

    Attributes:
        unit: "patient", or "group" where not every image has a known patient: groups are found from the images then.
        n: number of patients. several: of those with several distinct slices. median_slices: of a patient, distinct.
        left_out: slices that are out of distribution, which did not count (unless all of a patient's are); None where
            that was not looked into.
        rule: how slices are pooled. threshold: above which tumour probability a patient is called one with a tumour,
            set on the validation split of the run; None without one.
        accuracy: share of the patients whose likeliest class is right. recall_per_class: by class; None without
            patients of it.
        slices: every image by itself, at the threshold for slices. mean: patients by the mean over their slices.
            pooled: patients by the rule; both at thresholds for patients. Numbers are of images in `slices`, and of
            patients in the others. None where no class means "no tumour".
    """

    unit: Unit
    n: int
    several: int
    median_slices: float
    left_out: int | None
    rule: str
    threshold: Share | None
    accuracy: Share
    accuracy_ci95: Interval | None
    recall_per_class: dict[str, Share | None]
    slices: OperatingPoint | None
    mean: OperatingPoint | None
    pooled: OperatingPoint | None


class Calibration(Record):
    """The temperature that makes probabilities honest, and what it changes.

    Attributes:
        temperature: above 0; above 1 it makes probabilities less extreme.
        nll_before, nll_after: cross entropy on the validation split, in nats.
        ece_before, ece_after: expected calibration error on the validation split, 0..1. test_ece_after: on the test
            split.
    """

    method: str
    temperature: float
    fitted_on: str
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    test_ece_after: float


class SetCoverage(Record):
    """What prediction sets hold on the test split.

    Attributes:
        test_coverage: share of the test images whose set holds the true class, in all (with interval) and by class.
        test_mean_set_size: classes of a set. test_set_sizes: number of test images by the size of their set.
    """

    test_coverage: Share
    test_coverage_ci95: Interval | None
    test_coverage_per_class: dict[str, Share | None]
    test_mean_set_size: float
    test_set_sizes: dict[str, int]


class Conformal(SetCoverage):
    """Prediction sets: the likeliest class, and every class with 1 - p <= its threshold.

    Attributes:
        probabilities: which ones: "uncalibrated".
        alpha: share (0..1) of the images whose set may miss the true class, in each class.
        threshold: of the marginal sets, 0..1: one for all classes.
        class_thresholds: of the class-conditional (Mondrian) sets, which are shown; the marginal one where a class has
            too few validation images. None in the file of an earlier version.
        marginal: what the marginal sets hold; None in the file of an earlier version, whose figures are of these sets.
    """

    method: str
    probabilities: str
    alpha: Share
    threshold: float
    class_thresholds: dict[str, float] | None = None
    fitted_on: str
    marginal: SetCoverage | None = None

    def thresholds(self, classes: Sequence[str]) -> list[float]:
        """Of the sets that are shown, in the order of these classes."""
        return [(self.class_thresholds or {}).get(name, self.threshold) for name in classes]


class AbstentionEffect(Record):
    """Tumour against none by the likeliest class, before an OOD detector abstains and of the images that it keeps.

    Attributes:
        n: number of images. refused: share of them that the detector abstains from.
        wrong, wrong_of_kept, wrong_of_refused: share of wrong answers (a tumour called none, or the other way round)
            among all, among those that are kept and among those that are refused.
        tumours, tumours_kept: numbers of images with a tumour.
        sensitivity, sensitivity_of_kept: share of those that are called one. specificity, specificity_of_kept: share of
            the others that are not. None where there are no such images.
    """

    n: int
    refused: Share
    wrong: Share
    wrong_ci95: Interval | None
    wrong_of_kept: Share | None
    wrong_of_kept_ci95: Interval | None
    wrong_of_refused: Share | None
    wrong_of_refused_ci95: Interval | None
    tumours: int
    tumours_kept: int
    sensitivity: Share | None
    sensitivity_ci95: Interval | None
    sensitivity_of_kept: Share | None
    sensitivity_of_kept_ci95: Interval | None
    specificity: Share | None
    specificity_ci95: Interval | None
    specificity_of_kept: Share | None
    specificity_of_kept_ci95: Interval | None


class Abstention(Record):
    """Attributes:
    all: of all images. sites: of each site; "" where it is not known.
    """

    all: AbstentionEffect
    sites: dict[str, AbstentionEffect]


class Rejection(Record):
    """How many of some images an OOD detector abstains from, and how the others are classified.

    Attributes:
        n: number of images. rejected: share of them. kept: number of the others.
        kept_accuracy: share of the kept ones that are classified rightly; None where nothing is kept.
        abstention: what abstaining changes for finding tumours, by site; None where no class means "no tumour", and in
            the file of an earlier version.
    """

    n: int
    rejected: Share
    rejected_ci95: Interval | None
    kept: int
    kept_accuracy: Share | None
    kept_accuracy_ci95: Interval | None
    abstention: Abstention | None = None


class TestRejection(Rejection):
    """Attributes:
    rejected_per_class: share of each class that is rejected; None without images.
    """

    __test__ = False  # no class of tests, whatever pytest makes of the name
    rejected_per_class: dict[str, Share | None]


class ValidationRejection(Record):
    """Attributes:
    n: number of images. rejected: share of them.
    """

    n: int
    rejected: Share


class OODTestResult(Record):
    """What an OOD detector says of one OOD test set.

    Attributes:
        name, source: of the set. use: "held back", or "development" (the kind of detector was chosen by it; in runs up
            to 2026-11-29).
        meaning: what should happen to its images.
        n: number of images. rejected: share of them, with its exact binomial interval; None where the set is absent.
        absent: why the set could not be made.
    """

    name: str
    source: str
    use: str
    meaning: str
    n: int
    rejected: Share | None
    ci95: Interval | None
    absent: str | None


class OODRecord(Record):
    """An OOD detector, and what it abstains from.

    Attributes:
        layer: the layer of the network whose input the features are. features: number of them.
        arrays: name of the file beside this one that holds its arrays.
        fitted_images: number of training images that it was fitted on.
        threshold: an image with a higher score is rejected.
        lost_at_most: share (0..1) of the validation images that the threshold gives up.
        probes: each OOD test set.
    """

    method: str
    layer: str
    features: int
    arrays: str
    fitted_on: str
    fitted_images: int
    threshold: float
    threshold_from: str
    lost_at_most: Share
    validation: ValidationRejection
    test: TestRejection
    probes: list[OODTestResult]


class Uncertainty(Record):
    """`uncertainty.json`: how far the probabilities of a run can be trusted.

    Attributes:
        classes: the label names, in the order of the model's outputs.
        conformal, ood: None where there is none, with the reason in `conformal_reason` and `ood_reason`.
        pooling: of a patient's slices; kinds: of the training images. None in the file of an earlier version.
    """

    schema_version: Literal[2] = 2
    classes: list[str]
    calibration: Calibration | None
    conformal: Conformal | None
    conformal_reason: str | None
    ood: OODRecord | None
    ood_reason: str | None
    pooling: Pooling | None = None
    kinds: TrainingKinds | None = None


class Baselines(Record):
    """Accuracy (0..1) of methods without a network on the same split; None where it was not measured.

    Attributes:
        majority: always the most frequent class. nearest_neighbour: of 64x64 pixels. global_statistics: trees on seven
            statistics of the whole image.
    """

    majority: Share | None = None
    nearest_neighbour: Share | None = None
    global_statistics: Share | None = None


class Environment(Record, extra="allow"):
    """Where something was measured. Further keys are versions of packages, by their names.

    Attributes:
        hardware: GPU, or processor and the cores in use. threads: of torch on the processor.
        git_commit: of this package's code, "+changes" where files of it differ; None where it is not known.
    """

    __pydantic_extra__: dict[str, str | None] = Field(init=False)
    hardware: str | None = None
    threads: int | None = None
    platform: str | None = None
    python: str | None = None
    git_commit: str | None = None

    def rows(self) -> list[tuple[str, str | int | None]]:
        """Each name and value that is on record, as readers expect them: the commit last."""
        known = self.model_dump(exclude_unset=True)
        return sorted(known.items(), key=lambda row: row[0] == "git_commit")
