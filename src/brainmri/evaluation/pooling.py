"""A patient's answer from those for its slices: `PatientPrediction`, and its row of `patients.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brainmri.data.dataset import class_without_tumour
from brainmri.evaluation.inference import Prediction, row_of
from brainmri.metrics.pooling import DEFAULT, MEAN, pool_classes

if TYPE_CHECKING:
    from brainmri.schemas import Pooling

CARRYING = 5  # slices that patients.csv names
LEAST_SHARE = 0.01  # of the answer, from which a slice is said to carry it


@dataclass(frozen=True)
class PatientPrediction:
    """What a model says of all slices of a scan, pooled as was chosen on the validation split of its run.

    Slices that are out of distribution do not count, unless all are.

    Attributes:
        label: the class with the highest probability.
        probabilities: of each class, 0..1; the sum is 1. Tumour against no tumour is the pooling's; the kinds of tumour
            share it as the slices that carry the answer say.
        tumour_probability: 1 - that of the class without a tumour, 0..1; None for a model that has no such class.
        pooling: the name of the rule, one of `brainmri.metrics.pooling.RULES`.
        threshold: the tumour probability that 95 % of the validation patients without a tumour do not exceed; None for
            a model that has none.
        tumour: whether the tumour probability is above the threshold; None without one. It may differ from `label`,
            which is the likeliest class, whatever the threshold.
        interval: the tumour probabilities between which 95 % of the slices that count lie. It says how much the slices
            differ, not how sure the answer is: slices of one patient are alike. None where tumour_probability is.
        out_of_distribution: whether all slices are; None for a model without an OOD detector.
        type_doubtful: whether the type of the tumour that `label` names must be doubted, by the slices that name one;
            None where none does, or `label` is no type of tumour.
        few_seen: of the slices, how many are of a sequence and plane of which training had few tumours; None where that
            is not known.
        slices: a row for each slice, the most suspicious first (those out of distribution last): the columns of
            predictions.csv, tumour_probability, and share: the slice's part of the answer, 0..1, in all 1.
        rejected: "PATH: REASON" of the slices and files that could not be used, so that the answer is without them.
        notes: what there is to say of the scan, a sentence each (`Scan.notes`): that slices are missing, for example.
    """

    label: str
    probabilities: dict[str, float]
    tumour_probability: float | None
    pooling: str
    threshold: float | None
    tumour: bool | None
    interval: tuple[float, float] | None
    out_of_distribution: bool | None
    slices: pd.DataFrame = field(repr=False, compare=False)
    type_doubtful: bool | None = None
    few_seen: int | None = None
    rejected: tuple[str, ...] = field(default=(), repr=False, compare=False)
    notes: tuple[str, ...] = field(default=(), repr=False, compare=False)


def patient_prediction(predictions: Sequence[Prediction], pooling: Pooling | None = None) -> PatientPrediction:
    """Pool the slices of one scan (at least one), all by the same model.

    pooling: of the model's `uncertainty.json`; None takes the default rule, without a threshold.
    """
    classes = list(predictions[0].probabilities)
    without = class_without_tumour(classes)
    table = pd.DataFrame([row_of(one) for one in predictions])
    outside = np.array([bool(one.out_of_distribution) for one in predictions])
    counted = ~outside if not outside.all() else np.ones(len(outside), dtype=bool)
    values = np.array([list(one.probabilities.values()) for one in predictions])
    rule = pooling.rule if pooling else MEAN if without is None else DEFAULT
    number = None if without is None else classes.index(without)
    found, shares = pool_classes(values[counted], number, rule)
    tumour, interval, threshold, order = None, None, None, np.arange(len(table))
    if number is not None:
        suspicion = 1 - values[:, number]
        tumour = float(1 - found[number])
        threshold = pooling.threshold if pooling else None
        low, high = np.quantile(suspicion[counted], [0.025, 0.975])
        interval = (float(low), float(high))
        order = np.lexsort((-suspicion, outside))
        table["tumour_probability"] = suspicion
    table["share"] = 0.0
    label = classes[int(found.argmax())]
    doubts = [one.type_doubtful for one in predictions if one.type_doubtful is not None and label != without]
    few = [one.few_seen for one in predictions if one.few_seen is not None]
    table.loc[counted, "share"] = shares
    return PatientPrediction(
        label=label,
        probabilities=dict(zip(classes, found.tolist(), strict=True)),
        tumour_probability=tumour,
        pooling=rule.name,
        threshold=threshold,
        tumour=None if tumour is None or threshold is None else tumour > threshold,
        interval=interval,
        out_of_distribution=None if predictions[0].out_of_distribution is None else bool(outside.all()),
        slices=table.iloc[order].reset_index(drop=True),
        type_doubtful=any(doubts) if doubts else None,
        few_seen=sum(few) if few else None,
    )


def slice_names(slices: pd.DataFrame) -> list[str]:
    """What each of a patient's slices is called: plane and number, its file, or both where each is needed."""
    places = [f"{plane} {number}" for plane, number in zip(slices["plane"], slices["slice"], strict=True)]
    if slices["path"].nunique() == 1:
        return places
    of_file = slices.groupby("path")["path"].transform("size")
    return [
        path if count == 1 else f"{path} {place}"
        for path, place, count in zip(slices["path"], places, of_file, strict=True)
    ]


def answer_row(found: PatientPrediction) -> dict[str, Any]:
    """What a row of patients.csv or scans.csv says; `carried_by` is text: the slices of the largest shares, with ;."""
    low, high = found.interval or (None, None)
    table = found.slices
    names = slice_names(table)
    shares = table["share"].to_numpy()
    carrying = [k for k in np.argsort(-shares, kind="stable")[:CARRYING] if shares[k] >= LEAST_SHARE]
    outside = None if found.out_of_distribution is None else int(table["out_of_distribution"].sum())
    return {
        "predicted": found.label,
        **{f"p_{name}": share for name, share in found.probabilities.items()},
        "tumour_probability": found.tumour_probability,
        "pooling": found.pooling,
        "threshold": found.threshold,
        "tumour": found.tumour,
        "interval_low": low,
        "interval_high": high,
        "slices": len(table),
        "out_of_distribution": outside,
        "type_doubtful": found.type_doubtful,
        "few_seen": found.few_seen,
        "most_suspicious": names[0],
        "carried_by": ";".join(f"{names[k]} ({100 * shares[k]:.0f} %)" for k in carrying),
    }
