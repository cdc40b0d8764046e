"""The figures of an evaluation (`brainmri.schemas.EvaluationResult`), and what a run had seen of its images before."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainmri.data.dataset import NAME_SUFFIX, SPLITS, merged_fingerprint
from brainmri.data.duplicates.sketches import SAME, likeness, sketches_of
from brainmri.data.file_digests import content_fingerprint
from brainmri.environment import environment
from brainmri.evaluation.inference import predictions_table
from brainmri.evaluation.ood.fit import rejection
from brainmri.evaluation.run_warnings import training_warnings
from brainmri.files import digest
from brainmri.metrics.classification import checked_predictions, evaluate_predictions
from brainmri.metrics.detection import abstention, detection_at, threshold_of
from brainmri.metrics.patients import SliceTable, patient_scores
from brainmri.metrics.probabilities import apply_temperature
from brainmri.schemas import (
    Baselines,
    Calibration,
    CalibrationEffect,
    Detection,
    EvaluatedRun,
    EvaluationResult,
    RunResult,
    Scores,
    SeenImages,
    TrainedOn,
)
from brainmri.wording import leak_warning, simulation_warning

if TYPE_CHECKING:
    from brainmri.data.dataset import PreparedData
    from brainmri.evaluation.class_mapping import ClassMatch
    from brainmri.evaluation.scored import ScoredModel

SEEN = "seen_in_training.csv"
NOT_LOOKED = "Whether the same images occur in both was not looked into: it has no hashes of its own images here."


@dataclass(frozen=True)
class Evaluation:
    """Attributes:
    contents: of `evaluation.json`. predictions: of `predictions.csv`.
    labels: (N,) class numbers.
    probabilities, calibrated: (N, C) before and after temperature scaling (None without a temperature).
    seen: of `seen_in_training.csv`: the images that the run had in its training or validation, which are in none of the
        above unless there are no others; None without any.
    """

    contents: EvaluationResult
    predictions: pd.DataFrame
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    calibrated: NDArray[np.float64] | None
    seen: pd.DataFrame | None = None


def inputs_digest(subject: ScoredModel, data: PreparedData, split: str, pairs: Sequence[tuple[str, str]]) -> str:
    """The digest of all that an evaluation depends on. pairs: classes that were mapped by hand."""
    return digest(subject.digest, content_fingerprint(data), data.info.name, data.classes, split, pairs)


def default_split(subject: ScoredModel, data: PreparedData) -> str:
    """What is scored unless asked otherwise: a run's own data by its test split, data of other origin as a whole.

    A table of predictions and a data set of the Hub, whose training images are not read, are scored by the test split.
    """
    apart = subject.kind == "predictions" or data.streamed or relation(subject.result, data, "test").own_data
    return "test" if apart else "all"


def rows_to_score(data: PreparedData, split: str, match: ClassMatch) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Positions in the index of the images of `split` ("all": every one) whose class the model knows.

    Returns also how many images of which class are left out.

    Raises:
        ValueError: if no image is left.
    """
    rows = np.arange(len(data.index)) if split == "all" else data.rows(split)
    labels = data.index["label"].iloc[rows]
    known = ~labels.isin(match.unknown_to_model).to_numpy()
    if not known.any():
        there = ", ".join(f"{name} {len(data.rows(name))}" for name in SPLITS)
        unknown = f" of a class that the model knows ({', '.join(match.model_classes[:8])})" if len(rows) else ""
        raise ValueError(f"{data.root} has no image in the split {split}{unknown}; images: {there}")
    return rows[known], {str(label): int(n) for label, n in labels[~known].value_counts().sort_index().items()}


def evaluate(
    subject: ScoredModel, data: PreparedData, split: str, match: ClassMatch, *, command: str | None = None
) -> Evaluation:
    """Score `subject` on a split of `data`.

    command: how this was asked for, as `evaluation.json` keeps it; the arguments of this program if None.

    Raises:
        ValueError: if there is nothing to score, or what should be probabilities are none.
    """
    rows, left_out = rows_to_score(data, split, match)
    stand = relation(subject.result, data, split)
    index = data.index.iloc[rows]
    index = index.assign(label=index["label"].map(match.data_classes))
    labels = index["label"].map(match.classes.index).to_numpy(np.int64)
    answered = subject.infer(data, rows)
    own = answered.probabilities
    # Checked as the model gave them, so that the message shows its own row.
    try:
        checked_predictions(np.zeros(len(own)), own, len(subject.classes))
    except ValueError as error:
        raise ValueError(f"{subject.name}: {error}") from error
    probabilities = match.scored(own)
    seen, listed, rejected = None, None, answered.rejected
    if stand.own_data is False and subject.sketches:
        looked_up = _looked_up(subject.sketches, sketches_of(data, rows))
        seen, kept = _seen_before(subject, looked_up, index, labels, probabilities, match.classes)
        listed = _listed(index, looked_up) if seen.seen else None
        index, labels, own, probabilities = index[kept], labels[kept], own[kept], probabilities[kept]
        rejected = None if rejected is None else rejected[kept]
        stand = relation(subject.result, data, split, seen)
    groups = index["group_id"].tolist()
    scores = evaluate_predictions(labels, probabilities, groups, match.classes)
    correct = probabilities.argmax(axis=1) == labels
    missing = [name for name in match.classes if not scores.per_class[name].support]
    fitted = subject.uncertainty.calibration if subject.uncertainty else None
    calibrated = match.scored(apply_temperature(own, fitted.temperature)) if fitted else None
    pooling = subject.uncertainty.pooling if subject.uncertainty else None
    found = _detection(subject.result, labels, probabilities, index, match.classes)
    effect = None
    if rejected is not None:
        likeliest = probabilities.argmax(axis=1)
        effect = abstention(rejected, labels, likeliest, groups, index["site"].tolist(), match.classes)
    own_test = stand.own_data and split == "test" and not left_out
    contents = EvaluationResult(
        name=subject.name,
        kind=subject.kind,
        command=command or shlex.join(["scripts/evaluate.py", *sys.argv[1:]]),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        run=_run(subject.result),
        data=data.info.summary(),
        split=split,
        own_data=stand.own_data,
        relation=stand.statement,
        classes=match.classes,
        missing=missing,
        model_classes=list(zip(match.model_classes, match.scored_as, strict=True)),
        data_classes=match.data_classes,
        left_out=left_out,
        scores=sensitivity_only(scores) if missing else scores,
        missing_reason=_missing_reason(missing) if missing else None,
        detection=found,
        detection_reason=None if found else "No class of the model means “no tumour”.",
        seen=seen,
        patients=patient_scores(
            SliceTable(
                labels,
                probabilities if calibrated is None else calibrated,
                groups,
                index["duplicate_id"].tolist(),
                data.patient_unit(),
                rejected,
            ),
            match.classes,
            pooling,
            found,
        ),
        pooling=pooling,
        calibration=_calibration(fitted, scores, labels, calibrated, index, match.classes),
        calibration_reason=None if fitted else "No temperature was stored with what is scored.",
        ood=None if rejected is None else rejection(rejected, correct, groups, effect),
        ood_reason=None if rejected is not None else "No rule for refusing images was stored with it.",
        floors=_baselines(subject.result if own_test else None, match.classes, scores),
        warnings=_warnings(subject, data, stand, match, left_out),
        environment=environment(),
    )
    table = predictions_table(index, probabilities, match.classes)
    return Evaluation(contents, table, labels, probabilities, calibrated, listed)


def _looked_up(own: dict[str, NDArray[np.uint8]], sketches: NDArray[np.uint8]) -> pd.DataFrame:
    """Of each image its likeness to the most alike one of the run, and the run's split that has it ("" of none).

    own: the run's sketches by split, its training split first, which counts where an image is in both.
    """
    found = pd.DataFrame({split: likeness(sketches, theirs) for split, theirs in own.items()})
    same = found >= SAME
    return pd.DataFrame({"likeness": found.max(axis=1), "run_split": same.idxmax(axis=1).where(same.any(axis=1), "")})


def _seen_before(
    subject: ScoredModel,
    looked_up: pd.DataFrame,
    index: pd.DataFrame,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    classes: list[str],
) -> tuple[SeenImages, NDArray[np.bool_]]:
    """Which images the run had in its training or validation, and (N,) which count: the others, if there are any.

    looked_up: of `_looked_up`.
    """
    seen = looked_up["run_split"].ne("").to_numpy()
    apart = seen.any() and not seen.all()
    found = SeenImages(
        training_images=len(subject.sketches.get("train", [])),
        validation_images=len(subject.sketches.get("validation", [])),
        images=len(seen),
        seen=int(seen.sum()),
        of_validation=int((looked_up["run_split"] == "validation").sum()),
        excluded=bool(apart),
        listed_in=SEEN if seen.any() else None,
        scores=evaluate_predictions(labels, probabilities, index["group_id"].tolist(), classes) if apart else None,
        detection=_detection(subject.result, labels, probabilities, index, classes) if apart else None,
    )
    if found.scores and any(not one.support for one in found.scores.per_class.values()):
        found = found.model_copy(update={"scores": sensitivity_only(found.scores)})
    return found, ~seen if apart else np.ones(len(seen), dtype=bool)


def _listed(index: pd.DataFrame, looked_up: pd.DataFrame) -> pd.DataFrame:
    """Of `SEEN`: the images that the run had, with their likeness to the most alike image and its split."""
    table = index[["file_name", "label", "split", "group_id"]].assign(
        likeness=looked_up["likeness"].round(4).to_numpy(), run_split=looked_up["run_split"].to_numpy()
    )
    return table[table["run_split"] != ""]


def sensitivity_only(scores: Scores) -> Scores:
    """The figures that stay meaningful where images of some class are missing: those of what was found.

    Precision, specificity, F1 and the area under the ROC curve depend on the images that are not there.
    """
    gone = dict.fromkeys(("precision", "specificity", "f1"))
    per_class = {label: figures.model_copy(update=gone) for label, figures in scores.per_class.items()}
    return scores.model_copy(update={"macro_f1": None, "auroc": None, "per_class": per_class})


def _missing_reason(missing: list[str]) -> str:
    return (
        f"No scored image is of the class {', '.join(missing)}, so that false alarms in such images cannot be counted: "
        "recall (sensitivity) is given, and precision, specificity, F1 and the area under the ROC curve are not."
    )


def _run(result: RunResult | None) -> EvaluatedRun | None:
    if result is None:
        return None
    return EvaluatedRun(
        arch=result.arch,
        protocol=result.protocol,
        seed=result.seed,
        weights=result.weights,
        data=TrainedOn(name=result.data.name, fingerprint=result.data.fingerprint),
        created=result.created,
    )


def _detection(
    result: RunResult | None,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    index: pd.DataFrame,
    classes: list[str],
) -> Detection | None:
    """Tumours found, also above the threshold that the run set on its own validation split, if it set one."""
    fixed = threshold_of(result.detection) if result and result.detection else None
    return detection_at(fixed, labels, probabilities, index["group_id"].tolist(), index["site"].tolist(), classes)


def _calibration(
    fitted: Calibration | None,
    before: Scores,
    labels: NDArray[np.int64],
    calibrated: NDArray[np.float64] | None,
    index: pd.DataFrame,
    classes: list[str],
) -> CalibrationEffect | None:
    if fitted is None or calibrated is None:
        return None
    after = evaluate_predictions(labels, calibrated, index["group_id"].tolist(), classes)
    return CalibrationEffect(
        temperature=fitted.temperature,
        fitted_on=fitted.fitted_on,
        loss_before=before.loss,
        loss_after=after.loss,
        ece_before=before.ece,
        ece_after=after.ece,
        brier_before=before.brier,
        brier_after=after.brier,
    )


def _baselines(result: RunResult | None, classes: list[str], scores: Scores) -> Baselines:
    """Those of the run (`result`: only where exactly its test split is scored), else the share of the largest class."""
    if result and result.baselines and set(classes) == set(result.data.classes):
        return result.baselines
    largest = max(figures.support for figures in scores.per_class.values())
    return Baselines(majority=largest / scores.n)


def _warnings(
    subject: ScoredModel,
    data: PreparedData,
    stand: Relation,
    match: ClassMatch,
    left_out: dict[str, int],
) -> list[tuple[str, str]]:
    found = [*stand.warnings, *simulation_warning(data.info)]
    if subject.result:
        found += training_warnings(subject.result)
    if stand.own_data is not False:  # it may have been trained on these data
        found += leak_warning(data.info)
    if left_out:
        counts = ", ".join(f"{label} ({count:,})" for label, count in left_out.items())
        text = f"The command left these classes out, so that their images are not in any figure: {counts}."
        found.append(("Images left out", text))
    return found


@dataclass(frozen=True)
class Relation:
    """own_data: whether these are the data that the run was made on; None where that is not known.

    statement: the same in a sentence. warnings: (headline, sentence) where the figures are too good.
    """

    own_data: bool | None
    statement: str
    warnings: list[tuple[str, str]]


def relation(result: RunResult | None, data: PreparedData, split: str, seen: SeenImages | None = None) -> Relation:
    """How `split` ("train", "validation", "test" or "all") of `data` stands to the run of `result`, if there is one.

    seen: what the hashes of its own images told of data that are not its own.
    """
    if result is None:
        return Relation(None, "Whether the model was trained on these images is not known here.", [])
    own, fingerprint = result.data, data.info.fingerprint
    if own.fingerprint in (fingerprint, merged_fingerprint(fingerprint, own.classes)):
        return Relation(True, f"The data are those of the run itself; {_parts(split)}.", _seen(data, split))
    found, warnings = _found_in_training(seen) if seen else (NOT_LOOKED, [])
    if not seen and own.name.removesuffix(NAME_SUFFIX) == data.info.name:
        text = (
            f"The run was trained on data of the same name ({data.info.name}) in another preparation or version: "
            "some of these images may have been its training images."
        )
        warnings.append(("Perhaps training images", text))
    statement = (
        f"The data are not those of the run, which was trained on {own.name} (fingerprint {own.fingerprint}). {found}"
    )
    return Relation(False, statement, warnings)


def _found_in_training(seen: SeenImages) -> tuple[str, list[tuple[str, str]]]:
    """A sentence on which images the run was trained or validated on, and warnings."""
    own = f"{seen.training_images:,} training{_and(seen.validation_images)} images"
    if not seen.seen:
        return f"None of its {own} was found among the {seen.images:,} images, by hashes.", []
    theirs = (
        f"{seen.seen - seen.of_validation:,} training{_and(seen.of_validation)} images of the run (named in {SEEN})"
    )
    how = (
        f"Among these {seen.images:,} images are {theirs}. The figures are without them; those with them stand "
        "beside, under “seen”."
        if seen.excluded
        else f"These are {theirs} and no others: the figures say little about new images."
    )
    return f"{seen.seen:,} images are among its {own}, by hashes.", [("Training images", how)]


def _and(validation: int) -> str:
    return f" and {validation:,} validation" if validation else ""


def _parts(split: str) -> str:
    return "all its splits are scored together" if split == "all" else f"the split scored is the run's {split} split"


def _seen(data: PreparedData, split: str) -> list[tuple[str, str]]:
    if split == "test":
        return []
    if split == "validation":
        text = "The run chose its epoch and its temperature on these images, so that the figures are too good."
        return [("Validation images", text)]
    count, total = len(data.rows("train")), len(data.index)
    which = "All of these images were" if split == "train" else f"{count:,} of these {total:,} images were"
    return [("Training images", f"{which} in the run's training set: the figures say little about new images.")]
