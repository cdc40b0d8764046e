"""What a run's abstaining and its prediction sets are worth on labelled images, those from elsewhere among them.

    python -m benchmarks.abstention RUN DATA [DATA ...] [--healthy NAME ...] [--out FILE.json]

DATA are prepared folders: of the run's own only the test split counts, of another all images. Prints for each site (or
each folder without sites) how many images the OOD detector refuses, the share of wrong answers (tumour against none)
among those and among the others, how many tumours are found before and after, and what the marginal and the
class-conditional prediction sets hold.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainmri.data.dataset import open_prepared
from brainmri.evaluation.scored import ScoredModel, open_scored
from brainmri.metrics.conformal import prediction_sets
from brainmri.schemas import json_text


def measure(model: ScoredModel, folder: Path, healthy: set[str]) -> dict[str, Any]:
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
        if record:
            for name, thresholds in (
                ("class_conditional", record.thresholds(model.classes)),
                ("marginal", record.threshold),
            ):
                sets = prediction_sets(found.probabilities[here], thresholds)
                held = sets[np.arange(len(sets)), known[here]]
                rows[site][name] = {
                    "coverage": mean(held),
                    "coverage_of_missed_tumours": mean(held[wrong & ill]),
                    "mean_size": mean(sets.sum(axis=1)),
                }
    return rows


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
    figures = {folder.name: measure(model, folder, set(arguments.healthy)) for folder in arguments.data}
    for name, rows in figures.items():
        table = pd.DataFrame(rows).T.drop(columns=["class_conditional", "marginal"], errors="ignore")
        print(f"{name}\n{table.to_string()}\n")
        for kind in ("class_conditional", "marginal"):
            if kind in rows["all"]:
                print(f"{kind} sets\n{pd.DataFrame({site: row[kind] for site, row in rows.items()}).T.to_string()}\n")
    if arguments.out:
        arguments.out.write_text(json_text(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
