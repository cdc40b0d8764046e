"""`predictions.csv`: a row for each scored image, with the probability of each class."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from numpy.typing import NDArray

from brainmri.errors import reading


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
