"""What a run's abstaining and its prediction sets are worth on labelled images, those from elsewhere among them.

    python -m benchmarks.abstention RUN DATA [DATA ...] [--healthy NAME ...] [--out FILE.json]

DATA are prepared folders: of the run's own only the test split counts, of another all images. Prints for each site (or
each folder without sites) how many images the OOD detector refuses, the share of wrong answers (tumour against none)
among those and among the others, how many tumours are found before and after, and what prediction sets hold: the
marginal and the class-conditional ones of the run, and where the run's own data are among DATA also adaptive ones (APS;
Romano, Sesia and Candès, NeurIPS 2020) and ones weighted for the shift (Tibshirani, Foygel Barber, Candès and Ramdas,
NeurIPS 2019). The weights are the odds, by a logistic regression on the features and across groups, that an image of
the run's validation split is one of the site; they need many images of the site at once.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from brainmri.data.dataset import PreparedData, open_prepared
from brainmri.evaluation.load import load_model
from brainmri.evaluation.ood.detector import unit_length
from brainmri.evaluation.ood.features import see
from brainmri.evaluation.scored import ScoredModel, open_scored
from brainmri.io.read import prepared_image
from brainmri.metrics.conformal import ALPHA, prediction_sets
from brainmri.schemas import json_text

DIRECTIONS, PENALTY, FOLDS = 32, 0.1, 5  # of the logistic regression on features
SETS = ("class_conditional", "marginal", "adaptive", "weighted", "weighted_adaptive", "weighted_class_conditional")


def measure(
    model: ScoredModel, folder: Path, healthy: set[str], calibration: Calibration | None = None
) -> dict[str, Any]:
    """The figures of one prepared folder, by site."""
    data = open_prepared(folder)
    own = model.result is not None and data.info.fingerprint == model.result.data.fingerprint
    index = data.index[data.index["split"] == "test"] if own else data.index
    found = model.infer(data, data.rows("test") if own else np.arange(len(index)))
    tumour = ~index["label"].isin(healthy).to_numpy()
    named = np.array([model.classes[k] not in healthy for k in found.probabilities.argmax(axis=1)])
    rejected = np.zeros(len(index), dtype=bool) if found.rejected is None else found.rejected
    none = next(name for name in model.classes if name in healthy)
    truth = [label if label in model.classes else none for label in index["label"]]
    known = np.array([model.classes.index(label) for label in truth])
    sites = index["site"].where(index["site"] != "", folder.name).to_numpy()
    record = model.uncertainty.conformal if model.uncertainty else None
    features = features_of(model, data, index) if calibration else None
    rows: dict[str, dict[str, Any]] = {}
    for site in [*dict.fromkeys(sites), "all"]:
        here = sites == site if site != "all" else np.ones(len(sites), dtype=bool)
        wrong, refused = (named != tumour)[here], rejected[here]
        ill = tumour[here]
        rows[site] = {
            "images": int(here.sum()),
            "tumours": int(ill.sum()),
            "refused": float(refused.mean()),
            "wrong_among_refused": mean(wrong[refused]),
            "wrong_among_kept": mean(wrong[~refused]),
            "sensitivity": mean(~wrong[ill]),
            "sensitivity_of_kept": mean(~wrong[ill & ~refused]),
            "specificity": mean(~wrong[~ill]),
            "specificity_of_kept": mean(~wrong[~ill & ~refused]),
        }
        of_site = found.probabilities[here]
        sets = {}
        if record:
            sets["class_conditional"] = prediction_sets(of_site, record.thresholds(model.classes))
            sets["marginal"] = prediction_sets(of_site, record.threshold)
        if calibration and features is not None:
            groups = index["group_id"].to_numpy()[here]
            sets |= shift_sets(calibration, of_site, features[here], groups)
        for name, members in sets.items():
            held = members[np.arange(len(members)), known[here]]
            rows[site][name] = {
                "coverage": mean(held),
                "coverage_of_missed_tumours": mean(held[wrong & ill]),
                "mean_size": mean(members.sum(axis=1)),
            }
    return rows


@dataclass(frozen=True)
class Calibration:
    """The validation split of the run: class numbers and group ids (N,), probabilities (N, C) and features (N, D)."""

    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    probabilities: NDArray[np.float64]
    features: NDArray[np.float64]


def calibration_of(model: ScoredModel, folders: list[Path]) -> Calibration | None:
    """That of the run, if its own data are among the folders."""
    for folder in folders:
        data = open_prepared(folder)
        if model.result and data.info.fingerprint == model.result.data.fingerprint:
            index = data.index[data.index["split"] == "validation"]
            rows = data.rows("validation")
            groups = index["group_id"].to_numpy(dtype=str)
            probabilities = model.infer(data, rows).probabilities
            return Calibration(data.labels(rows), groups, probabilities, features_of(model, data, index))
    return None


def features_of(model: ScoredModel, data: PreparedData, index: pd.DataFrame) -> NDArray[np.float64]:
    """What enters the last layer, scaled to length 1, of the rows of the index: (N, D)."""
    opened = load_model(str(model.folder), backend="torch")
    layer = opened.ood_detector.layer if opened.ood_detector else None
    if layer is None:
        raise ValueError(f"{model.folder} has no OOD detector, whose features the weights are made of")
    pictures = (prepared_image(data.root / name) for name in index["file_name"])
    return unit_length(see(pictures, opened.network, opened.processor, layer).features)


def shift_sets(
    calibration: Calibration,
    probabilities: NDArray[np.float64],
    features: NDArray[np.float64],
    groups: NDArray[np.str_],
) -> dict[str, NDArray[np.bool_]]:
    """Adaptive and weighted prediction sets (N, C) of images of one place, by the validation split."""
    labels, own = calibration.labels, calibration.probabilities
    rows = np.arange(len(labels))
    plain, adaptive = (1 - own)[rows, labels], adaptive_scores(own)[rows, labels]
    even, none = np.ones(len(labels)), np.ones(len(probabilities))
    found = {"adaptive": adaptive_scores(probabilities) <= limits(adaptive, even, none)[:, None]}
    weights = odds(calibration, features, groups)
    if weights is not None:
        before, here = weights
        found["weighted"] = 1 - probabilities <= limits(plain, before, here)[:, None]
        found["weighted_adaptive"] = adaptive_scores(probabilities) <= limits(adaptive, before, here)[:, None]
        by_class = [limits(plain[labels == k], before[labels == k], here) for k in range(own.shape[1])]
        found["weighted_class_conditional"] = 1 - probabilities <= np.stack(by_class, axis=1)
    for members in found.values():
        members[np.arange(len(members)), probabilities.argmax(axis=1)] = True
    return found


def adaptive_scores(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, C): the probability of all likelier classes, and half of its own."""
    order = np.argsort(-probabilities, axis=1)
    ordered = np.take_along_axis(probabilities, order, axis=1)
    scores = np.empty_like(probabilities)
    np.put_along_axis(scores, order, ordered.cumsum(axis=1) - ordered / 2, axis=1)
    return scores


def odds(
    calibration: Calibration, features: NDArray[np.float64], groups: NDArray[np.str_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """How much likelier an image with such features is at the place than in the validation split, out of fold.

    Of the validation images and of those of the place. None with fewer than `FOLDS` groups there.
    """
    if len(set(groups)) < FOLDS:
        return None
    both = np.concatenate([calibration.features, features])
    place = np.arange(len(both)) >= len(calibration.features)
    names = np.concatenate([calibration.groups, groups])
    parts = PCA(min(DIRECTIONS, *both.shape), whiten=True, random_state=0).fit_transform(both)
    classifier = LogisticRegression(C=PENALTY, max_iter=1000)
    share = cross_val_predict(classifier, parts, place, groups=names, cv=GroupKFold(FOLDS), method="predict_proba")[
        :, 1
    ].clip(1e-6, 1 - 1e-6)
    ratio = share / (1 - share) * (~place).sum() / place.sum()
    return ratio[~place], ratio[place]


def limits(scores: NDArray[np.float64], weights: NDArray[np.float64], here: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted quantile of the calibration scores for each image with the weight `here` (N,); 1 where none is."""
    order = np.argsort(scores)
    total = np.cumsum(weights[order])
    place = np.searchsorted(total, (1 - ALPHA) * (total[-1] + here) - 1e-9)
    return np.append(scores[order], 1.0)[place]


def mean(values: np.ndarray) -> float | None:
    """None of nothing."""
    return round(float(values.mean()), 4) if len(values) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("data", metavar="DATA", nargs="+", type=Path)
    parser.add_argument("--healthy", nargs="+", default=["notumor", "healthy"], help="the classes without a tumour")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model = open_scored(arguments.run, batch_size=32)
    calibration = calibration_of(model, arguments.data)
    healthy = set(arguments.healthy)
    figures = {folder.name: measure(model, folder, healthy, calibration) for folder in arguments.data}
    for name, rows in figures.items():
        table = pd.DataFrame(rows).T.drop(columns=list(SETS), errors="ignore")
        print(f"{name}\n{table.to_string()}\n")
        for kind in SETS:
            of_kind = {site: row[kind] for site, row in rows.items() if kind in row}
            if of_kind:
                print(f"{kind} sets\n{pd.DataFrame(of_kind).T.to_string()}\n")
    if arguments.out:
        arguments.out.write_text(json_text(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
