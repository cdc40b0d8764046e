"""What a model says of images: probabilities, prediction set, whether the detector abstains; `predictions.csv`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainmri.errors import reading
from brainmri.evaluation.kinds import few_seen, type_doubtful
from brainmri.io.decode import upright_8_bit
from brainmri.metrics.conformal import prediction_sets
from brainmri.metrics.probabilities import apply_temperature, softmax

if TYPE_CHECKING:
    import pandas as pd
    from transformers import BaseImageProcessor, PreTrainedModel

    from brainmri.evaluation.ood.detector import OODDetector
    from brainmri.evaluation.sequence import Look
    from brainmri.schemas import Uncertainty


@dataclass(frozen=True)
class Inference:
    """probabilities: float64 (N, C), uncalibrated. scores, rejected: (N,) how far an image is from those of the
    training, and whether that is too far; None without an OOD detector."""

    probabilities: NDArray[np.float64]
    scores: NDArray[np.float64] | None = None
    rejected: NDArray[np.bool_] | None = None


def infer(
    images: Iterable[Image.Image],
    model: PreTrainedModel,
    processor: BaseImageProcessor,
    rule: OODDetector | None = None,
    *,
    batch_size: int = 32,
) -> Inference:
    """What a model says of images of any mode and size.

    Args:
        images: at least one. What is transparent is laid on black, more than 8 bits are scaled (`upright_8_bit`).
        model: in evaluation mode. processor: its own image processor.
        rule: of this model (`OODDetector.load`), or None.

    Raises:
        RejectedImage: for an image of more than 8 bits that is blank.
        AttributeError: if the model has no layer that is called as the rule says, so that the rule is another model's.
    """
    from brainmri.evaluation.ood.features import see  # late: it imports torch

    upright = (upright_8_bit(image) for image in images)
    seen = see(upright, model, processor, rule.layer if rule else None, batch_size=batch_size)
    probabilities = softmax(seen.logits)
    if rule is None:
        return Inference(probabilities)
    scores = rule.score(*seen.evidence)
    return Inference(probabilities, scores, rule.rejected(scores))


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        label: the most probable class.
        probabilities: of each class, 0..1, in the model's order; the sum is 1. They are calibrated by the temperature
            of `uncertainty.json` where the model has one (`calibrated`).
        prediction_set: the classes that are plausible, `label` first. None for a model without conformal thresholds.
        out_of_distribution: whether the image is too far from those of the training, so that nothing else here should
            be used. None for a model without an OOD detector.
        ood_score: how far it is, 0 and up; out of distribution above `ood_threshold`. None without an OOD detector.
        calibrated: whether the probabilities are.
        coverage: the share of images whose prediction set is made to hold the right class, 0..1, or None.
        ood_threshold: of the OOD detector, or None.
        milliseconds: that preprocessing, network and OOD detector took, for each image of a batch alike.
        path, plane, slice: of the image, where it came from a file: as the user named it, "axial", "coronal",
            "sagittal" or "slice", and the position in that plane from 0.
        patient: what it shares with the other slices of its patient: a keyed hash where DICOM files say whose they are,
            else as `scan`; "" for an image on its own.
        scan: what it shares with the other slices of its series or volume; "" for an image on its own.
        type_doubtful: whether the type of the tumour that `label` names must be doubted: the image is out of
            distribution, or of no site that the model was trained on, and nothing shows that types hold there. None
            where no tumour is named, or the model knows one type only.
        look: sequence and plane, as the file says or as its pixels look.
        few_seen: whether training had few tumours of this sequence and plane; None where that is not known.
    """

    label: str
    probabilities: dict[str, float]
    prediction_set: tuple[str, ...] | None
    out_of_distribution: bool | None
    ood_score: float | None
    calibrated: bool
    coverage: float | None
    ood_threshold: float | None
    milliseconds: float = field(compare=False)
    path: str | None = None
    plane: str | None = None
    slice: int | None = None
    patient: str = ""
    scan: str = ""
    type_doubtful: bool | None = None
    look: Look | None = None
    few_seen: bool | None = None


def prediction_of(
    plain: NDArray[np.float64],
    distance: float | None,
    classes: list[str],
    uncertainty: Uncertainty | None,
    detector: OODDetector | None,
    milliseconds: float,
    *,
    site: str = "",
    look: Look | None = None,
) -> Prediction:
    """The prediction for one image.

    Args:
        plain: its uncalibrated probabilities (C,). distance: the image's score by the OOD detector, None without one.
        classes: the C names. uncertainty: the model's `uncertainty.json`, or None.
        site: where the image comes from, "" if that is not known. look: its sequence and plane.
    """
    fitted = uncertainty.calibration if uncertainty else None
    calibrated = apply_temperature(plain[None], fitted.temperature)[0] if fitted else plain
    order = np.argsort(-plain, kind="stable")
    conformal = uncertainty.conformal if uncertainty else None
    plausible = None
    if conformal:
        shares = plain if conformal.probabilities == "uncalibrated" else calibrated
        (members,) = prediction_sets(shares[None], conformal.thresholds(classes))
        plausible = tuple(classes[k] for k in order if members[k])
    outside = bool(distance > detector.threshold) if detector and distance is not None else None
    kinds = uncertainty.kinds if uncertainty else None
    return Prediction(
        label=classes[order[0]],
        probabilities=dict(zip(classes, calibrated.tolist(), strict=True)),
        prediction_set=plausible,
        out_of_distribution=outside,
        ood_score=distance,
        calibrated=fitted is not None,
        coverage=1 - conformal.alpha if conformal else None,
        ood_threshold=detector.threshold if detector else None,
        milliseconds=milliseconds,
        type_doubtful=type_doubtful(classes[order[0]], classes, outside, site, kinds),
        look=look,
        few_seen=few_seen(kinds, look),
    )


def row_of(one: Prediction) -> dict[str, Any]:
    """A row of predictions.csv. The prediction set is text: classes with ; between them."""
    return {
        "path": one.path or "",
        "plane": one.plane or "",
        "slice": one.slice,
        "patient": one.patient,
        "predicted": one.label,
        **{f"p_{name}": share for name, share in one.probabilities.items()},
        "prediction_set": "" if one.prediction_set is None else ";".join(one.prediction_set),
        "out_of_distribution": one.out_of_distribution,
        "ood_score": one.ood_score,
        "type_doubtful": one.type_doubtful,
        "sequence": one.look.sequence if one.look else None,
        "sequence_from": one.look.sequence_from if one.look else None,
        "view": one.look.plane if one.look else None,
        "view_from": one.look.plane_from if one.look else None,
        "few_seen": one.few_seen,
    }


def predictions_table(
    index: pd.DataFrame, probabilities: NDArray, classes: list[str], fold: int | None = None
) -> pd.DataFrame:
    """The columns file_name, split, fold, group_id, label, predicted and p_CLASS for each class.

    Args:
        index: rows of an `index.csv`, whose labels are among `classes`.
        probabilities: (N, C), uncalibrated, one row for each of `index`.
        classes: the C label names.
        fold: of a cross-validation; None outside one.
    """
    table = index[["file_name", "split"]].assign(
        fold="" if fold is None else str(fold), group_id=index["group_id"], label=index["label"]
    )
    table["predicted"] = [classes[k] for k in probabilities.argmax(1)]
    table[[f"p_{name}" for name in classes]] = probabilities
    return table


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Write a `predictions_table`, with 9 significant digits."""
    table.to_csv(path, index=False, float_format="%.9g", lineterminator="\n")


def read_predictions(path: Path, split: str, classes: list[str]) -> tuple[list[int], list[list[float]]]:
    """Class numbers (N,) and probabilities (N, C) of one split of a `predictions.csv`.

    Raises:
        ValueError: no rows of the split, a class of `classes` has no column, or a label is not in `classes`.
    """
    import pandas as pd

    # Labels stay text: a class may be called "1" or "NA".
    with reading(path):
        table = pd.read_csv(path, dtype={"split": str, "label": str}, keep_default_na=False)
    columns = [f"p_{label}" for label in classes]
    missing = [column for column in ["split", "label", *columns] if column not in table]
    unknown = sorted(set(table["label"]) - set(classes)) if "label" in table else []
    if missing or unknown:
        raise ValueError(f"{path}: columns missing: {missing}, unknown labels: {unknown}; the classes are {classes}.")
    rows = table[table["split"] == split]
    if rows.empty:
        raise ValueError(f"{path}: no rows of the {split} split found; make the run again.")
    return rows["label"].map(classes.index).tolist(), rows[columns].astype(float).to_numpy().tolist()
