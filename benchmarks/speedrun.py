"""Time to 95 % on the split by group, on two cores: the rules stand in docs/speedrun.md.

    python -m benchmarks.speedrun run DATA --arch MINE --against efficientnet_lite0_record --against_seeds 42 46 50
    python -m benchmarks.speedrun score speedrun results/speedrun/seeds.csv
    python -m benchmarks.speedrun score results/speedrun/seeds.csv --page docs/speedrun.md

`run` trains the seeds of both recipes in turns, each on the very same cores, into --out/RECIPE-SEED, and scores them;
the same command goes on where it was stopped. `score` reads run folders, folders of them, and tables of runs
(seeds.csv): of each recipe on the split by group the seeds, minutes and accuracy with their 95 % intervals, and whether
the entry counts. --page puts the table between the markers `speedrun` of a document.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from brainmri.cli.command import Parser, call
from brainmri.files import replace_text
from brainmri.reporting.html import insert, markdown_table
from brainmri.runs.leak import once, runs_of
from brainmri.runs.reproduce import was_cut
from brainmri.runs.table import SYSTEM

GOAL, SEEDS, CORES = 0.95, 10, 2
SEED = 42  # of the split, and the first one of the trainings
RECORD = "efficientnet_lite0_record"
ENTRY = [*SYSTEM, "data", "simulated", "fingerprint", "split_seed", "test_groups", "hardware"]
SPLIT = "grouped"


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True, parser_class=Parser)
    run = parts.add_parser("run", help="train the seeds of an entry, and of the record beside it")
    run.add_argument("data", type=Path, metavar="DATA", help="a data set that prepare_data split by group")
    run.add_argument("--arch", default=RECORD, help=f"the recipe of the entry (default: {RECORD})")
    run.add_argument("--recipe", nargs="+", default=[], metavar="KEY=VALUE", help="changes of the entry's recipe")
    run.add_argument("--against", metavar="RECIPE", help="a recipe that is trained in turns with the entry")
    run.add_argument("--seeds", type=int, default=SEEDS, help=f"how many, from 42 on (default: {SEEDS})")
    run.add_argument("--against_seeds", nargs="+", type=int, metavar="SEED", help="those of --against (default: all)")
    run.add_argument("--cores", type=_cores, default="0,1", metavar="A,B", help="which take part (default: 0,1)")
    run.add_argument("--out", type=Path, default=Path("speedrun"), help="folder of the runs (default: speedrun)")
    score = parts.add_parser("score", help="mean time and accuracy of runs that were made")
    score.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run folders, folders of them, or seeds.csv")
    score.add_argument("--only", nargs="+", default=[], metavar="RECIPE", help="leave out all other recipes")
    score.add_argument("--page", type=Path, help="put the table into this document")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    places = arguments.runs if arguments.part == "score" else trained(arguments)
    only = arguments.only if arguments.part == "score" else []
    table = markdown(scored(runs_of(places), only))
    print(table)
    if arguments.part == "score" and arguments.page:
        page = arguments.page.read_text(encoding="utf-8")
        replace_text(arguments.page, insert(page, table, "speedrun", arguments.page))
    return 0


def trained(arguments: argparse.Namespace) -> list[Path]:
    """The run folders of the entry and of what it runs against, A B A B ..., each trained unless it is done.

    Raises:
        ValueError: if a training fails, or there are no such cores.
    """
    if arguments.seeds < 1:
        raise ValueError("--seeds: at least one is needed")
    seeds = range(SEED, SEED + arguments.seeds)
    beside = seeds if arguments.against_seeds is None else arguments.against_seeds
    if strange := set(beside) - set(seeds):
        raise ValueError(f"--against_seeds: {', '.join(map(str, sorted(strange)))} is no seed of the entry")
    if sys.platform == "linux":
        if missing := set(arguments.cores) - os.sched_getaffinity(0):
            raise ValueError(f"--cores: {', '.join(map(str, sorted(missing)))} cannot be used by this process")
        os.sched_setaffinity(0, arguments.cores)  # what it starts takes them over
    environment = os.environ | {"OMP_NUM_THREADS": str(len(arguments.cores))}
    entry = arguments.arch + "-changed" * bool(arguments.recipe)
    ways = {entry: ["--arch", arguments.arch, *(["--recipe", *arguments.recipe] if arguments.recipe else [])]}
    if arguments.against:
        ways[arguments.against] = ["--arch", arguments.against]
    folders = []
    for seed in seeds:
        for name, flags in ways.items():
            if name != entry and seed not in beside:
                continue
            folder = arguments.out / f"{name}-{seed}"
            folders.append(folder)
            print(f"{name}, seed {seed}", flush=True)  # brainmri train leaves what is done, and refuses what is other
            command = [
                sys.executable,
                "-m",
                "brainmri",
                "train",
                "--data_dir",
                str(arguments.data),
                "--seed",
                str(seed),
            ]
            command += ["--output_dir", str(folder), "--use_cpu", "true", "--disable_tqdm", "true", *flags]
            if status := subprocess.run(command, env=environment).returncode:
                raise ValueError(f"{name}, seed {seed}: brainmri train ended with status {status}")
    return folders


def scored(runs: pd.DataFrame, only: Sequence[str] = ()) -> pd.DataFrame:
    """A row for each entry on the split by group (recipe, its changes, data and machine), the fastest first.

    only: the recipes; all where none is named.

    Returns:
        `ENTRY`, and `seeds`, `minutes`, `accuracy` (0..1) with the bounds `minutes_low`, `minutes_high`,
        `accuracy_low`, `accuracy_high` of Student's 95 % interval of the mean (None of one seed), and `lacks`: why the
        entry is no record, or nothing.

    Raises:
        ValueError: if no run is left, or a seed of an entry has several results: none may be run again.
    """
    runs = runs[(runs["split"] == SPLIT) & ~runs["leaky"].astype(bool)]
    if only:
        runs = runs[runs["recipe"].isin(only)]
    if runs.empty:
        named = f"of {', '.join(only)} " if only else ""
        raise ValueError(f"no run {named}on the split by group (prepare_data --split grouped) is left")
    runs = once(runs, [*ENTRY, "seed"], ["accuracy", "minutes"], "no seed is run again")
    rows = []
    for _, group in runs.groupby(ENTRY, dropna=False, sort=False):
        row = group.iloc[0][ENTRY].to_dict() | {"seeds": len(group)}
        for name in ("minutes", "accuracy"):
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), mean_with_interval(group[name]), strict=True))
        rows.append(row | {"lacks": lacks(row, group["seed"].tolist())})
    return pd.DataFrame(rows).sort_values(["minutes", "recipe"], ignore_index=True)


def mean_with_interval(values: pd.Series) -> tuple[float, float | None, float | None]:
    """The mean and the bounds of Student's 95 % interval of it, which are None of a single value."""
    from scipy.stats import t

    mean, count = float(values.mean()), len(values)
    if count < 2:
        return mean, None, None
    half = float(t.ppf(0.975, count - 1)) * float(values.std(ddof=1)) / count**0.5
    return mean, mean - half, mean + half


def lacks(row: Mapping[Any, Any], seeds: Sequence[int]) -> str:
    """Why an entry with these seeds is no record; empty where it is one by the rules that a table can tell."""
    said = []
    if row["simulated"]:
        said.append("simulated images")
    if (held := len(set(seeds) & set(range(SEED, SEED + SEEDS)))) < SEEDS:
        said.append(f"{held} of {SEEDS} seeds" + f", counted from {SEED} on" * (held < len(seeds)))
    if row["split_seed"] != SEED:
        said.append(f"split seed {row['split_seed']:g}")
    if not str(row["hardware"]).endswith(f", {CORES} cores"):
        said.append(f"not on {CORES} cores")
    if was_cut(row):
        said.append("a part of the schedule")
    if row["accuracy"] < GOAL:
        said.append(f"below {100 * GOAL:g} %")
    return "; ".join(said)


def markdown(table: pd.DataFrame) -> str:
    """The table of a document: a line for each entry, with what it lacks."""
    header = ["recipe", "seeds", "minutes", "test accuracy", "data", "machine", "a record by the rules"]
    rows = []
    for row in table.to_dict("records"):
        name = f"`{row['recipe']}`" + (f", {row['changes']}" if row["changes"] else "")
        split = f"{row['data']}, {row['test_groups']} test groups (`{row['fingerprint'][:8]}`)"
        minutes = _figure(row["minutes"], row["minutes_low"], row["minutes_high"], 1)
        accuracy = _figure(row["accuracy"], row["accuracy_low"], row["accuracy_high"], 100)
        machine = f"{row['hardware']}, {row['precision']}"
        rows.append([name, str(row["seeds"]), minutes, accuracy, split, machine, row["lacks"] or "yes"])
    return markdown_table(header, rows)


def _figure(mean: float, low: float, high: float, scale: int) -> str:
    """A mean and its bounds, in per cent where the scale is 100."""
    text = f"{scale * mean:.1f}" + " %" * (scale == 100)
    return text if pd.isna(low) else f"{text} [{scale * low:.1f}, {scale * high:.1f}]"


def _cores(text: str) -> list[int]:
    try:
        return sorted({int(core) for core in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers of cores are needed, such as 0,1") from None


if __name__ == "__main__":
    call(main)
