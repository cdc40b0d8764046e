"""Cross-validation: which fold tests each image, by group or by site, and the data of one fold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from brainmri.data.dataset import PreparedData, derived_fingerprint, split_counts
from brainmri.data.patient_folds import FOLDS, patient_folds, validation_fold
from brainmri.data.splits import dealt_by_group, part_by_group

PATIENT_FOLDS = f"patients, {FOLDS} folds"
VALIDATION = 0.1  # of all images, out of the folds that train
LEFT_OUT = "left out"  # in the place of a split: images that a fold neither trains on nor tests


@dataclass(frozen=True)
class Folds:
    """Attributes:
    numbers: the fold that tests each image, int64 (N,), 0..K-1.
    sites: the site that each fold tests; none where the folds are of groups.
    patients: whether they are the patient-wise folds that come with the package.
    """

    numbers: np.ndarray
    sites: tuple[str, ...] = ()
    patients: bool = False

    def __len__(self) -> int:
        return int(self.numbers.max()) + 1

    @property
    def title(self) -> str:
        """What stands in the place of the split's name."""
        if self.sites:
            return f"{len(self)} sites, one left out at a time"
        return PATIENT_FOLDS if self.patients else f"{len(self)} folds"

    def name(self, fold: int) -> str:
        """For the log: "Fold 2 of 5"."""
        site = f": the site {self.sites[fold]} is left out" if self.sites else ""
        return f"Fold {fold + 1} of {len(self)}{site}"

    def fingerprint(self, whole: str) -> str:
        """Of a data set of which every image is tested once. whole: the fingerprint of the data set as it is."""
        return derived_fingerprint(whole, self.title)


def folds_of(data: PreparedData, asked: int | str) -> Folds:
    """The folds of a cross-validation, the same at each call.

    asked: a number of folds of about equal size and class mix, to which the split seed of the data deals the groups; or
    "sites", for a fold of each site; or "patients", for the folds of `brainmri.data.patient_folds`.

    Raises:
        ValueError: if files stand in the data more than once, their patients are not known, or a fold would leave a
            class with too few groups to train on, to choose by and, in folds of groups, to test; the message has the
            numbers.
    """
    index = data.index
    if index["source"].duplicated().any():
        raise ValueError(f"--folds: the split {data.info.split!r} repeats files; prepare the data with another one")
    if asked == "patients":
        return _by_patient(data)
    if isinstance(asked, str):
        return _by_site(index)
    if asked < 2:
        raise ValueError(f"--folds {asked}: at least 2 are needed")
    groups = index.groupby("label")["group_id"].nunique()
    label, fewest = groups.idxmin(), int(groups.min())
    if fewest < (needed := max(asked, 4 if asked == 2 else 3)):
        tested = "each fold tests one of its own" if asked > 2 else "a fold tests 2, and trains and chooses on 2"
        most = f"--folds {fewest} at most" if fewest >= 3 else "merge classes, or leave the class out"
        raise ValueError(
            f"--folds {asked}: class {label} has {fewest} groups (patients) and needs {needed} ({tested}): "
            f"give {most}, or add images of other patients"
        )
    return Folds(dealt_by_group(index, asked, data.info.split_seed))


def _by_patient(data: PreparedData) -> Folds:
    if data.info.split != "patients":
        raise ValueError(
            f"--folds patients: the data were prepared with --split {data.info.split}, whose groups cross the folds of "
            "patients: prepare the source again with --split patients"
        )
    return Folds(patient_folds(data.index["source"], "--folds patients").to_numpy() - 1, patients=True)


def _by_site(index: pd.DataFrame) -> Folds:
    unknown = index.loc[index["site"] == "", "file_name"]
    if len(unknown):
        raise ValueError(
            f"--folds sites: {len(unknown)} of {len(index)} images have no site ({unknown.iloc[0]} the first): prepare "
            "the data again with --sites FILE, a CSV file_name,site"
        )
    numbers, sites = pd.factorize(index["site"], sort=True)
    if len(sites) < 2:
        raise ValueError(f"--folds sites: all images are of one site, {sites[0]}: give --folds 5 to test by patient")
    folds = Folds(numbers.astype(np.int64), tuple(map(str, sites)))
    for fold, site in enumerate(folds.sites):
        rest = index[_split(index, folds, fold) == "train"]
        groups = rest.groupby("label")["group_id"].nunique().reindex(sorted(set(index["label"])), fill_value=0)
        if groups.min() < 2:
            raise ValueError(
                f"--folds sites: without the site {site}, class {groups.idxmin()} has {groups.min()} groups (patients) "
                "left and needs 2 (1 to train on, 1 to choose by): merge that site with another one in --sites FILE, "
                "or merge classes"
            )
    return folds


def _split(index: pd.DataFrame, folds: Folds, fold: int) -> pd.Series:
    """test, and train for all that may be learnt from; the rest of a tested group stays out."""
    tested = pd.Series(folds.numbers == fold, index=index.index)
    touched = index["group_id"].isin(index.loc[tested, "group_id"])
    return pd.Series(np.select([tested, touched], ["test", LEFT_OUT], "train"), index=index.index)


def with_fold(data: PreparedData, folds: Folds, fold: int) -> PreparedData:
    """`data` with that fold as test, a tenth of all images as validation, by group, and the rest as train.

    Of patient-wise folds the next one validates, as in the split `patients`.

    Images of another site whose group (patient) has images in this fold are `LEFT_OUT`.
    """
    split = _split(data.index, folds, fold)
    if folds.patients:
        split[folds.numbers == validation_fold(fold + 1) - 1] = "validation"
    else:
        rest = data.index[split == "train"]
        validation = part_by_group(rest, VALIDATION / (1 - (split != "train").mean()), data.info.split_seed)
        split[validation.index[validation]] = "validation"
    index = data.index.assign(split=split)
    info = {
        "split": folds.title,
        "fingerprint": derived_fingerprint(
            data.info.fingerprint, f"fold {fold} of {folds.title.removesuffix(' folds')}"
        ),
        "counts": split_counts(index),
        "groups_across_splits": 0,
        "leaky": False,
        "test_fold": fold + 1 if folds.patients else None,
    }
    return replace(data, index=index, info=data.info.model_copy(update=info))
