"""Run the table of results again from the raw folder of its images, and see whether the accuracies come back.

    brainmri reproduce kaggle/brain-tumor-mri-dataset --list
    brainmri reproduce kaggle/brain-tumor-mri-dataset --check "cnn_4x4 clean seed 42 @ grouped"
    brainmri reproduce kaggle/brain-tumor-mri-dataset --out reproduced
    brainmri reproduce kaggle/brain-tumor-mri-dataset --ablations --out ablations

Each row of --table (the seeds.csv of a comparison) is prepared, with its split, and trained, with its recipe, changes,
weights, precision and seed, into --out: data/SPLIT, runs/ROW and reproduced.csv (ablations.csv). The same command goes
on where it was stopped, and never trains a finished row again; --out keeps to one SOURCE and its outlines. A row comes
back if its test accuracy lies in the 95 % interval that the table has for it; the exit status is 1 if one does not, or
could not be trained. Rows that a raw folder is not enough for (sites, partial schedules, simulated images, weights of
other runs) are listed with the reason.

--ablations takes other rows: one change of one recipe at a time (weights, input, augmentation, sampling, loss, split),
on the split by patient. `brainmri compare OUT/runs` makes their table.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from brainmri.cli.command import Parser

if TYPE_CHECKING:
    from brainmri.runs.reproduce import Row

SEED = 42  # of --ablations


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="raw folder of the images, as prepare_data takes it"
    )
    parser.add_argument("--out", type=Path, default=Path("reproduced"), help="folder to work in (default: reproduced)")
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument(
        "--table",
        type=Path,
        default=Path("results/seeds.csv"),
        metavar="FILE",
        help="the runs to make again (default: results/seeds.csv)",
    )
    rows.add_argument("--ablations", action="store_true", help="in place of a table: one change of a recipe at a time")
    parser.add_argument(
        "--outlines",
        type=Path,
        metavar="FILE",
        help="of the tumours, as prepare_data takes them: some recipes need them",
    )
    parser.add_argument("--data", metavar="NAME", help="of a table with several data sets, the one that SOURCE is")
    parser.add_argument("--check", metavar="ROW", help='only this row: "RUN @ SPLIT", as --list names it')
    parser.add_argument("--list", action="store_true", help="name the rows and their minutes, and do nothing")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    import pandas as pd

    from brainmri.files import digest, made_before, record_output, replace_text
    from brainmri.runs.ablations import RECIPE, ablation_rows
    from brainmri.runs.reproduce import COLUMNS, chosen

    if not arguments.source.exists():
        raise ValueError(f"{arguments.source}: no such folder")
    if arguments.outlines and not arguments.outlines.is_file():
        raise ValueError(f"--outlines {arguments.outlines}: no such file")
    if arguments.ablations and arguments.data:
        raise ValueError("--data is of a table: leave it out with --ablations")
    if arguments.ablations:
        rows = ablation_rows(SEED)
        costs = [f"{RECIPE}, changed" for _ in rows]
    else:
        rows, costs = _stored(arguments.table, arguments.data, all_data=arguments.list)
    if arguments.list:
        for row, cost in zip(rows, costs, strict=True):
            print(f"{row.name}: {row.reason or cost}")
        return 0
    if arguments.check is not None:
        rows = [chosen(rows, arguments.check)]
        if rows[0].reason:
            raise ValueError(f"{rows[0].name} cannot be made again: {rows[0].reason}")

    outlines = arguments.outlines.resolve() if arguments.outlines else None
    inputs = digest(str(arguments.source.resolve()), str(outlines))
    if (arguments.out / "data").exists() and not made_before(arguments.out, "reproduce", inputs, part="data"):
        raise ValueError(f"{arguments.out} holds data of another SOURCE, or with other --outlines: give another --out")
    arguments.out.mkdir(parents=True, exist_ok=True)
    record_output(arguments.out, "reproduce", inputs, [], part="data")

    entries = []
    for number, row in enumerate(rows, 1):
        entry = row.entry()
        if not row.reason:
            print(f"\n[{number}/{len(rows)}] {row.name}", flush=True)
            reason = _made(row, arguments.source, arguments.outlines, arguments.out)
            run_dir = arguments.out / "runs" / row.folder
            entry = entry | {"reason": reason} if reason else row.outcome(run_dir)
        entries.append(entry)
        if arguments.check is None:
            text = pd.DataFrame(entries, columns=COLUMNS).to_csv(index=False, float_format="%.9g", lineterminator="\n")
            name = "ablations.csv" if arguments.ablations else "reproduced.csv"
            replace_text(arguments.out / name, text)
    print()
    for row, entry in zip(rows, entries, strict=True):
        print(_sentence(row, entry))
    wrong = [
        row
        for row, entry in zip(rows, entries, strict=True)
        if not row.reason and (entry["accuracy_now"] is None or entry["within"] is False)
    ]
    return int(bool(wrong))


def _stored(path: Path, data: str | None, *, all_data: bool) -> tuple[list[Row], list[str]]:
    """The rows of a table of runs, and what each took.

    data: the data set whose rows are meant; None for all, where there is one or `all_data` is set.

    Raises:
        ValueError: if there is no such file, it is no seeds.csv, or it does not say which rows are meant.
    """
    from brainmri.runs.reproduce import rows_of
    from brainmri.runs.table import SEEDS, TEXT, read_table

    if not path.is_file():
        raise ValueError(f"{path}: no such file; give --table, the seeds.csv of a comparison")
    table = read_table(path, SEEDS, TEXT)
    sets = table["data"].str.partition(", ")[0]  # without what was changed of them
    if data is not None and data not in set(sets):
        raise ValueError(f"--data {data}: {path} holds runs of {'; '.join(sorted(set(sets)))}")
    table = table if data is None else table[sets == data]
    rows = rows_of(table)
    several = sorted({sets[place] for place, row in zip(table.index, rows, strict=True) if not row.reason})
    if len(several) > 1 and not all_data:
        raise ValueError(f"{path} holds runs of several data sets: give --data, one of {'; '.join(several)}")
    took = zip(table["minutes"], table["hardware"], strict=True)
    times = [(f"{minutes:.1f} min" if not isnan(minutes) else "time not known", machine) for minutes, machine in took]
    return rows, [f"{time} on {machine}" for time, machine in times]


def _made(row: Row, source: Path, outlines: Path | None, out: Path) -> str:
    """Prepare the data of a row and train it, each unless it is done; why it failed, or nothing."""
    from brainmri.data.dataset import is_prepared, open_prepared

    data = out / "data" / "-".join(word for word in row.prepare if not word.startswith("--"))
    beside = ["--outlines", str(outlines)] if outlines else []
    if not is_prepared(data) and (failed := _run("prepare_data", str(source), str(data), *row.prepare, *beside)):
        return failed
    if row.test_images and "--folds" not in row.train:
        found = len(open_prepared(data).rows("test"))
        if found != row.test_images:
            return f"{source} gives {found:,} test images and the row had {row.test_images:,}: it is another set"
    return _run("train", *row.train, "--data_dir", str(data), "--output_dir", str(out / "runs" / row.folder))


def _run(*command: str) -> str:
    """Run `brainmri` with these arguments; why it failed, or nothing."""
    print(f"brainmri {shlex.join(command)}", flush=True)
    status = subprocess.run([sys.executable, "-m", "brainmri", *command]).returncode
    if status in (-2, 130, 143, -15):
        raise KeyboardInterrupt
    return f"brainmri {command[0]} ended with status {status}" if status else ""


def _sentence(row: Row, entry: dict[str, object]) -> str:
    if entry["accuracy_now"] is None:
        return f"{row.name}: not made again: {entry['reason']}"
    now = f"{100 * float(str(entry['accuracy_now'])):.1f} %"
    if row.accuracy is None:
        return f"{row.name}: {now}"
    interval = "no interval" if row.low is None else f"[{100 * row.low:.1f}, {100 * (row.high or 0):.1f}]"
    other = "" if entry["same_data"] else "; the data are others than then (another fingerprint)"
    verdict = "comes back" if entry["within"] else "DOES NOT COME BACK"
    return f"{row.name}: {now}, was {100 * row.accuracy:.1f} % {interval}: {verdict}{other}"
