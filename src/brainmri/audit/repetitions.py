"""What repeats in a data set: equal pixels, one picture in several forms, slices that look like neighbours."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from brainmri.audit.scan import Scan
from brainmri.data.groups import find_groups

# From the strictest to the loosest; each holds the one before it. The column tells which pictures belong together.
KINDS = {"exact": "pixels", "same_picture": "picture_id", "neighbour": "group_id"}
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # of brainmri.data.neighbours.near_pairs


def repetitions(scan: Scan, pairs: Pairs) -> pd.DataFrame:
    """`scan.table` with `picture_id`, `group_id`, `kind` and `score`.

    pairs: those at or above the threshold of a group.
    kind: the strictest of `KINDS` that the picture shares with another one, or `alone`. score: its highest correlation
    (at the best of four poses) with any other picture, 0..1; NaN below the threshold of a group.
    """
    found = find_groups(scan.thumbnails, [""] * len(scan.table))
    table = scan.table.assign(
        picture_id=[f"p{number:05d}" for number in found.picture], group_id=[f"g{number:05d}" for number in found.group]
    )
    kind = pd.Series("alone", index=table.index)
    for name, column in reversed(KINDS.items()):
        kind[table[column].duplicated(keep=False)] = name
    return table.assign(kind=kind, score=_nearest(pairs, len(table)))


def counts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """For each kind: `images` that share it with another one, `sets` of such images, the `largest` set, `contradictory`
    (file names of each set with more than one label), and `across`: how many images of one part have one in another."""
    rows = []
    for kind, column in KINDS.items():
        sizes = table[column].map(table[column].value_counts())
        labels = table.groupby(column)["label"].nunique()
        mixed = table[table[column].isin(labels.index[labels > 1])]
        rows.append(
            {
                "kind": kind,
                "images": int((sizes > 1).sum()),
                "sets": int(table.loc[sizes > 1, column].nunique()),
                "largest": int(sizes.max()),
                "contradictory": [sorted(names) for _, names in mixed.groupby(column)["file_name"]],
                "across": _across(table, column),
            }
        )
    return rows


def example_pairs(table: pd.DataFrame, pairs: Pairs, count: int) -> dict[str, list[tuple[int, int]]]:
    """Up to `count` pairs of rows for each kind, spread evenly over its scores, the least alike first.

    Beside the kinds: `contradictory`, one picture under two labels, and `other`, one picture in both data sets.
    """
    first, second, score = pairs
    order = np.lexsort((second, first, score))
    first, second = first[order], second[order]
    together = {kind: _equal(table[column], first, second) for kind, column in KINDS.items()}
    chosen = {
        "exact": together["exact"],
        "same_picture": together["same_picture"] & ~together["exact"],
        "neighbour": ~together["same_picture"],
        "contradictory": together["same_picture"] & ~_equal(table["label"], first, second),
        "other": together["same_picture"] & ~_equal(table["other"], first, second),
    }
    examples = {}
    for name, mask in chosen.items():
        rows = np.flatnonzero(mask)
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))] if len(rows) else rows
        examples[name] = [(int(first[row]), int(second[row])) for row in rows]
    return examples


def _across(table: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    held = {part: set(rows[column]) for part, rows in table.groupby("part", sort=False)}
    return [
        {
            "part": part,
            "in": within,
            "images": int(table.loc[table["part"] == part, column].isin(held[within]).sum()),
            "of": int((table["part"] == part).sum()),
        }
        for part, within in permutations(held, 2)
    ]


def _equal(values: pd.Series, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    codes = pd.factorize(values)[0]
    return codes[first] == codes[second]


def _nearest(pairs: Pairs, count: int) -> np.ndarray:
    """float64 (count,): the highest correlation of each picture with another one; NaN where no pair has it."""
    best = np.full(count, np.nan)
    for rows in pairs[:2]:
        np.fmax.at(best, rows, pairs[2].astype(np.float64))
    return best
