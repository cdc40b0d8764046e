"""Which images of a second data set the first one has too, and which are left as a test from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from brainmri.audit.duplicates import Scan
from brainmri.data.duplicates.copies import Copies
from brainmri.data.duplicates.similarity import correlations, symmetry_components, whitened_descriptors

MATCHES, CLEAN = "matches.csv", "clean.csv"
MATCH_COLUMNS = ["path", "matched_path", "kind", "similarity"]
BLOCK = 256  # images compared with all of their group at once; bounds the memory


def matches(scan: Scan, table: pd.DataFrame, copies: Copies) -> pd.DataFrame:
    """A row for each image of the second data set that shares its group with one of the first.

    Args:
        table, copies: of `brainmri.audit.duplicates.repetitions`.

    Returns:
        `path` (in the second data set), `matched_path` (the image of the first that is most like it), `kind` (`exact`,
        `same_picture`, or `neighbour` where the two may be slices of one patient), and `similarity`, -1..1: the
        highest of the correlation of the two, of what is inside their borders, and of their fine structure, once a
        turn by 90 degrees, an inversion or a cut is undone. A neighbour is of the same group, perhaps by way of a
        third image: its similarity may be low.
    """
    shared = table.groupby("group_id")["other"].transform("nunique") == 2
    views = [symmetry_components(scan.thumbnails), symmetry_components(scan.contents)]
    views.append(whitened_descriptors(scan.thumbnails))
    codes = {column: pd.factorize(table[column])[0] for column in ("pixels", "duplicate_id")}
    ones, others = np.concatenate([copies.first, copies.second]), np.concatenate([copies.second, copies.first])
    changed = np.tile(copies.similarity, 2)
    rows: list[tuple[str, str, str, float]] = []
    for first, second in _blocks(table[shared]):
        alike = np.max([correlations(view[first], view[second]) for view in views], axis=0)
        places = pd.Index(first).get_indexer(ones), pd.Index(second).get_indexer(others)
        here = (places[0] >= 0) & (places[1] >= 0)
        np.maximum.at(alike, (places[0][here], places[1][here]), changed[here])
        same, exact = (codes[name][first][:, None] == codes[name][second] for name in ("duplicate_id", "pixels"))
        best = np.argmax(alike + 4 * same + 4 * exact, axis=1)
        for row, column in enumerate(best):
            kind = "exact" if exact[row, column] else "same_picture" if same[row, column] else "neighbour"
            names = [str(table["file_name"].iloc[one]) for one in (first[row], second[column])]
            rows.append((names[0], names[1], kind, float(min(alike[row, column], 1))))
    return pd.DataFrame(rows, columns=MATCH_COLUMNS).sort_values("path", ignore_index=True)


def clean(table: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """`file_name` and `label` of the images of the second data set that are not in `matches`: a table to prepare."""
    other = table[table["other"]]
    return other.loc[~other["file_name"].isin(found["path"]), ["file_name", "label"]].sort_values("file_name")


def _blocks(shared: pd.DataFrame) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each group: rows of the second data set, a block of them at a time, and all those of the first."""
    for _, members in shared.groupby("group_id"):
        other = members["other"].to_numpy()
        first, second = members.index[other].to_numpy(), members.index[~other].to_numpy()
        for start in range(0, len(first), BLOCK):
            yield first[start : start + BLOCK], second
