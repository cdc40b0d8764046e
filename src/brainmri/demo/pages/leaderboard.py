"""What the Compare page ranks: the committed comparison and the loaded models, one list for each test set.

A leaky test set is a list of its own, after all leak-free ones; its rows are never ranked with theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from brainmri.demo.model import DemoModel, file_of
from brainmri.recipe import Recipe, read_recipe_file
from brainmri.runs.compare import DETECTION_COLUMNS as DETECTION
from brainmri.runs.compare import compare_runs, machines, read_comparison
from brainmri.runs.table import by_test_split, read_detection, result_row, short_weights, system_labels
from brainmri.wording import BASELINES

if TYPE_CHECKING:
    from brainmri.schemas import RunResult

# What a row of the list carries. Shares are 0..1; None where it was not measured or is not kept in results/.
FIGURES = ("accuracy", "accuracy_sd", "ci_low", "ci_high", "macro_f1", "auroc", "minutes")
SET = ["data", "split", "fingerprint"]  # by which detection.csv knows a test set


class Ranking(NamedTuple):
    """A data set and split on which systems may be compared.

    rows: of `comparison.csv`, kind "model" only, with `name`, `model` (of the loaded model, or ""), `macro_f1`,
    `auroc` and `machine`. floors: accuracy of each of `BASELINE_LABELS`, or None. detections: rows of `detection.csv`.
    """

    title: str
    leaky: bool
    simulated: bool
    rows: pd.DataFrame
    floors: dict[str, float | None]
    detections: pd.DataFrame


def rankings(models: Sequence[DemoModel], results: Path | None) -> list[Ranking]:
    """Every test set of `results` (a folder with comparison.csv, if there is one) and of the loaded models.

    Leak-free sets come first, among them that of the first loaded model, and simulated ones after real ones. The rows
    of a leak-free set are ordered by accuracy, those of a leaky one are not.

    Raises:
        ValueError: a file of `results` is of another version.
    """
    measured = [(model, model.result) for model in models if model.result and model.result.test]
    kept = read_comparison(results / "comparison.csv") if results else None
    tables = [] if kept is None else [kept.assign(model="", macro_f1=np.nan, auroc=np.nan)]
    for model, result in measured:
        tables.append(_loaded(model, result))
        if kept is not None and (same := _kept_row(tables[-1], kept)) is not None:
            figures = tables[-1].iloc[0][["model", "macro_f1", "auroc"]]
            tables[0].loc[same, figures.index] = figures.to_numpy()
            tables[-1] = tables[-1][tables[-1]["kind"] == "floor"]
    if not tables:
        return []
    table = pd.concat(tables, ignore_index=True)
    names = system_labels(table[table["kind"] == "model"])
    detections = _detections(results)
    first = measured[0][1].data.fingerprint if measured else None
    found = []
    for part in by_test_split(table):
        rows = part.rows[part.rows["kind"] == "model"]
        rows = rows.assign(name=_told_apart(names[rows.index], rows["model"]), machine=machines(rows))
        leaky, simulated = (bool(rows[mark].iloc[0]) for mark in ("leaky", "simulated"))
        floors = part.rows[part.rows["kind"] == "floor"].drop_duplicates("recipe").set_index("recipe")["accuracy"]
        same_set = (detections[SET] == rows.iloc[0][SET]).all(axis=1)
        found.append(
            Ranking(
                title=part.title,
                leaky=leaky,
                simulated=simulated,
                rows=rows if leaky else rows.sort_values("accuracy", ascending=False, kind="stable"),
                floors={floor: _value(floors.get(floor)) for floor in BASELINES},
                detections=detections[same_set],
            )
        )
    return sorted(found, key=lambda one: (one.leaky, one.rows["fingerprint"].iloc[0] != first, one.simulated))


def records(chosen: Ranking) -> list[dict[str, Any]]:
    """The list as plain values: a dictionary for each row, as `/leaderboard` answers."""
    rows = []
    for row in chosen.rows.to_dict("records"):
        share = float(row["schedule_fraction"])
        rows.append(
            {
                "name": row["name"],
                "recipe": row["recipe"],
                "protocol": row["protocol"],
                "changes": row["changes"],
                "test_set": chosen.title,
                "leaky": chosen.leaky,
                "simulated": chosen.simulated,
                "schedule_share": share,
                **{key: _value(row[key]) for key in FIGURES},
                **{f"floor_{floor}": value for floor, value in chosen.floors.items()},
                "parameters": None if pd.isna(row["parameters"]) else int(row["parameters"]),
                "weights": short_weights(row["weights"]),
                "hardware": row["machine"],
                "seeds": int(row["seeds"]),
                "test_images": int(row["test_images"]),
                "loaded_here": row["model"],
            }
        )
    return rows


def _loaded(model: DemoModel, result: RunResult) -> pd.DataFrame:
    """Row and baselines of a loaded model, as `comparison.csv` would hold them."""
    table = compare_runs(pd.DataFrame([result_row(result, _recipe(model))]))
    test = result.test
    own = {"model": model.name, "macro_f1": test and test.macro_f1, "auroc": test and test.auroc}
    return table.assign(**{key: pd.Series(value, index=table.index) for key, value in own.items()})


def _recipe(model: DemoModel) -> Recipe | None:
    """The recipe of the model's run; None where it did not come with it."""
    file = file_of(model.place, "recipe.yaml")
    return read_recipe_file(file) if file else None


def _told_apart(names: pd.Series, models: pd.Series) -> pd.Series:
    """The systems' names; a loaded run is named too where the list has its system already, with other seeds."""
    own = (models != "") & names.duplicated(keep=False)
    return names.where(~own, names + ": " + models)


def _kept_row(loaded: pd.DataFrame, kept: pd.DataFrame) -> int | None:
    """The row of one seed in `kept`, by its number, that is this very run."""
    one = loaded.iloc[0]
    same = (kept["kind"] == "model") & (kept["seeds"] == 1) & np.isclose(kept["accuracy"], one["accuracy"], rtol=1e-5)
    for key in ("recipe", "protocol", "changes", "fingerprint", "split"):
        same &= kept[key] == one[key]
    return same.to_list().index(True) if same.any() else None


def _detections(results: Path | None) -> pd.DataFrame:
    if results is None or not (results / "detection.csv").is_file():
        return pd.DataFrame(columns=DETECTION)
    return read_detection(results / "detection.csv")


def _value(number: Any) -> float | None:
    if number is None or pd.isna(number):
        return None
    return float(number)
