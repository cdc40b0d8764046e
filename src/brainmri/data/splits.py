"""Which images train, choose and test: the schemes of `--split`, and how groups are dealt to parts and folds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np
import pandas as pd

from brainmri.data.constants import SCHEMES
from brainmri.data.dataset import SPLITS
from brainmri.data.partition import counts_by_group, drawn_partition, shuffle_decides
from brainmri.data.patient_folds import FOLDS, check_whole, patient_folds, validation_fold

NEED_SOURCE_SPLIT = ("source", "source_halved", "npz")
# The fractions that a scheme looks at; the others are set by the scheme itself.
FRACTIONS_USED: Mapping[str, tuple[str, ...]] = {
    "grouped": ("val", "test"),
    "patients": (),
    "source": ("val",),
    "source_halved": (),
    "oversample_then_split": ("val", "test"),
    "npz": ("val",),
}
SMALLEST_FRACTION = 0.01
MOST_FOLDS = (
    20  # 19 of 20 choices to look at for a fraction of 5 %, 184,756 for one half; one fold of up to 100 below 5 %
)


def assign(
    table: pd.DataFrame,
    scheme: str,
    *,
    val: float,
    test: float,
    seed: int,
    holdout: str | None = None,
    test_fold: int = 1,
) -> pd.DataFrame:
    """`table` sorted by `path`, with a column `split` (train, validation, test).

    Every row is there exactly once, except under `oversample_then_split`, which repeats rows and leaves others out.

    Args:
        table: columns path, label, source_split, group_id and, for a holdout, site at least.
        scheme: a key of `SCHEMES`.
        val, test: fractions of all images; of the source's training part, where the source's test split is kept. What a
            scheme does not look at (`FRACTIONS_USED`) is ignored.
        holdout: a site. Its images are all in test, and so is every group that has one of them; the others are split as
            without it.
        test_fold: of `patients`, the fold (1..5) that tests; the next one validates. No group crosses the folds then:
            the part of it in each fold is a group of its own.

    Raises:
        ValueError: as `check_scheme` (but that files of the set of `patients` may be missing by now), and for too few
            images or groups of a class.
    """
    if scheme == "patients":
        return _patients(table.sort_values("path", ignore_index=True), test_fold)
    check_scheme(table, scheme, val=val, test=test, seed=seed, holdout=holdout)
    table = table.sort_values("path", ignore_index=True)
    if holdout is not None:
        held = table["group_id"].isin(table.loc[table["site"] == holdout, "group_id"])
        rest = assign(table[~held], scheme, val=val, test=test, seed=seed)
        return pd.concat([rest, table[held].assign(split="test")]).sort_values("path", ignore_index=True)
    if scheme == "grouped":
        return _grouped(table, val, test, seed)
    if scheme == "source":
        return _source(table, val, seed)
    if scheme == "source_halved":
        return _source_halved(table, seed)
    if scheme == "npz":
        return _npz(table, val, seed)
    return _oversample_then_split(table, val, test, seed)


def check_scheme(
    table: pd.DataFrame,
    scheme: str,
    *,
    val: float,
    test: float,
    seed: int,
    holdout: str | None = None,
    test_fold: int = 1,
) -> None:
    """What can be known before any image is opened. Of `table` only path, source_split and site are looked at.

    Raises:
        ValueError: for an unknown scheme, a seed that is none, fractions that leave nothing for a split, a scheme that
            needs splits or patients which the source does not have (naming those that work), or a site to hold out that
            no image has.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown split {scheme!r}: expected one of {', '.join(SCHEMES)}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"--split_seed {seed}: a whole number from 0 to {2**32 - 1} is needed")
    used = {name: value for name, value in (("val", val), ("test", test)) if name in FRACTIONS_USED[scheme]}
    # "not >=" catches NaN too
    if any(not value >= SMALLEST_FRACTION for value in used.values()) or sum(used.values()) > 1 - SMALLEST_FRACTION:
        given = " and ".join(f"{name} {value:g}" for name, value in used.items())
        raise ValueError(
            f"{given}: validation, test and what is left for training must each be at least {SMALLEST_FRACTION:g}"
        )
    found = set(table["source_split"])
    if not _fits(scheme, found):
        names = ", ".join(sorted(name or "none" for name in found))
        working = ", ".join(name for name in SCHEMES if name != "patients" and _fits(name, found))
        raise ValueError(
            f"the split {scheme} needs a source whose images all stand in a train or a test part; the parts found are: "
            f"{names}. Splits that work here: {working}"
        )
    if scheme == "patients":
        check_whole(table["path"], "--split patients")
    if test_fold not in range(1, FOLDS + 1):
        raise ValueError(f"--test_fold {test_fold}: the folds are 1 to {FOLDS}")
    if holdout is not None and scheme != "grouped":
        raise ValueError(f"a site is held out of the split grouped only, not of {scheme}")
    if holdout is not None and holdout not in set(table["site"]):
        sites = ", ".join(sorted(set(table["site"]) - {""})) or "none (give them with --sites)"
        raise ValueError(f"no image has the site {holdout}; the sites are: {sites}")


def _fits(scheme: str, found: set[str]) -> bool:
    """Whether the parts of a source are those that a scheme needs. `source` can keep a validation part, too."""
    extra = {"validation"} if scheme == "source" else set()
    return scheme not in NEED_SOURCE_SPLIT or {"train", "test"} <= found <= {"train", "test"} | extra


def _grouped(table: pd.DataFrame, val: float, test: float, seed: int) -> pd.DataFrame:
    if table.empty:
        raise ValueError("too few groups: no image is left to train on")
    groups = table.groupby("label")["group_id"].nunique()
    if (few := groups[groups < len(SPLITS)]).size:
        raise ValueError(
            f"too few groups (patients): {_listed(few)}, and a train/validation/test split needs at least 3 of each "
            "class (1 each): add images of other patients, merge classes (one folder or label for both), or leave the "
            "class out"
        )
    in_test = _part_of_folds(table, test, seed)
    in_validation = None if in_test is None else _part_of_folds(table[~in_test], val / (1 - test), seed)
    if in_test is None or in_validation is None:
        drawn = _drawn(table, (1 - val - test, val, test), seed)
        return table.assign(split=np.array(SPLITS)[drawn])
    in_validation = in_validation.reindex(table.index, fill_value=False)
    return table.assign(split=np.select([in_test, in_validation], ["test", "validation"], "train"))


def _listed(groups: pd.Series) -> str:
    """Numbers of groups by class as text: "class pituitary has 2, class glioma has 1"."""
    return ", ".join(f"class {label} has {count}" for label, count in groups.items())


def _patients(table: pd.DataFrame, test_fold: int) -> pd.DataFrame:
    folds = patient_folds(table["path"], "--split patients")
    split = np.select([folds == test_fold, folds == validation_fold(test_fold)], ["test", "validation"], "train")
    return table.assign(split=split, group_id=table["group_id"] + "-" + folds.astype(str))


def _source(table: pd.DataFrame, val: float, seed: int) -> pd.DataFrame:
    split = table["source_split"].copy()
    if not (split == "validation").any():  # a validation split of the source is kept
        train = table[split == "train"]
        chosen = part_by_group(train, val, seed)
        split[chosen.index[chosen]] = "validation"
    return table.assign(split=split)


def _source_halved(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    halves = table.index[table["source_split"] == "test"]
    validation = _part(table.loc[halves], len(halves) // 2, seed)  # the odd one goes to test
    split = table["source_split"].copy()
    split[validation] = "validation"
    return table.assign(split=split)


def _npz(table: pd.DataFrame, val: float, seed: int) -> pd.DataFrame:
    split = table["source_split"].copy()
    split[_part(table[split == "train"], val, seed)] = "validation"
    return table.assign(split=split)


def _oversample_then_split(table: pd.DataFrame, val: float, test: float, seed: int) -> pd.DataFrame:
    """Copies of one image get into train, validation and test: this is the flaw to be shown, not a method."""
    largest = table["label"].value_counts().max()
    drawn = [
        rows if len(rows) == largest else rows.sample(largest, replace=True, random_state=seed)
        for _, rows in table.groupby("label", sort=True)
    ]
    table = pd.concat(drawn, ignore_index=True)
    in_test = _part(table, test, seed)
    in_validation = _part(table.drop(in_test), val / (1 - test), seed)
    split = pd.Series("train", index=table.index)
    split[in_test] = "test"
    split[in_validation] = "validation"
    return table.assign(split=split).sort_values(["path", "split"], kind="stable", ignore_index=True)


def _part(table: pd.DataFrame, size: float, seed: int) -> pd.Index:
    """Index of a stratified part, image by image. `size`: a fraction or a number of rows."""
    from sklearn.model_selection import train_test_split

    try:
        _, part = train_test_split(table.index, test_size=size, stratify=table["label"], random_state=seed)
    except ValueError as error:
        counts = ", ".join(f"{label} {count}" for label, count in table["label"].value_counts().items())
        raise ValueError(f"too few images to split by class ({counts}): {error}") from error
    return pd.Index(part)


def part_by_group(table: pd.DataFrame, fraction: float, seed: int) -> pd.Series:
    """A boolean column: whole groups that make up about `fraction` of every class.

    A class of two groups or more is on both sides, as far as no group of it holds another class too.

    Raises:
        ValueError: if every class is one single group.
    """
    if (in_part := _part_of_folds(table, fraction, seed)) is not None:
        return in_part
    groups = table.groupby("label")["group_id"].nunique()
    if groups.max() < 2:
        raise ValueError(
            f"too few groups (patients) to take {100 * fraction:.3g} % out of: {_listed(groups)}. A class needs 2 at "
            "least, one on either side: add images of other patients"
        )
    return pd.Series(_drawn(table, (1 - fraction, fraction), seed) == 1, index=table.index)


def _part_of_folds(table: pd.DataFrame, fraction: float, seed: int) -> pd.Series | None:
    """As `part_by_group`, by folds; None where their shuffle decides little, or a class is on one side only.

    The groups are dealt to n folds of equal size and class mix, of which the part takes k. Among all choices of k folds
    the one is taken that leaves no class without images outside the part, then none without images inside, and then
    comes closest to the fraction in every class. Large groups and classes of few groups make folds uneven, hence the
    choice.
    """
    most = min(max(MOST_FOLDS, round(1 / fraction)), int(table.groupby("label")["group_id"].nunique().max()))
    if most < 2:
        return None
    share = min(max(Fraction(fraction).limit_denominator(most), Fraction(1, most)), Fraction(most - 1, most))
    if not shuffle_decides(_counts(table)):
        return None
    folds = _stratified_folds(table, share.denominator, seed)
    labels, classes = pd.factorize(table["label"], sort=True)
    counts = np.zeros((share.denominator, len(classes)), dtype=np.int64)
    np.add.at(counts, (folds, labels), 1)
    total = counts.sum(0)
    choices = np.array(list(combinations(range(share.denominator), share.numerator)))
    chosen = np.zeros((len(choices), share.denominator), dtype=np.int64)
    np.put_along_axis(chosen, choices, 1, axis=1)
    inside = chosen @ counts
    distance = np.abs(inside / total - fraction).sum(1)
    best = np.lexsort((distance, (inside == 0).sum(1), (inside == total).sum(1)))[0]
    if ((inside[best] == 0) | (inside[best] == total)).any():
        return None
    return pd.Series(np.isin(folds, choices[best]), index=table.index)


def dealt_by_group(table: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """The fold of each row, int64 (N,), 0..folds-1: whole groups, in folds of about equal size and class mix.

    A class with fewer groups than folds is missing in some of them.
    """
    if shuffle_decides(_counts(table)):
        return _stratified_folds(table, folds, seed)
    return _drawn(table, [1 / folds] * folds, seed, interchangeable=True)


def _group_numbers(table: pd.DataFrame) -> np.ndarray:
    """By first appearance: what the ids are called does not matter."""
    return pd.factorize(table["group_id"])[0]


def _counts(table: pd.DataFrame) -> np.ndarray:
    return counts_by_group(pd.factorize(table["label"], sort=True)[0], _group_numbers(table))


def _drawn(table: pd.DataFrame, shares: Sequence[float], seed: int, *, interchangeable: bool = False) -> np.ndarray:
    """The part of each row."""
    dealt = drawn_partition(_counts(table), shares, seed, interchangeable=interchangeable)
    return dealt[_group_numbers(table)]


def _stratified_folds(table: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    numbers = np.empty(len(table), dtype=np.int64)
    labels = pd.factorize(table["label"], sort=True)[0]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # for the caller to deal with
        for number, (_, rows) in enumerate(splitter.split(labels, labels, _group_numbers(table))):
            numbers[rows] = number
    return numbers
