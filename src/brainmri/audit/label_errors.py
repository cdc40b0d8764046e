"""Labels to look at again: those that the images of other groups speak against.

Each image is judged out of fold: by logistic regressions on what an ImageNet network sees in it (see
`brainmri.audit.image_features`), or, where that is not installed, by the labels of the 25 most similar images. What is
of its own group never judges it, so that copies and slices of one patient do not vouch for each other.

Two questions are asked, that which matters most first: is there a tumour or none (where one of the labels says
"none"), and of which kind is it. The list ends where evidence does: the same is done again with 2 % of the labels
changed on purpose for each question, and an image is named as long as at least half of what would be named then are
such changes. It is a list for a person to look through: a small lesion in an image that is otherwise like healthy ones
may stand far down or not at all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainmri.data.class_names import NO_TUMOUR, kind_of_class
from brainmri.data.duplicates.similarity import correlations, symmetry_components
from brainmri.schemas import LabelCheck

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
Shares = NDArray[np.float64]
LABELS = "labels.csv"
COLUMNS = ["file_name", "label", "suggested", "confidence", "similar"]
LEAST = 60  # images, below which nothing is said
FOLDS, REPEATS = 5, 2
# Inverse of the penalty on the weights of the regressions, whose inputs have the variance 1; more for few images, so
# that their likelihood weighs as much.
STRENGTH, FEW = 0.01, 2500
NEAREST = 25  # images that vouch for a label
SHARPNESS = 0.05  # of correlation: an image that is less similar by so much counts for 1/e
BLOCK = 256  # images compared with all others at once; bounds the memory
CHANGED = 0.02  # of the labels, changed on purpose for each question
CHANGES, ROUNDS = 50, 5  # changes that the end of the list is found by, and rounds of them at most
PRECISION = 0.5  # share of the changes among what is named
# For each label of the images (N,), 0..classes - 1: how likely each label is (N, classes), by the other groups' images.
Judge = Callable[[Rows], Shares]


@dataclass(frozen=True)
class Answer:
    """What is said of the images to one question.

    Attributes:
        asked: (N,), whether it is asked of the image. confidence: (N,), 0..1, of its label. suggested: (N,), the
            likeliest label that would be another answer.
    """

    asked: Mask
    confidence: Shares
    suggested: Rows


def suspicious_labels(
    table: pd.DataFrame, contents: NDArray[np.uint8], see: Callable[[pd.Series], NDArray[np.float32] | None]
) -> tuple[pd.DataFrame, LabelCheck | None]:
    """Images whose label is not the one that other groups' images speak for: tumours against none first.

    Args:
        table: of `brainmri.audit.duplicates.repetitions`, of one data set. Of the images that are the same under the
            same label the first stands for all; labels with fewer groups than `FOLDS` are not judged.
        contents: uint8 (N, 64, 64), for each row: the images without their borders.
        see: from the paths of images to what a network sees in them, see `brainmri.audit.image_features`.

    Returns:
        `file_name`, `label`, `suggested`, `confidence` (0..1: of "tumour" or "none", and for the kind of a tumour, of
        this kind given that there is one) and `similar` (the `file_name` of the most similar image of another group
        with the suggested label); indexed by the rows of `table`. And how the labels were checked; None where there
        are too few images or labels.
    """
    rows = np.flatnonzero(~table.duplicated(["duplicate_id", "label"]))
    groups = table.iloc[rows].groupby("label")["group_id"].nunique()
    rows = rows[table["label"].iloc[rows].isin(groups.index[groups >= FOLDS])]
    own = table.iloc[rows]
    label, names = pd.factorize(own["label"], sort=True)
    group = pd.factorize(own["group_id"])[0]
    if len(rows) < LEAST or len(names) < 2:
        return pd.DataFrame(columns=COLUMNS), None
    seen = see(own["path"])
    parts = symmetry_components(contents[rows])
    if seen is not None:
        seen = _scaled(seen)
    count = len(names)
    judge = _by_neighbours(parts, group, count) if seen is None else _by_regression(seen, label, group, count)
    healthy = np.array([kind_of_class(str(name)) == NO_TUMOUR for name in names])
    answers = _answers(judge(label), label, healthy)
    limits, tried = _self_test(judge, label, healthy)
    found: list[tuple[int, int, float]] = []
    for answer, limit in zip(answers, limits, strict=True):
        listed = {image for image, *_ in found}
        order = np.argsort(answer.confidence, kind="stable")
        named = order[answer.asked[order] & (answer.confidence[order] <= limit)]
        found += [(int(k), int(answer.suggested[k]), float(answer.confidence[k])) for k in named if k not in listed]
    check = LabelCheck(images=len(rows), listed=len(found), by_network=seen is not None, **tried)
    files = own["file_name"].to_numpy()
    lines = []
    for image, suggested, confidence in found:
        alike = correlations(parts[[image]], parts)[0] if seen is None else seen @ seen[image]
        alike = np.where((label == suggested) & (group != group[image]), alike, -np.inf)
        lines.append((files[image], names[label[image]], names[suggested], confidence, files[alike.argmax()]))
    return pd.DataFrame(lines, columns=COLUMNS, index=own.index[[image for image, *_ in found]]), check


def pairs_to_see(table: pd.DataFrame, suspicious: pd.DataFrame, count: int) -> list[tuple[int, int]]:
    """Rows of `table` for the first `count`: the image, and the one most similar to it of the suggested label."""
    row_of = dict(zip(table["file_name"], table.index, strict=True))
    first = suspicious.head(count)
    return [(row, int(row_of[name])) for row, name in zip(first.index.tolist(), first["similar"], strict=True)]


def _answers(likely: Shares, label: Rows, healthy: Mask) -> list[Answer]:
    """To both questions. likely: of a `Judge`. healthy: for each label, whether it says that there is no tumour."""
    every = np.arange(len(label))
    same_side = healthy[label][:, None] == healthy
    side = np.where(same_side, likely, 0).sum(axis=1)
    across = Answer(
        asked=np.full(len(label), healthy.any() and not healthy.all()),
        confidence=side,
        suggested=np.where(same_side, -1, likely).argmax(axis=1),
    )
    others = same_side.copy()
    others[every, label] = False
    within = Answer(
        asked=others.any(axis=1),
        confidence=likely[every, label] / np.maximum(side, 1e-12),
        suggested=np.where(others, likely, -1).argmax(axis=1),
    )
    return [across, within]


def _self_test(judge: Judge, label: Rows, healthy: Mask) -> tuple[list[float], dict[str, int]]:
    """The confidence up to which each question's images are named, and of labels that were changed on purpose the
    numbers `changed`, `named` and `found` of `LabelCheck`."""
    rng = np.random.default_rng(0)
    count = max(1, round(CHANGED * len(label)))
    asked = [answer.asked for answer in _answers(np.eye(len(healthy))[label], label, healthy)]
    confidences: list[list[Shares]] = [[], []]
    wrong: list[list[Mask]] = [[], []]
    for _ in range(min(ROUNDS, -(-CHANGES // count))):
        changed, which = label.copy(), np.full(len(label), -1)
        for question in (0, 1):
            able = np.flatnonzero(asked[question] & (which < 0))
            for image in rng.choice(able, min(count, len(able) // 2), replace=False):
                other_side = healthy != healthy[label[image]]
                choices = np.flatnonzero(other_side if question == 0 else ~other_side)
                changed[image] = rng.choice(choices[choices != label[image]])
                which[image] = question
        for question, answer in enumerate(_answers(judge(changed), changed, healthy)):
            judged = answer.asked & ((which < 0) | (which == question))
            confidences[question].append(answer.confidence[judged])
            wrong[question].append(which[judged] == question)
    limits, found, named = [], 0, 0
    for confidence, mistaken in zip(map(np.concatenate, confidences), map(np.concatenate, wrong), strict=True):
        limits.append(_limit(confidence, mistaken))
        found += int(np.count_nonzero(mistaken & (confidence <= limits[-1])))
        named += int(np.count_nonzero(confidence <= limits[-1]))
    changes = sum(int(np.count_nonzero(one)) for each in wrong for one in each)
    return limits, {"changed": changes, "named": named, "found": found}


def _limit(confidence: Shares, wrong: Mask) -> float:
    """The highest confidence below 0.5 up to which `PRECISION` of the images are wrong ones; -1 if there is none."""
    order = np.argsort(confidence, kind="stable")
    share = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    last = np.diff(confidence[order], append=np.inf) > 0  # of the equal ones
    good = np.flatnonzero((share >= PRECISION) & last & (confidence[order] < 0.5))
    return float(confidence[order[good[-1]]]) if len(good) else -1.0


def _scaled(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each column with the mean 0 and the variance 1, or 0 where it is the same for all."""
    deviation = seen.std(axis=0)
    return (seen - seen.mean(axis=0)) / np.where(deviation > 1e-6, deviation, 1)


def _by_regression(seen: NDArray[np.float32], label: Rows, group: Rows, classes: int) -> Judge:
    """label: as it stands; it makes the folds alike."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    strength = STRENGTH * max(1, FEW / len(seen))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # groups of several labels
        folds = [StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed) for seed in range(REPEATS)]
        parts = [part for one in folds for part in one.split(seen, label, group)]

    def judge(label: Rows) -> Shares:
        likely = np.zeros((len(label), classes))
        for others, rest in parts:
            known = np.unique(label[others])
            told = np.zeros((len(rest), classes))
            if len(known) > 1:
                model = LogisticRegression(C=strength, max_iter=200, tol=1e-3)
                told[:, known] = model.fit(seen[others], label[others]).predict_proba(seen[rest])
            unknown = ~np.isin(label[rest], known) | (len(known) < 2)
            told[unknown] = np.eye(classes)[label[rest][unknown]]  # no other group can speak for or against it
            likely[rest] += told / REPEATS
        return likely

    return judge


def _by_neighbours(parts: NDArray[np.float32], group: Rows, classes: int) -> Judge:
    """parts: of `brainmri.data.duplicates.similarity.symmetry_components`."""
    found = []
    for start in range(0, len(parts), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(parts)))
        correlation = correlations(parts[block], parts)
        correlation[group[block, None] == group] = -np.inf
        near = np.argsort(-correlation, axis=1, kind="stable")[:, :NEAREST]
        best = np.take_along_axis(correlation, near, axis=1)
        found.append((near, np.exp((best - best[:, :1]) / SHARPNESS) * np.isfinite(best)))
    near, weight = (np.concatenate(column) for column in zip(*found, strict=True))

    def judge(label: Rows) -> Shares:
        share = np.stack([(weight * (label[near] == one)).sum(axis=1) for one in range(classes)], axis=1)
        return np.asarray(share / np.maximum(share.sum(axis=1, keepdims=True), 1e-12), dtype=np.float64)

    return judge
