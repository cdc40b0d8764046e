"""`result.json`, `uncertainty.json` and what is found of runs: the record of a finished run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat

from brainmri.errors import did_you_mean, paths_like
from brainmri.schemas.base import EARLIER_UNCERTAINTY, Record, as_record, json_text, read_json, renamed
from brainmri.schemas.dataset import DataSummary
from brainmri.schemas.figures import (
    Baselines,
    Calibration,
    Conformal,
    Detection,
    Environment,
    OODRecord,
    PatientScores,
    Scores,
    Uncertainty,
)
from brainmri.schemas.kinds import TrainingKinds
from brainmri.schemas.pooling import Pooling

RESULT, UNCERTAINTY = "result.json", "uncertainty.json"


class Published(Record):
    """The figure that the source of a recipe states, with the data and split it was measured on.

    Attributes:
        accuracy: 0..1; None where it states none. minutes: of its training.
    """

    accuracy: float | None = Field(ge=0, le=1)
    data: str
    split: str
    minutes: PositiveFloat | None = None
    note: str = ""


class DataPart(DataSummary):
    """The data of a run.

    Attributes:
        train_after_oversampling: training images of an epoch, the repeated ones too; None without oversampling.
    """

    train_after_oversampling: int | None


class Parameters(Record):
    """Numbers of a network; `total` counts the running mean and variance of batch norms, as Keras does."""

    total: int
    trainable: int


class TrainingPart(Record):
    """How a run was trained.

    Attributes:
        epochs_run: over all stages. epochs_scheduled: those of the recipe.
        schedule_fraction: share (0..1) of the schedule that was planned; early stopping does not lower it.
        best_epoch: counted over all stages from 1, whose weights were kept; None for pooled folds.
        time_to_converge_s: from the first training step to the end, validation included. training_only_s: without
            evaluating and saving. Seconds.
        images_per_second: training images, over all processes.
        world_size: number of processes. samples_by_rank: images that each saw in the last epoch.
        precision: "fp32", "bf16" or "fp16".
        best_train_accuracy: the highest of an epoch, on augmented images, 0..1.
        validation_accuracy_then: 0..1; None where that epoch was not validated.
        loss: that was minimised. class_weights: of each label in it; None for equal ones, and for pooled folds.
    """

    epochs_run: int | float
    epochs_scheduled: int
    schedule_fraction: float | None
    best_epoch: int | None
    time_to_converge_s: float | None
    training_only_s: float | None = None
    images_per_second: float | None
    world_size: int | None = None
    samples_by_rank: list[int] | None = None
    precision: str
    best_train_accuracy: float
    validation_accuracy_then: float | None
    loss: str = "cross entropy"
    class_weights: dict[str, float] | None = None


class RunResult(Record):
    """`result.json` of a run folder.

    Attributes:
        arch: the recipe, as `--arch` names it. recipe_title, source: of the recipe. protocol: "clean" or "published".
        published: what the source states; None where it states nothing.
        seed: of the training. split_seed: of the splits. fold: of a cross-validation, from 0; None outside one.
        weights: "random", or where those at the start came from, with their hash.
        normalize: the input formula.
        command: how the run was called. created: ISO 8601, UTC.
        model_sha256: of `model.safetensors`; None where there is no one model (pooled folds).
        test, validation, train: None where the split was not scored.
        sites: the test figures of each site, by the network that was trained without it; None unless the run is a
            cross-validation over sites.
        detection: None unless one class means "no tumour".
        patients: of the test split, by patient. pooling: how a patient's slices become one answer, as in
            `uncertainty.json`. kinds: of the training images. None in the file of an earlier version.
        baselines: of the test split (the key in the file is `floors`).
    """

    schema_version: Literal[2] = 2
    arch: str
    recipe_title: str | None
    source: str | None
    published: Published | None
    protocol: str
    seed: int
    split_seed: int
    fold: int | None
    weights: str
    normalize: str
    command: str
    created: str
    data: DataPart
    parameters: Parameters
    model_sha256: str | None = None
    training: TrainingPart
    test: Scores | None
    validation: Scores | None
    train: Scores | None
    sites: dict[str, Scores] | None = None
    detection: Detection | None = None
    patients: PatientScores | None = None
    pooling: Pooling | None = None
    kinds: TrainingKinds | None = None
    calibration: Calibration | None
    conformal: Conformal | None
    ood: OODRecord | None
    baselines: Baselines | None = Field(alias="floors")
    environment: Environment

    @property
    def title(self) -> str:
        """Recipe, protocol and seed, for figures and texts."""
        return f"{self.arch} ({self.protocol}, seed {self.seed})"


def read_result(run_dir: Path) -> RunResult:
    """`result.json` of a run folder, also of one that an earlier version made.

    Raises:
        FileNotFoundError: the folder has no `result.json`, so the run did not finish.
        ValueError: another schema version, or keys are missing.
    """
    path = Path(run_dir) / RESULT
    if not Path(run_dir).exists():
        like = [str(place) for place in paths_like(Path(run_dir))]
        raise FileNotFoundError(f"{run_dir}: no such folder{did_you_mean(like)}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found: the run did not finish, or this is not a run folder.")
    return as_record(renamed(read_json(path)), RunResult, path, "Make the run again with this version.")


def write_result(result: RunResult, run_dir: Path) -> None:
    """Write `result.json`, in one step: where it stands, the run is finished."""
    unfinished = run_dir / f"{RESULT}.tmp"
    unfinished.write_text(json_text(result), encoding="utf-8")
    unfinished.replace(run_dir / RESULT)


def uncertainty_file(run_dir: Path) -> Path:
    """`uncertainty.json` of a run folder, or what an earlier version wrote in its place."""
    path, earlier = Path(run_dir) / UNCERTAINTY, Path(run_dir) / EARLIER_UNCERTAINTY
    return earlier if earlier.is_file() and not path.is_file() else path


def read_uncertainty(run_dir: Path) -> Uncertainty:
    """`uncertainty.json` of a run folder, also of one that an earlier version made.

    Raises:
        FileNotFoundError: the folder has none.
        ValueError: another schema version, or keys are missing.
    """
    path = uncertainty_file(run_dir)
    return as_record(renamed(read_json(path)), Uncertainty, path, "Make the run again with this version.")


def read_record(folder: Path) -> tuple[RunResult, Uncertainty] | None:
    """`result.json` and `uncertainty.json` of a run; None where a folder lacks one of them.

    Other projects may have a result.json too, but hardly both.

    Raises:
        ValueError: as of `read_result` and `read_uncertainty`.
    """
    if not (folder / RESULT).is_file() or not uncertainty_file(folder).is_file():
        return None
    return read_result(folder), read_uncertainty(folder)


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """The run folders among the given folders: each is a run folder itself, or holds run folders.

    Raises:
        ValueError: a folder neither has a `result.json` nor holds a folder that has one.
    """
    runs: list[Path] = []
    for path in paths:
        found = [path] if (path / RESULT).is_file() else sorted(p.parent for p in path.glob(f"*/{RESULT}"))
        if not path.exists():
            raise ValueError(f"{path}: no such folder{did_you_mean([str(like) for like in paths_like(path)])}")
        if not found:
            raise ValueError(f"{path}: no result.json here or one folder below; give finished run folders.")
        runs.extend(run for run in found if run not in runs)
    return runs
