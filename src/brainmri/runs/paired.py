"""Is one run better than another on the same test images? Exact paired tests, by image and by group.

The images of one group (a patient, or one image in several forms) tend to be right or wrong together, so the test by
image claims too much; the one by group is the headline. Both ask whether the differences could come from two runs that
are equally good: then it is a coin toss, for each image or for each whole group, which of the two got the better of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from brainmri.reporting.html import markdown_table
from brainmri.runs.table import SplitPart, by_test_split
from brainmri.wording import percent

SPLIT = ["data", "split", "leaky", "simulated", "fingerprint", "split_seed", "fold"]
COLUMNS = [*SPLIT, "run_a", "run_b", "images", "groups", "accuracy_a", "accuracy_b", "only_a_right", "only_b_right"]
COLUMNS += ["p_mcnemar", "p_group", "p_group_holm"]
SIGNIFICANT = 0.05


def exact_mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> float:
    """Exact two-sided McNemar test: the binomial test of the images that only one of two runs got right.

    Args:
        right_a: (N,) true where run a classified the image rightly.
        right_b: (N,) the same images, run b.

    Returns:
        p in 0..1; 1 where no image tells the two apart.
    """
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    from scipy.stats import binomtest  # half a second to import

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def exact_mcnemar_by_group(right_a: ArrayLike, right_b: ArrayLike, groups: Sequence[str] | NDArray[Any]) -> float:
    """Exact two-sided sign-flip test of the groups' differences; McNemar's test where each group is one image.

    A group's difference is the number of its images that only a got right, less those that only b got right. Under the
    null hypothesis each difference may as well have the other sign; p is the share of all 2^G choices of signs whose
    sum is at least as far from 0 as the one observed. The distribution is computed in full, by convolution.

    Args:
        right_a: (N,) true where run a classified the image rightly.
        right_b: (N,) the same images, run b.
        groups: (N,) group ids.

    Returns:
        p in 0..1; 1 where the differences sum to 0.
    """
    a, b = np.asarray(right_a, dtype=np.int64), np.asarray(right_b, dtype=np.int64)
    _, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    differences = np.bincount(group, weights=a - b).astype(np.int64)
    # If U is the sum of the sizes with a plus sign, the signed sum is 2U - total.
    chance = np.ones(1)
    for size in np.abs(differences[differences != 0]):
        coin = np.zeros(size + 1)
        coin[[0, size]] = 0.5
        chance = np.convolve(chance, coin)
    signed_sum = 2 * np.arange(len(chance)) - (len(chance) - 1)
    return min(1.0, float(chance[np.abs(signed_sum) >= abs(differences.sum())].sum()))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjustment of (M,) p values: each may be compared with the error rate of the whole family."""
    values = np.asarray(p, dtype=np.float64)
    order = values.argsort(kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def paired_tests(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per unordered pair of runs on one test split, from a table as `read_runs` gives it.

    `p_group_holm` is adjusted over all pairs of the split. The runs are named as in `seeds.csv`.

    Raises:
        ValueError: two runs on one split were not scored on the same images, labels and groups.
    """
    tables = [_tests_of(split) for split in by_test_split(runs) if len(split.rows) > 1]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def write_paired_tests(tests: pd.DataFrame, path: Path) -> None:
    """Write `paired_tests.csv` (6 significant digits, the same bytes on every system)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tests.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def paired_markdown(tests: pd.DataFrame, runs: pd.DataFrame) -> str:
    """A section with a matrix for each test split that has two runs or more: difference in accuracy, and p by group.

    tests: as `paired_tests` gives them. runs: all of the comparison, those that could not be tested too.
    """
    shared = [split for split in by_test_split(runs) if len(split.rows) > 1]
    if not shared:
        return "### Paired tests\n\nNo two runs share a test set."
    known = tests[SPLIT].fillna("")
    of_splits = [(split, tests[(known == split.rows[SPLIT].iloc[0].fillna("")).all(axis=1)]) for split in shared]
    sections = [f"### Paired tests: {split.title}\n\n{_matrix(own, split.rows)}" for split, own in of_splits]
    note = (
        "Each cell: accuracy of the row's run less that of the column's, in percentage points, and in brackets p of "
        "the exact two-sided paired test by group. "
        f"Bold: below {SIGNIFICANT} also after Holm's correction over all pairs of the test set. "
        "A test compares two trained networks, not two recipes: another seed may decide otherwise."
    )
    if any(len(own) < math.comb(len(split.rows), 2) for split, own in of_splits):
        note += " An empty cell above the diagonal: not tested, as the predictions of one of the two were not at hand."
    return "\n\n".join([*sections, note])


def _tests_of(split: SplitPart) -> pd.DataFrame:
    runs = split.rows
    scored = [_scored(Path(folder)) for folder in runs["folder"]]
    for folder, table in zip(runs["folder"], scored, strict=True):
        if not table[["label", "group_id"]].equals(scored[0][["label", "group_id"]]):
            raise ValueError(
                f"{runs['folder'].iloc[0]} and {folder}: the test rows of predictions.csv differ in file names, labels "
                "or groups, although the data's fingerprint and split are the same; the runs cannot be paired."
            )
    right = [(table["predicted"] == table["label"]).to_numpy() for table in scored]
    groups = scored[0]["group_id"].to_numpy()
    names = runs["run"].tolist()
    rows = [
        {
            **{key: runs[key].iloc[0] for key in SPLIT},
            "run_a": names[a],
            "run_b": names[b],
            "images": len(groups),
            "groups": len(set(groups)),
            "accuracy_a": right[a].mean(),
            "accuracy_b": right[b].mean(),
            "only_a_right": (right[a] & ~right[b]).sum(),
            "only_b_right": (right[b] & ~right[a]).sum(),
            "p_mcnemar": exact_mcnemar(right[a], right[b]),
            "p_group": exact_mcnemar_by_group(right[a], right[b], groups),
        }
        for a, b in combinations(range(len(names)), 2)
    ]
    tests = pd.DataFrame(rows, columns=COLUMNS)
    return tests.assign(p_group_holm=holm(tests["p_group"]))


def _scored(run_dir: Path) -> pd.DataFrame:
    """The test rows of `predictions.csv` (label, group_id, predicted) by file name, in the order of the names."""
    columns = ["file_name", "split", "group_id", "label", "predicted"]
    table = pd.read_csv(
        run_dir / "predictions.csv", usecols=lambda name: name in columns, dtype=str, keep_default_na=False
    )
    if missing := [name for name in columns if name not in table.columns]:
        raise ValueError(f"{run_dir / 'predictions.csv'} has no column {', '.join(missing)}: evaluate the run again")
    return table[table["split"] == "test"].set_index("file_name").sort_index()


def _matrix(tests: pd.DataFrame, runs: pd.DataFrame) -> str:
    accuracy = dict(zip(runs["run"], runs["accuracy"], strict=True))
    for one in ("a", "b"):
        accuracy |= dict(zip(tests[f"run_{one}"], tests[f"accuracy_{one}"], strict=True))
    cells = {(test["run_a"], test["run_b"]): _difference(test) for _, test in tests.iterrows()}
    names = list(accuracy)
    rows = [
        [f"{number} `{name}`", percent(accuracy[name]), *(cells.get((name, other), "") for other in names[1:])]
        for number, name in enumerate(names, start=1)
    ]
    return markdown_table(["run", "accuracy", *(f"{number}" for number in range(2, len(names) + 1))], rows)


def _difference(test: pd.Series) -> str:
    p = "<0.001" if test["p_group"] < 0.001 else f"{test['p_group']:.3f}"
    text = f"{100 * (test['accuracy_a'] - test['accuracy_b']):+.1f} ({p})"
    return f"**{text}**" if test["p_group_holm"] < SIGNIFICANT else text
