"""How the slices of a patient become one answer, as `uncertainty.json` and `result.json` keep it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from brainmri.schemas.base import Interval, Record

Share = Annotated[float, Field(ge=0, le=1)]
Unit = Literal["patient", "group"]


class PoolingRule(Record):
    """A rule that makes one tumour probability of those of a patient's slices.

    Attributes:
        name: one of `brainmri.metrics.pooling.RULES`.
        intercept, coefficients: of the rule "learned" (log-odds, by feature); None for the others.
    """

    name: str
    intercept: float | None = None
    coefficients: dict[str, Annotated[float, Field(ge=0)]] | None = None


class PoolingScore(Record):
    """How well one rule tells patients with a tumour from the others on the validation split.

    Attributes:
        name: of the rule.
        auroc: area under the ROC curve by patient, with its interval over patients; of "learned" by rules that were
            fitted without the patient.
        gain: auroc minus that of the default rule, -1..1. gain_error: its standard error over patients.
    """

    name: str
    auroc: Share
    auroc_ci95: Interval | None
    gain: float
    gain_error: float


class Pooling(Record):
    """How a patient's slices are pooled, and how that was chosen. Probabilities are the calibrated ones.

    Attributes:
        rule: that is used. default: name of the rule that stands where nothing speaks for another one.
        chosen_on: "validation", or None where the rule is the default for want of patients; `reason` says why.
        unit: what counts as a patient: "patient" where every image has a known one, else "group" (images that look
            like one patient's).
        tumours, others: numbers of validation patients with and without a tumour that have several distinct slices.
        comparison: of every rule on those patients; empty where there are too few.
        specificity_on_validation: share of validation patients without a tumour that must not be called one.
        threshold: a patient with a higher tumour probability is called one with a tumour; between the probability that
            this share of them do not exceed and the next one of a patient with a tumour. None without such patients.
        threshold_of_mean: the same for the rule "mean", to compare with. threshold_patients: that set it.
        threshold_slices: the median of their numbers of distinct slices.
    """

    rule: PoolingRule
    default: str
    chosen_on: Literal["validation"] | None
    reason: str
    unit: Unit
    tumours: int
    others: int
    comparison: list[PoolingScore]
    specificity_on_validation: Share
    threshold: Share | None
    threshold_of_mean: Share | None
    threshold_patients: int
    threshold_slices: float | None
