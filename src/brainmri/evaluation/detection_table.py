"""`detection.csv`: how many tumours each run finds, over all test pictures and for each site they come from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from brainmri.evaluation.results import read_result

RATES = ("sensitivity", "specificity")
COLUMNS = ["run", "data", "split", "fingerprint", "site", "tumours", "others"]
COLUMNS += [f"{rate}{end}" for rate in RATES for end in ("", "_low", "_high", "_of_likeliest")] + ["auroc"]


def detections(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each run and site ("all": every test picture); runs without a class that means "no tumour" have none.

    runs: a table as `read_runs` gives it; those without a folder are left out.
    """
    rows = []
    for run in runs[runs["folder"] != ""].to_dict("records"):
        found = read_result(Path(run["folder"])).get("detection") or {}
        sites = {"all": found["all"], **found["sites"]} if found else {}
        for site, figures in sites.items():
            row = {**{key: run[key] for key in ("run", "data", "split", "fingerprint")}, "site": site}
            for rate in RATES:
                low_high = figures[f"{rate}_ci95"] or [None, None]
                row |= {f"{rate}_low": low_high[0], f"{rate}_high": low_high[1]}
            rows.append(row | {key: figures.get(key) for key in COLUMNS if key not in row})
    return pd.DataFrame(rows, columns=COLUMNS)


def write_detections(table: pd.DataFrame, path: Path, *, earlier: Path | None) -> None:
    """Write `detection.csv`, with the rows of other runs that the file `earlier` holds, if there is one."""
    if earlier and earlier.is_file():
        old = pd.read_csv(earlier, dtype={"site": str}, keep_default_na=False, na_values=[""]).fillna({"site": ""})
        key = ["run", "fingerprint"]
        again = set(table[key].itertuples(index=False, name=None))
        kept = [row not in again for row in old[key].itertuples(index=False, name=None)]
        parts = [part for part in (old[kept], table) if len(part)]
        table = pd.concat(parts) if parts else table
    table.sort_values(["fingerprint", "run", "site"]).to_csv(
        path, index=False, float_format="%.6g", lineterminator="\n"
    )
