"""What a network says of the slices of scans: those without a lesion in patients, and in healthy people by height.

    python -m benchmarks.scans DATA EVALUATION [EVALUATION ...] [--healthy NAME] [--out FILE.csv]

DATA is a prepared folder of axial scans of patients with lesion masks and of people without a tumour
(`brainmri prepare_data SCANS DATA --masks PATTERN --slices mask --no_lesion_label NAME`), EVALUATION a folder that
`brainmri evaluate RUN --data DATA --out EVALUATION` made.

Slices of the same patients with and without a lesion are of one scanner and sequence, so that the lesion alone tells
them apart. Healthy people's slices are counted by thirds, from the neck to the top of the head: where a data set
shows the base of the skull with tumours alone, a network sees tumours there. Each row has its 95 % interval, resampled
by patient.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.tables import measured
from brainmri.data.dataset import open_prepared
from brainmri.metrics.bootstrap import auroc_bootstrap
from brainmri.metrics.detection import share_of

THIRDS = ("lowest", "middle", "highest")


def of_scans(index: pd.DataFrame, predictions: pd.DataFrame, healthy: str) -> pd.DataFrame:
    """A row for each figure: `measure`, `slices`, `value` (0..1), `low`, `high`.

    found: of the slices with a lesion, those that are called a tumour by the likeliest class. left_alone_same_patients:
    of the slices without one of the same patients; auroc_same_patients: of the one against the other.
    left_alone_lowest, _middle, _highest: of the slices of healthy people, by thirds of their heads.

    index: of the prepared folder. predictions: of the evaluation, with the same images in any order.
    """
    table = predictions.merge(index[["file_name", "source"]], on="file_name", validate="one_to_one")
    table = table[table["source"].str.contains("#axial-")].reset_index(drop=True)
    place = table["source"].str.extract(r"^(?P<scan>.*)#axial-(?P<slice>\d+)$")
    groups = table["group_id"].to_numpy(str)
    tumour = (table["label"] != healthy).to_numpy()
    ill = table["group_id"].isin(set(groups[tumour])).to_numpy()
    called = (table["predicted"] != healthy).to_numpy()
    scores = 1 - table[f"p_{healthy}"].to_numpy(np.float64)
    rank = place["slice"].astype(int).groupby(place["scan"]).rank(pct=True).to_numpy()
    third = np.ceil(3 * rank - 1e-9) - 1
    parts = {
        "found": (called, tumour),
        "left_alone_same_patients": (~called, ill & ~tumour),
        **{f"left_alone_{name}": (~called, ~ill & (third == number)) for number, name in enumerate(THIRDS)},
    }
    rows = [
        (name, int(chosen.sum()), share, *(interval or (None, None)))
        for name, (right, chosen) in parts.items()
        for share, interval in [share_of(right, chosen, groups)]
    ]
    interval = auroc_bootstrap(scores[ill], tumour[ill], groups[ill].tolist())
    auroc = float(roc_auc_score(tumour[ill], scores[ill]))
    rows.append(("auroc_same_patients", int(ill.sum()), auroc, *(interval or (None, None))))
    return pd.DataFrame(rows, columns=["measure", "slices", "value", "low", "high"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("evaluations", type=Path, nargs="+")
    parser.add_argument("--healthy", default="healthy", help="the class without a tumour (default: healthy)")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    args = parser.parse_args()
    index = open_prepared(args.data).index
    measured(lambda predictions: of_scans(index, predictions, args.healthy), args.evaluations, "evaluation", args.out)


if __name__ == "__main__":
    main()
