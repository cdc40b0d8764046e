"""What a network's figures on Kaggle's 7,023 images are without the labels that two readers contradict.

    python -m benchmarks.reviewed_labels DATA RUN [RUN ...] [--out FILE.csv]

DATA is a prepared folder of that set, RUN a run folder that was trained on it, or a folder that
`brainmri evaluate RUN --data DATA --split test --out RUN` made. The test split is counted three times: with its labels
as they are, without the images of `notumor` in which both readers see a mass, and without these and the CT images
(`brainmri.data.reviewed_labels`). Each row has its 95 % interval, resampled by group.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.tables import measured
from brainmri.data.dataset import open_prepared
from brainmri.data.reviewed_labels import CT, MASS, reviewed_labels
from brainmri.metrics.bootstrap import auroc_bootstrap
from brainmri.metrics.detection import share_of

HEALTHY = "notumor"
LEFT_OUT = {"as they are": (), "without masses": (MASS,), "without masses and CT": (MASS, CT)}


def on_labels(index: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """A row for each figure: `labels` (of `LEFT_OUT`), `measure`, `images`, `value` (0..1), `low`, `high`.

    accuracy: of all classes. found, left_alone: of the tumours and of the images without one, the share that the
    likeliest class calls so; auroc: of the one against the other. found_SITE, auroc_SITE: of the tumours of a site
    alone, against all images without one. masses_called_tumour: of the images of `notumor` with a mass.

    index: of the prepared folder. predictions: of the run, whose test split alone counts.
    """
    table = predictions[predictions["split"] == "test"].merge(
        index[["file_name", "source", "site"]].fillna({"site": ""}), on="file_name", validate="one_to_one"
    )
    seen = table["source"].map(reviewed_labels()["seen"]).fillna("")
    rows = []
    for labels, kinds in LEFT_OUT.items():
        part = table[~seen.isin(kinds)]
        groups, named = part["group_id"].to_numpy(str), (part["predicted"] != HEALTHY).to_numpy()
        tumour, scores = (part["label"] != HEALTHY).to_numpy(), 1 - part[f"p_{HEALTHY}"].to_numpy(float)
        sites = part["site"].to_numpy(str)
        of_sites = {f"_{site}": tumour & (sites == site) for site in sorted(set(sites[tumour]) - {""})}
        tumours = {"": tumour, **of_sites}
        shares = {
            "accuracy": ((part["predicted"] == part["label"]).to_numpy(), np.ones_like(tumour)),
            **{f"found{name}": (named, chosen) for name, chosen in tumours.items()},
            "left_alone": (~named, ~tumour),
        }
        for measure, (right, chosen) in shares.items():
            share, interval = share_of(right, chosen, groups)
            rows.append((labels, measure, int(chosen.sum()), share, *(interval or (None, None))))
        for name, chosen in tumours.items():
            both = chosen | ~tumour
            auroc = float(roc_auc_score(tumour[both], scores[both]))
            interval = auroc_bootstrap(scores[both], tumour[both], groups[both].tolist())
            rows.append((labels, f"auroc{name}", int(both.sum()), auroc, *(interval or (None, None))))
    masses = table[seen == MASS]
    called = (masses["predicted"] != HEALTHY).to_numpy()
    share, interval = share_of(called, np.ones_like(called), masses["group_id"].to_numpy(str))
    rows.append((MASS, "masses_called_tumour", len(masses), share, *(interval or (None, None))))
    return pd.DataFrame(rows, columns=["labels", "measure", "images", "value", "low", "high"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    args = parser.parse_args()
    index = open_prepared(args.data).index
    measured(lambda predictions: on_labels(index, predictions), args.runs, "run", args.out)


if __name__ == "__main__":
    main()
