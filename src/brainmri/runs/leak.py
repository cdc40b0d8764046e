"""One recipe on splits that leak less and less: the source's own, by group, by patient, and images from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from brainmri.data.dataset import NAME_SUFFIX
from brainmri.runs.table import SEEDS, TEXT, lacks_weights, packaged, read_runs, read_table
from brainmri.schemas import EvaluationResult, find_runs, read
from brainmri.wording import BASELINES

STEPS = ("source", "grouped", "patients", "outside")  # in the order in which less leaks
COLUMNS = ["kind", "recipe", "protocol", "weights", "step", "data", "fingerprint", "test_images", "seeds"]
COLUMNS += ["measure", "accuracy", "ci_low", "ci_high"]
FIGURES = ["accuracy", "ci_low", "ci_high"]
SYSTEM = ["recipe", "protocol", "weights"]


def runs_of(places: Iterable[Path]) -> pd.DataFrame:
    """The columns of `seeds.csv` for run folders, folders of them, and files `seeds.csv` (or folders with one)."""
    places = [place / "seeds.csv" if (place / "seeds.csv").is_file() else place for place in places]
    tables = [read_table(place, SEEDS, TEXT) for place in places if place.is_file()]
    if folders := [place for place in places if not place.is_file()]:
        tables.append(read_runs(find_runs(folders))[SEEDS])
    return pd.concat(tables, ignore_index=True)


def leak_table(runs: pd.DataFrame, outside: Iterable[Path]) -> pd.DataFrame:
    """A row for each system and step, then for each baseline and step: mean accuracy and bounds (0..1) over the seeds.

    Systems are recipes as they are packaged, on their whole schedule, with the weights and the input formula that they
    ask for, that were run on two steps at least. A run that is given twice, or is in two tables, counts once. Images
    from elsewhere are counted by the mean recall of their classes (`measure`): in most sets of that kind one class is
    so much larger that the share of right answers says nothing.

    Args:
        runs: as `runs_of` gives them. outside: folders with an `evaluation.json` of a run on images of another origin.

    Raises:
        ValueError: if runs of two data sets, or of two preparations of one split, are given; if a recipe, split and
            seed has several results; if no system is left; or if an evaluation is of none of the runs, or on the run's
            own data.
    """
    chosen = runs[runs["split"].isin(STEPS) & (runs["changes"] == "") & (runs["schedule_fraction"] >= 1)]
    chosen = chosen[~lacks_weights(chosen) & ~chosen["simulated"].astype(bool)]
    chosen = chosen[~chosen["data"].str.endswith(NAME_SUFFIX)]  # two classes are another question
    chosen = chosen[chosen["normalize"] == [_packaged_formula(run) for _, run in chosen.iterrows()]]
    for keys, what in ((["data"], "data sets"), (["split", "fingerprint"], "preparations of one split")):
        sets = chosen[keys].drop_duplicates()
        if sets.duplicated(keys[:-1]).any() if len(keys) > 1 else len(sets) > 1:
            raise ValueError(
                f"runs of several {what} ({_listed(sets)}) do not stand on one line: leave out all but one"
            )
    chosen = once(chosen, [*SYSTEM, "split", "seed"], ["accuracy"], "leave out all but one")
    of_systems = [group for _, group in chosen.groupby([*SYSTEM, "split"], sort=False)]
    rows = [_mean(group, str(group["split"].iloc[0])) for group in of_systems]
    evaluated = pd.DataFrame([_outside(place, chosen) for place in outside], columns=[*COLUMNS, "seed", "run_data"])
    same = [*SYSTEM, "seed", "run_data", "fingerprint"]
    evaluated = once(evaluated, same, ["accuracy"], "leave out all but one")
    table = pd.DataFrame([*rows, *evaluated.to_dict("records")], columns=COLUMNS)
    table = _averaged(table[table.groupby(SYSTEM)["step"].transform("nunique") > 1])
    if table.empty:
        raise ValueError(
            f"no recipe was run, as it is and in full, on two of the splits {', '.join(STEPS[:3])} and outside: give "
            "more run folders"
        )
    floors = [_floor(group, str(split), name) for split, group in chosen.groupby("split") for name in BASELINES]
    both = pd.concat([table, pd.DataFrame(floors, columns=COLUMNS)], ignore_index=True)
    order = {step: place for place, step in enumerate(STEPS)}
    placed = both.assign(place=both["step"].map(order), floor=both["kind"] == "floor")
    return placed.sort_values(["floor", *SYSTEM, "place"], kind="stable", ignore_index=True)[COLUMNS]


def write_leak_table(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def _packaged_formula(run: pd.Series) -> str:
    """What the recipe normalizes by: a run by another formula is another system, though `changes` does not hold it.

    A recipe that a model on the Hub describes may be out of reach: its runs count by the formula that they had.
    """
    try:
        return packaged(run["recipe"], run["protocol"]).input.normalize
    except (ValueError, OSError):
        return str(run["normalize"])


def once(table: pd.DataFrame, keys: list[str], figures: list[str], advice: str) -> pd.DataFrame:
    """The table with one of the rows that say the same of one run, as two tables with the same runs do.

    Args:
        keys: the columns that tell runs apart. figures: those of what was measured. advice: ends the error.

    Raises:
        ValueError: if one run has several results.
    """
    table = table.drop_duplicates([*keys, *figures])
    if len(twice := table[table.duplicated(keys)]):
        runs = _listed(twice[["recipe", "protocol", "seed"]])
        raise ValueError(f"several results of one recipe, split and seed ({runs}): {advice}")
    return table


def _mean(group: pd.DataFrame, step: str) -> dict[str, Any]:
    first = group.iloc[0]
    same = {key: first[key] for key in [*SYSTEM, "data", "fingerprint", "test_images"]}
    figures = {key: float(group[key].astype(float).mean()) for key in FIGURES}
    measure = first.get("measure", "accuracy")
    return {"kind": "model", "step": step, "seeds": len(group), "measure": measure, **same, **figures}


def _outside(place: Path, runs: pd.DataFrame) -> dict[str, Any]:
    found = read(place / "evaluation.json", EvaluationResult, "Evaluate the run again with this version.")
    if found.run is None or found.own_data:
        raise ValueError(f"{place}: outside are evaluations of a run of this project on data that are not its own")
    if found.scores.balanced_accuracy is None:
        raise ValueError(f"{place}: mean recall needs images of two classes at least: {found.missing_reason}")
    run, trained_on = found.run, found.run.data
    known: dict[str, Any] = {"recipe": run.arch, "protocol": run.protocol, "weights": run.weights, "seed": run.seed}
    own = pd.Series(known | {"fingerprint": trained_on.fingerprint} | ({"created": run.created} if run.created else {}))
    if not (runs[list(own.index)] == own).all(axis=1).any():
        raise ValueError(
            f"{place} is an evaluation of {found.name} ({run.arch} {run.protocol}, seed {run.seed}, trained on "
            f"{trained_on.name}), which is none of the runs that count: give its run, or leave it out"
        )
    return known | {
        "kind": "model",
        "run_data": trained_on.fingerprint,
        "step": "outside",
        "data": found.data.name,
        "fingerprint": found.data.fingerprint,
        "test_images": found.scores.n,
        "seeds": 1,
        "measure": "mean recall",
        "accuracy": found.scores.balanced_accuracy,
        "ci_low": None,
        "ci_high": None,
    }


def _averaged(table: pd.DataFrame) -> pd.DataFrame:
    """Evaluations of several seeds on one outside set as one row."""
    rows = []
    for _, group in table.groupby([*SYSTEM, "step"], sort=False):
        if group["fingerprint"].nunique() > 1:
            raise ValueError(f"{group['recipe'].iloc[0]} was evaluated on several outside sets: leave out all but one")
        rows.append(_mean(group, str(group["step"].iloc[0])) | {"seeds": int(group["seeds"].sum())})
    return pd.DataFrame(rows, columns=COLUMNS)


def _floor(group: pd.DataFrame, split: str, name: str) -> dict[str, Any]:
    last = group.sort_values("created").iloc[-1]
    same = {key: last[key] for key in ("data", "fingerprint", "test_images")}
    return {
        "kind": "floor",
        "recipe": name,
        "step": split,
        "measure": "accuracy",
        **same,
        "accuracy": last[f"floor_{name}"],
    }


def _listed(sets: pd.DataFrame) -> str:
    return ", ".join(" ".join(map(str, row)) for row in sets.itertuples(index=False, name=None))
