"""Accuracy by class, by site and by both: an average hides the group that is served worst."""

from __future__ import annotations

from typing import Any

import pandas as pd

from brainmri.evaluation.intervals import group_bootstrap

SMALLEST = 20  # images; of fewer an accuracy says too little for their group to be called the worst
PARTS = {"class": ["label"], "site": ["site"], "class_and_site": ["label", "site"]}


def worst_groups(table: pd.DataFrame) -> dict[str, Any]:
    """Accuracy of every class, every site and every class of every site.

    Args:
        table: a row for each image: `right` (bool), `label`, `site` ("" where it is not known), `group_id`.

    Returns:
        `smallest`, and for each of PARTS `all` and `worst` (see `accuracies` and `worst`). Those by site are None where
        no image has one.
    """
    known = bool((table["site"] != "").any())
    found: dict[str, Any] = {"smallest": SMALLEST}
    for part, columns in PARTS.items():
        entries = accuracies(table, columns) if known or "site" not in columns else None
        found[part] = None if entries is None else {"all": entries, "worst": worst(entries)}
    return found


def accuracies(table: pd.DataFrame, columns: list[str]) -> list[dict[str, Any]]:
    """One entry for each value of `columns` that occurs: `label` and/or `site`, `n`, `groups`, `accuracy`,
    `accuracy_ci95` (resampled by group) and `judged`: whether it has images enough, and two groups, to be the worst."""
    entries = []
    for values, rows in table.groupby(columns):
        interval = group_bootstrap(rows["right"], rows["group_id"].tolist())
        entries.append(
            dict(zip(columns, values, strict=True))
            | {
                "n": len(rows),
                "groups": int(rows["group_id"].nunique()),
                "accuracy": float(rows["right"].mean()),
                "accuracy_ci95": interval,
                "judged": len(rows) >= SMALLEST and interval is not None,
            }
        )
    return entries


def worst(entries: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The judged entry of the lowest accuracy; None where none is judged."""
    return min((one for one in entries if one["judged"]), key=lambda one: one["accuracy"], default=None)
