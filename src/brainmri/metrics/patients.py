"""Figures by patient, and the pooling of slices that the validation split speaks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from brainmri.data.dataset import class_without_tumour
from brainmri.metrics.bootstrap import group_bootstrap
from brainmri.metrics.detection import SPECIFICITY, full_operating_point
from brainmri.metrics.pooling import DEFAULT, MEAN, MIN_PATIENTS, best, compare, fit_learned, log_odds, pool_classes
from brainmri.schemas import Detection, OperatingPoint, PatientScores, Pooling, PoolingRule, TumourThreshold, Unit

PATIENTS = {"patient": "patients", "group": "groups"}


@dataclass(frozen=True)
class SliceTable:
    """The images of a split, a row each.

    Attributes:
        labels: (N,) class numbers.
        probabilities: (N, C), calibrated where the model has a temperature.
        patients: (N,) patient or group ids.
        images: (N,) equal for copies of one image, which count once: the first.
        unit: what `patients` are: "patient", or "group" where not every image has a known one.
        excluded: (N,) slices that do not count unless all of a patient's do not; None: all count.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    patients: Sequence[str]
    images: Sequence[str]
    unit: Unit
    excluded: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class _Patients:
    """ids (P,), class numbers (P,), of each the class probabilities (n, C) of its distinct slices that count, and how
    many slices were left out in all."""

    ids: list[str]
    labels: NDArray[np.int64]
    slices: list[NDArray[np.float64]]
    left_out: int


def choose_pooling(validation: SliceTable, classes: list[str]) -> Pooling:
    """How slices are to be pooled, by the patients of the validation split.

    The default stands unless another rule tells those with a tumour from the others better, by more than the standard
    error of the difference. Where there are fewer than 10 patients of either kind with several distinct slices, or no
    class means "no tumour", nothing is compared, and `reason` says so.
    """
    name = class_without_tumour(classes)
    unit = validation.unit
    if name is None:
        return Pooling(
            rule=MEAN,
            default=MEAN.name,
            chosen_on=None,
            reason="No class means “no tumour”, so that the class probabilities of a patient's slices are averaged.",
            unit=unit,
            tumours=0,
            others=0,
            comparison=[],
            specificity_on_validation=SPECIFICITY,
            threshold=None,
            threshold_of_mean=None,
            threshold_patients=0,
            threshold_slices=None,
        )
    negative = classes.index(name)
    found = _patients(validation, negative)
    ill = found.labels != negative
    tumour = [1 - one[:, negative] for one in found.slices]
    several = np.array([len(one) > 1 for one in tumour])
    tumours, others = int((several & ill).sum()), int((several & ~ill).sum())
    rule, comparison = DEFAULT, []
    if min(tumours, others) < MIN_PATIENTS:
        reason = (
            f"Of the validation {PATIENTS[unit]} with several distinct slices, {tumours} have a tumour and {others} "
            f"have none; {MIN_PATIENTS} of each are needed to choose a pooling, so that the default is used."
        )
    else:
        rows = np.flatnonzero(several)
        compared = [tumour[k] for k in rows]
        comparison = compare(compared, ill[rows])
        chosen = best(comparison)
        rule = fit_learned(compared, ill[rows]) if chosen == "learned" else PoolingRule(name=chosen)
        by_whom = f"the {tumours} validation {PATIENTS[unit]} with a tumour and the {others} without, of several slices"
        if chosen == DEFAULT.name:
            reason = f"By {by_whom}, no rule is better than the default by more than the standard error."
        else:
            reason = f"By {by_whom}, it tells the two apart best, by more than the standard error."
    healthy = [len(one) for one, has in zip(found.slices, ill, strict=True) if not has]
    return Pooling(
        rule=rule,
        default=DEFAULT.name,
        chosen_on="validation" if comparison else None,
        reason=reason,
        unit=unit,
        tumours=tumours,
        others=others,
        comparison=comparison,
        specificity_on_validation=SPECIFICITY,
        threshold=_threshold(found, negative, rule),
        threshold_of_mean=_threshold(found, negative, MEAN),
        threshold_patients=len(healthy),
        threshold_slices=float(np.median(healthy)) if healthy else None,
    )


def patient_scores(
    table: SliceTable, classes: list[str], pooling: Pooling | None, slices: TumourThreshold | Detection | None
) -> PatientScores:
    """Figures by patient, beside those of the single slices.

    Args:
        pooling: of the run; without one, by the default rule and without a threshold.
        slices: the threshold for single slices; its probabilities are uncalibrated in the run, and those of `table`
            here, so that its sensitivity may differ from `detection` by a slice.
    """
    name = class_without_tumour(classes)
    negative = None if name is None else classes.index(name)
    found = _patients(table, negative)
    rule = MEAN if negative is None else pooling.rule if pooling else DEFAULT
    answers = np.stack([pool_classes(one, negative, rule)[0] for one in found.slices])
    right = answers.argmax(axis=1) == found.labels
    points: dict[str, OperatingPoint | None] = dict.fromkeys(("slices", "mean", "pooled"))
    if negative is not None:
        means = np.stack([pool_classes(one, negative, MEAN)[0] for one in found.slices])
        limits = (pooling.threshold_of_mean, pooling.threshold) if pooling else (None, None)
        for key, values, limit in zip(("mean", "pooled"), (means, answers), limits, strict=True):
            points[key] = _point(values, found.labels, found.ids, negative, limit)
        limit = slices.threshold if slices else None
        points["slices"] = _point(table.probabilities, table.labels, list(table.patients), negative, limit)
    of_class = {label: right[found.labels == number] for number, label in enumerate(classes)}
    return PatientScores(
        unit=table.unit,
        n=len(found.ids),
        several=sum(len(one) > 1 for one in found.slices),
        median_slices=float(np.median([len(one) for one in found.slices])),
        left_out=None if table.excluded is None else found.left_out,
        rule=rule.name,
        threshold=pooling.threshold if pooling and negative is not None else None,
        accuracy=float(right.mean()),
        accuracy_ci95=group_bootstrap(right, found.ids),
        recall_per_class={label: float(own.mean()) if len(own) else None for label, own in of_class.items()},
        **points,
    )


def _patients(table: SliceTable, negative: int | None) -> _Patients:
    """The patients in the order of their ids, of each image the first copy."""
    ids, patient = np.unique(np.asarray(table.patients, dtype=str), return_inverse=True)
    _, image = np.unique(np.asarray(table.images, dtype=str), return_inverse=True)
    _, first = np.unique(np.stack([patient, image]), axis=1, return_index=True)
    rows = np.sort(first)
    members = np.split(rows[np.argsort(patient[rows], kind="stable")], np.cumsum(np.bincount(patient[rows]))[:-1])
    labels, slices, left_out = [], [], 0
    for own in members:
        kinds = np.bincount(table.labels[own])
        if negative is not None and negative < len(kinds) and len(own) > kinds[negative]:
            kinds[negative] = 0
        labels.append(int(kinds.argmax()))
        if table.excluded is not None and not (outside := table.excluded[own]).all():
            left_out += int(outside.sum())
            own = own[~outside]
        slices.append(table.probabilities[own])
    return _Patients(ids.tolist(), np.array(labels), slices, left_out)


def _threshold(patients: _Patients, negative: int, rule: PoolingRule) -> float | None:
    """A tumour probability that 95 % of the patients without a tumour do not exceed; None without any.

    It lies in the middle, by log-odds, between theirs and the next patient's with a tumour: where the two kinds are far
    apart and those without a tumour are few, a threshold right at theirs would call every new one a little above ill.
    """
    ill = patients.labels != negative
    if ill.all():
        return None
    scores = np.array([1 - pool_classes(one, negative, rule)[0][negative] for one in patients.slices])
    low = float(np.quantile(scores[~ill], SPECIFICITY, method="higher"))
    above = scores[ill & (scores > low)]
    if not len(above):
        return low
    return max(low, float(expit(log_odds(np.array([low, above.min()])).mean())))


def _point(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    ids: list[str],
    negative: int,
    threshold: float | None,
) -> OperatingPoint:
    """Tumour against the rest; without a threshold by the likeliest class alone."""
    scores, named, tumour = 1 - probabilities[:, negative], probabilities.argmax(axis=1) != negative, labels != negative
    everything, names = np.ones(len(labels), dtype=bool), np.asarray(ids, dtype=str)
    return full_operating_point(scores, named, tumour, everything, names, threshold)
