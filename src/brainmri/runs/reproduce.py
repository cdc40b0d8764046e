"""The commands that make a run of a table (`seeds.csv`) again, and whether its accuracy comes back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from brainmri.data.constants import SCHEMES
from brainmri.data.dataset import NAME_SUFFIX
from brainmri.data.folds import PATIENT_FOLDS
from brainmri.errors import did_you_mean, near
from brainmri.models.weights import imagenet_names
from brainmri.runs.table import lacks_weights, packaged, short_weights
from brainmri.schemas import read_result

COLUMNS = ["run", "data", "split", "accuracy", "ci_low", "ci_high", "accuracy_now", "within", "same_data", "reason"]


@dataclass(frozen=True)
class Row:
    """A run of the table, and what makes it again.

    Attributes:
        run, split: by which it is known.
        accuracy, low, high: of its test images, 0..1; the bounds are those of its 95 % interval, None without any. A
            row without an accuracy is trained for the first time, and there is nothing to come back to.
        fingerprint: of the data that it was measured on. test_images: how many of these there were; 0 if not known.
        data: the name of the data set.
        prepare: `brainmri prepare_data SOURCE OUT` and these flags make its data.
        train: the flags of `brainmri train`, without the folders. folder: the name of the run folder.
        reason: why it cannot be made again; empty where it can.
    """

    run: str
    split: str
    data: str
    accuracy: float | None
    low: float | None
    high: float | None
    fingerprint: str
    test_images: int = 0
    prepare: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    folder: str = ""
    reason: str = ""

    @property
    def name(self) -> str:
        return f"{self.run} @ {self.split}"

    def outcome(self, run_dir: Path) -> dict[str, object]:
        """A row of `reproduced.csv` for a finished run: `within` says whether its accuracy lies in the interval."""
        result = read_result(run_dir)
        now = result.test.accuracy if result.test else None
        if self.accuracy is None:
            return self.entry() | {"data": result.data.name, "accuracy_now": now}
        within = now is not None and self.low is not None and self.high is not None and self.low <= now <= self.high
        same = result.data.fingerprint == self.fingerprint
        return self.entry() | {"accuracy_now": now, "within": within, "same_data": same}

    def entry(self) -> dict[str, object]:
        return {
            "run": self.run,
            "data": self.data,
            "split": self.split,
            "accuracy": self.accuracy,
            "ci_low": self.low,
            "ci_high": self.high,
            "accuracy_now": None,
            "within": None,
            "same_data": None,
            "reason": self.reason,
        }


def rows_of(table: pd.DataFrame) -> list[Row]:
    """The runs of a table as `brainmri.runs.table.read_table` gives `seeds.csv`, in its order."""
    lacking = lacks_weights(table)
    return [_row(row, bool(lacks)) for (_, row), lacks in zip(table.iterrows(), lacking, strict=True)]


def chosen(rows: Sequence[Row], asked: str) -> Row:
    """The row that `--check` names: "RUN @ SPLIT", or the run alone where it was made on one split only.

    Raises:
        ValueError: if no row or several rows are meant.
    """
    found = [row for row in rows if asked in (row.name, row.run)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"--check: {asked!r} stands on several splits: {'; '.join(row.name for row in found)}")
    names = [row.name for row in rows]
    alike = [name for name in names if name.startswith(asked)] or near(asked, names)
    raise ValueError(f"--check: no row {asked!r}{did_you_mean(alike[:3])} (--list)")


def _row(row: pd.Series, lacks: bool) -> Row:
    split = str(row["split"])
    low, high = (None if pd.isna(row[key]) else float(row[key]) for key in ("ci_low", "ci_high"))
    name = str(row["data"])
    of_data = str(row["fingerprint"]), int(row["test_images"])
    common = Row(str(row["run"]), split, name, float(row["accuracy"]), low, high, *of_data)
    if reason := _reason(row):
        return replace(common, reason=reason)
    folds = re.fullmatch(r"(\d+) folds", split)
    scheme = "patients" if split == PATIENT_FOLDS else "grouped" if folds else split
    train = ["--arch", row["recipe"], "--protocol", row["protocol"], "--seed", str(row["seed"])]
    train += ["--weights", "random" if lacks or row["weights"] == "random" else "imagenet"]
    train += ["--bf16", str(row["precision"] == "bf16").lower(), "--fp16", str(row["precision"] == "fp16").lower()]
    if split == PATIENT_FOLDS or folds:
        train += ["--folds", folds[1] if folds else "patients"]
    if row["normalize"] != packaged(row["recipe"], row["protocol"]).input.normalize:
        train += ["--normalize", row["normalize"]]
    if row["changes"]:
        train += ["--recipe", *re.split(r", (?=[\w.]+=)", row["changes"])]
    seed = f"{row['split_seed']:g}"
    prepare = ("--split", scheme, "--split_seed", seed)
    folder = re.sub(r"[^\w.-]+", "-", f"{split}-{seed}-{row['run']}")
    return replace(common, prepare=prepare, train=tuple(map(str, train)), folder=folder)


def was_cut(row: Mapping[Any, Any]) -> bool:
    """Whether a run of a table was stopped by a limit of steps or time, before its own schedule was over."""
    if row["schedule_fraction"] >= 1:
        return False
    epochs = dict(re.findall(r"stages\.(\d+)\.epochs=([\d.]+)", row["changes"]))
    if not epochs:
        return True
    whole = [stage.epochs for stage in packaged(row["recipe"], row["protocol"]).stages]
    planned = sum(float(epochs.get(str(number), own)) for number, own in enumerate(whole))
    return float(row["schedule_fraction"]) < min(1.0, planned / sum(whole)) - 0.001


def _reason(row: pd.Series) -> str:
    """Why a run cannot be made again from a raw folder; empty where it can."""
    split = str(row["split"])
    if row["simulated"]:
        return "it is of the simulated set, which needs no raw folder"
    if split not in SCHEMES and split != PATIENT_FOLDS and not re.fullmatch(r"\d+ folds", split):
        return f"the table does not hold all that its split ({split}) was made by"
    if row["fold"]:
        return "it is one fold of a cross-validation"
    if any(change in row["data"] for change in ("held out", "standardized", "left out")):
        return f"the table does not hold all that its data ({row['data']}) were made by"
    if row["changes"].startswith("recipe "):
        return "its recipe is not on record"
    if was_cut(row.to_dict()):
        return "it ran only a part of its schedule"
    if row["data"].endswith(NAME_SUFFIX) and not packaged(row["recipe"], row["protocol"]).binary:
        return "its classes were merged into two, and the table does not hold how"
    weights = short_weights(row["weights"])
    if weights not in {"random", *imagenet_names(packaged(row["recipe"], row["protocol"]))}:
        return f"it began with weights that are not the recipe's own ({weights})"
    return ""
