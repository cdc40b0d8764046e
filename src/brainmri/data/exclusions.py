"""Images that are left out of a prepared set by hand: a list of the user's, or the known one of one public set."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from brainmri.data.patient_folds import patient_folds
from brainmri.data.reviewed_labels import REVIEWED, reviewed_labels
from brainmri.data.tables import read_exclusions


def exclusions(table: pd.DataFrame, exclude: Path | str) -> dict[str, str]:
    """Why files are to be left out, by path; of the known list those that the source has.

    Args:
        table: of the source, with the column path.
        exclude: a CSV (see `brainmri.data.tables.read_exclusions`), or "reviewed" for the known list.

    Raises:
        ValueError: if the CSV does not fit the source, or the known list is asked for and the source is another set.
    """
    if exclude != REVIEWED:
        return read_exclusions(table, Path(exclude))
    patient_folds(table["path"], f"--exclude {REVIEWED}")  # raises for another set's files
    known, there = reviewed_labels(), set(table["path"])
    return {path: reason for path, reason in zip(known.index, known["reason"], strict=True) if path in there}


def excluded_images(grouped: pd.DataFrame, reasons: dict[str, str]) -> pd.DataFrame:
    """Columns path and reason: the images to leave out, and those that are the same under the same label.

    Raises:
        ValueError: if nothing of a class is left.
    """
    same = ["duplicate_id", "label"]
    named = grouped[grouped["path"].isin(reasons)].drop_duplicates(same)
    rows = grouped.merge(named[[*same, "path"]], on=same, suffixes=("", "_named"))
    if emptied := sorted(set(grouped["label"]) - set(grouped["label"][~grouped["path"].isin(rows["path"])])):
        raise ValueError(f"--exclude leaves no image of {', '.join(emptied)}")
    told = []
    for path, first in zip(rows["path"], rows["path_named"], strict=True):
        reason = reasons.get(path, reasons[first])
        copy = f"the same image as {first}" * (path not in reasons)
        told.append("left out" + f" ({', '.join(filter(None, [reason, copy]))})" * bool(reason or copy))
    return pd.DataFrame({"path": rows["path"], "reason": told})
