"""Runs of an earlier comparison whose folders are not at hand: their rows of `seeds.csv`, and their paired tests."""

from pathlib import Path

import pandas as pd

from brainmri.evaluation.paired import COLUMNS, SPLIT, holm
from brainmri.evaluation.runs import SEEDS, TEXT, named, read_table

RECIPE = ["recipe", "protocol"]
RUN = [*RECIPE, "fingerprint", "split_seed", "fold", "seed"]


def with_earlier(runs: pd.DataFrame, seeds: Path, same: list[str] = RECIPE) -> pd.DataFrame:
    """`runs` and those rows of the earlier `seeds.csv` that they do not replace.

    same: a row is replaced if `runs` has one that is equal to it in these columns: `RECIPE` or `RUN`.

    The columns are those of `read_runs`, with an empty `folder` for an earlier run, and `run_then`, its earlier name.

    Raises:
        ValueError: the columns of the file are not those of `write_seeds`.
    """
    earlier = read_table(seeds, SEEDS, TEXT).rename(columns={"run": "run_then"})
    again = set(runs[same].itertuples(index=False, name=None))
    kept = [row not in again for row in earlier[same].itertuples(index=False, name=None)]
    new = runs.drop(columns="run").assign(run_then="")
    return named(pd.concat([new, earlier[kept].assign(folder="")], ignore_index=True))


def with_earlier_tests(tests: pd.DataFrame, runs: pd.DataFrame, earlier: Path) -> pd.DataFrame:
    """`tests` of the new runs and the earlier `paired_tests.csv` of the runs that are kept, all adjusted anew.

    No new run is paired with an earlier one, whose predictions are gone. runs: a table as `with_earlier` gives it.
    """
    kept = runs[runs["folder"] == ""]
    now = {(*row[SPLIT], row["run_then"]): row["run"] for _, row in kept.iterrows()}
    old = pd.read_csv(earlier, dtype={"fold": str, "fingerprint": str, "data": str}).fillna({"fold": ""})
    for side in ("run_a", "run_b"):
        old[side] = [now.get((*row[SPLIT], row[side])) for _, row in old.iterrows()]
    parts = [part for part in (tests, old.dropna(subset=["run_a", "run_b"])) if len(part)]
    if not parts:
        return tests
    together = pd.concat(parts)
    places = {(*row[SPLIT], row["run"]): place for place, (_, row) in enumerate(runs.iterrows())}
    order = [tuple(places[*row[SPLIT], row[side]] for side in ("run_a", "run_b")) for _, row in together.iterrows()]
    together = together.iloc[sorted(range(len(order)), key=order.__getitem__)].reset_index(drop=True)
    together["p_group_holm"] = together.groupby(SPLIT)["p_group"].transform(holm)
    return together[COLUMNS]
