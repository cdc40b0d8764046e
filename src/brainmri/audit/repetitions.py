"""What repeats in a data set: equal pixels, one picture in several forms, slices that look like neighbours."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from brainmri.audit.scan import Scan
from brainmri.data.groups import LOOKS_ALIKE, SAME_GROUP, Grouping, find_groups
from brainmri.data.likeness import SIGNS, best_correlation, mirror_parts
from brainmri.data.neighbours import near_pairs
from brainmri.data.structure import structure_parts

# From the strictest to the loosest; each holds the one before it. The column tells which pictures belong together.
KINDS = {"exact": "pixels", "same_picture": "picture_id", "neighbour": "group_id"}
BLOCK = 512  # pictures of one group compared with all of it at once; bounds the memory


def groups_of(scan: Scan, same_group: float = SAME_GROUP) -> Grouping:
    """As `prepare_data.py` groups them. same_group: as of `brainmri.data.groups.find_groups`."""
    given = [""] * len(scan.table)
    return find_groups(scan.thumbnails, given, contents=scan.contents, names=series_names(scan), same_group=same_group)


def series_names(scan: Scan) -> list[str]:
    """The files' names, with those of the second data set in a folder of their own: no series runs through both."""
    names = scan.table["file_name"]
    return names.where(~scan.table["other"], "other/" + names).tolist()


def repetitions(scan: Scan) -> pd.DataFrame:
    """`scan.table` with `picture_id`, `group_id`, `kind` and `score`.

    kind: the strictest of `KINDS` that the picture shares with another one, or `alone`. score: its highest correlation
    (at the best of four poses) with another picture of its group, -1..1; NaN if it is alone.
    """
    found = groups_of(scan)
    table = scan.table.assign(
        picture_id=[f"p{number:05d}" for number in found.picture], group_id=[f"g{number:05d}" for number in found.group]
    )
    kind = pd.Series("alone", index=table.index)
    for name, column in reversed(KINDS.items()):
        kind[table[column].duplicated(keep=False)] = name
    return table.assign(kind=kind, score=_nearest(mirror_parts(scan.thumbnails), found.group))


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


def example_pairs(scan: Scan, table: pd.DataFrame, count: int) -> dict[str, list[tuple[int, int]]]:
    """Up to `count` pairs of rows for each kind, spread evenly over its scores, the least alike first.

    Beside the kinds: `contradictory`, one picture under two labels, and `other`, one picture in both data sets. Pairs
    whose pictures correlate below 0.90 are not among them.
    """
    first, second, correlation = near_pairs(scan.thumbnails, LOOKS_ALIKE)
    together = {kind: _equal(table[column], first, second) for kind, column in KINDS.items()}
    chosen = {
        "exact": together["exact"],
        "same_picture": together["same_picture"] & ~together["exact"],
        "neighbour": together["neighbour"] & ~together["same_picture"],
        "contradictory": together["same_picture"] & ~_equal(table["label"], first, second),
        "other": together["same_picture"] & ~_equal(table["other"], first, second),
    }
    structure = structure_parts(scan.thumbnails)
    examples = {}
    for name, mask in chosen.items():
        pairs = first[mask], second[mask]
        score = best_correlation(structure, *pairs) if name == "neighbour" else correlation[mask]
        order = np.lexsort((pairs[1], pairs[0], score))
        rows = order[np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))] if len(order) else order
        examples[name] = [(int(pairs[0][row]), int(pairs[1][row])) for row in rows]
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


def _nearest(parts: np.ndarray, group: np.ndarray) -> np.ndarray:
    """float64 (N,): the highest correlation of each picture with another one of its group; NaN where it is alone."""
    best = np.full(len(parts), np.nan)
    order = np.argsort(group, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        for start in range(0, len(members) if len(members) > 1 else 0, BLOCK):
            rows = members[start : start + BLOCK]
            dots = np.einsum("nkp,mkp->nmk", parts[rows], parts[members], optimize=True)
            correlation = np.max(dots @ SIGNS.T, axis=2)
            correlation[np.arange(len(rows)), start + np.arange(len(rows))] = -np.inf
            best[rows] = correlation.max(axis=1)
    return best
