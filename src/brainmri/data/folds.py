"""Cross-validation by group: every image is tested once, by a network that saw no image of its group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from brainmri.data.dataset import PreparedData, derived_fingerprint, split_counts
from brainmri.data.splits import dealt_by_group, part_by_group

VALIDATION = 0.1  # of all images, out of the folds that train


def fold_numbers(data: PreparedData, folds: int) -> np.ndarray:
    """The fold that tests each image: int64 (N,), 0..folds-1, the same at each call.

    Groups are dealt to folds of about equal size and class mix by the split seed of the data.

    Raises:
        ValueError: if files stand in the data more than once, or a class has fewer groups than there are folds and
            something left to train on and to choose by.
    """
    index = data.index
    if index["source"].duplicated().any():
        raise ValueError(f"--folds: the split {data.info['split']!r} repeats files; prepare the data with another one")
    if folds < 2:
        raise ValueError(f"--folds {folds}: at least 2 are needed")
    groups = index.groupby("label")["group_id"].nunique()
    if groups.min() < max(folds, 3):
        few = f"{groups.idxmin()} has {groups.min()}"
        raise ValueError(f"--folds {folds}: each class needs as many groups, and three at least; {few}")
    return dealt_by_group(index, folds, data.info["split_seed"])


def with_fold(data: PreparedData, numbers: np.ndarray, fold: int) -> PreparedData:
    """`data` with that fold as test, a tenth of all images as validation, by group, and the rest as train.

    numbers: of `fold_numbers`.
    """
    folds = int(numbers.max()) + 1
    test = numbers == fold
    rest = data.index[~test]
    validation = part_by_group(rest, VALIDATION / (1 - test.mean()), data.info["split_seed"])
    split = pd.Series("train", index=data.index.index)
    split[test] = "test"
    split[validation.index[validation]] = "validation"
    index = data.index.assign(split=split)
    info = data.info | {
        "split": f"{folds} folds",
        "fingerprint": derived_fingerprint(data.info["fingerprint"], f"fold {fold} of {folds}"),
        "counts": split_counts(index),
        "groups_across_splits": 0,
        "leaky": False,
    }
    return replace(data, index=index, info=info)


def folds_fingerprint(fingerprint: str, folds: int) -> str:
    """The fingerprint of a data set of which every image is tested once, in one of so many folds."""
    return derived_fingerprint(fingerprint, f"{folds} folds")
