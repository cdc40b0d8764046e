"""Labels to look at again: images that are most like images of another label.

What vouches for a label are the 25 most similar images of other groups, so that copies and slices of the same patient
do not vouch for each other. Their labels count by how similar they are. It is a cheap list for a person to look
through: most of what it names is labelled well, and a lesion in an image that is otherwise like healthy ones is not
found.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from brainmri.data.duplicates.similarity import correlations, symmetry_components

LABELS = "labels.csv"
COLUMNS = ["file_name", "label", "suggested", "confidence", "similar"]
NEAREST = 25  # images that vouch for a label
SHARPNESS = 0.05  # of correlation: an image that is less similar by so much counts for 1/e
LEAST = 60  # images, below which nothing is said
BLOCK = 256  # images compared with all others at once; bounds the memory


def suspicious_labels(table: pd.DataFrame, contents: np.ndarray) -> pd.DataFrame:
    """Images whose label is not the one that similar images have, the least confident first.

    Args:
        table: of `brainmri.audit.duplicates.repetitions`, of one data set. Of the images that are the same under the
            same label the first stands for all.
        contents: uint8 (N, 64, 64), for each row: the images without their borders.

    Returns:
        `file_name`, `label`, `suggested` (the label of most of the similar images), `confidence` (0..1, the share that
        its own label has among them) and `similar` (the `file_name` of the most similar image with the suggested
        label); indexed by the rows of `table`.
    """
    rows = np.flatnonzero(~table.duplicated(["duplicate_id", "label"]))
    own = table.iloc[rows]
    label, names = pd.factorize(own["label"], sort=True)
    group = pd.factorize(own["group_id"])[0]
    if len(rows) < LEAST or len(names) < 2:
        return pd.DataFrame(columns=COLUMNS)
    parts = symmetry_components(contents[rows])
    found = []
    for start in range(0, len(parts), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(parts)))
        correlation = correlations(parts[block], parts)
        correlation[group[block, None] == group] = -np.inf
        near = np.argsort(-correlation, axis=1, kind="stable")[:, :NEAREST]
        best = np.take_along_axis(correlation, near, axis=1)
        weight = np.exp((best - best[:, :1]) / SHARPNESS) * np.isfinite(best)
        share = np.zeros((len(block), len(names)))
        for one in range(len(names)):
            share[:, one] = (weight * (label[near] == one)).sum(axis=1)
        share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-12)
        for row, image in enumerate(block):
            suggested = int(share[row].argmax())
            if suggested != label[image] and share[row, suggested] > 0:
                similar = near[row][label[near[row]] == suggested][0]
                found.append((image, suggested, float(share[row, label[image]]), int(similar)))
    found.sort(key=lambda one: (one[2], one[0]))
    files = own["file_name"].to_numpy()
    return pd.DataFrame(
        [(files[k], names[label[k]], names[suggested], share, files[other]) for k, suggested, share, other in found],
        columns=COLUMNS,
        index=own.index[np.array([int(k) for k, *_ in found], np.int64)],
    )


def pairs_to_see(table: pd.DataFrame, suspicious: pd.DataFrame, count: int) -> list[tuple[int, int]]:
    """Rows of `table` for the first `count`: the image, and the one most similar to it of the suggested label."""
    row_of = dict(zip(table["file_name"], table.index, strict=True))
    first = suspicious.head(count)
    return [(row, int(row_of[name])) for row, name in zip(first.index.tolist(), first["similar"], strict=True)]
