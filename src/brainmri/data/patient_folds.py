"""The patient-wise folds of Kaggle's brain-tumor-mri-dataset: a known split that comes with the package.

The tumour images derive from figshare 1512427, whose authors publish five folds without a patient in common. The fold
of a file is that of the figshare slice which it was matched to by its content (`authors_fold`); files without a match,
and all of `notumor`, whose patients nobody names, were dealt by groups of duplicates. `docs/data.md` tells its limits.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

FILE = Path(__file__).with_name("patient_folds.csv.gz")
NAME = "Kaggle masoudnickparvar/brain-tumor-mri-dataset, the revision of 7,023 files"
FOLDS = 5


@cache
def known_folds() -> pd.DataFrame:
    """Columns fold and authors_fold (0: no match), int64, by path (`Testing/glioma/Te-gl_0010.jpg`)."""
    table = pd.read_csv(FILE, index_col="path", keep_default_na=False, dtype=str)
    return table.replace("", "0").astype("int64")


def patient_folds(paths: pd.Series, asked: str) -> pd.Series:
    """The fold (1..5) of each path; the index is that of `paths`.

    Args:
        paths: of files of that set, relative to its folder. Some may be missing (files that cannot be read), but a
            file that the set does not have has no fold.
        asked: the flag that asks for the folds, for the message.

    Raises:
        ValueError: if a path is none of the set's.
    """
    folds = paths.map(known_folds()["fold"])
    if folds.isna().any():
        strangers = paths[folds.isna()]
        raise ValueError(
            f"{asked}: {len(strangers)} of {len(paths)} files are none of {NAME}, whose patients it knows "
            f"({strangers.iloc[0]} the first): prepare that set's folder, with the names of its files as they were"
        )
    return folds.astype("int64")


def check_whole(paths: pd.Series, asked: str) -> None:
    """Raises ValueError unless the files are called as those of the set, each of them there."""
    patient_folds(paths, asked)
    if missing := sorted(set(known_folds().index) - set(paths)):
        raise ValueError(
            f"{asked}: {len(missing)} of the {len(known_folds())} files of {NAME}, are missing ({missing[0]} the "
            "first): prepare the whole set, or take --split grouped"
        )


def validation_fold(test_fold: int) -> int:
    """The fold (1..5) that validates: the one after that which tests, and after the last the first."""
    return test_fold % FOLDS + 1
