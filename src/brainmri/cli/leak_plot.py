"""Draw what is left of each recipe's accuracy as less leaks: source's split, by group, by patient, other images.

    brainmri leak_plot runs --out results/leak
    brainmri leak_plot results/seeds.csv runs/new --outside evaluations/one evaluations/two --out results/leak

RUNS are run folders, folders of them, or the seeds.csv of a comparison, of one data set. --outside takes what
`brainmri evaluate` wrote of these runs on images of another origin. Recipes count as they are packaged, on their whole
schedule and with their weights; those of two classes are left out. Written into --out: leak.csv (mean accuracy and
interval of each recipe and baseline at each step) and leak.png, which is made from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from brainmri.cli.command import Parser


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run folders, folders of them, or seeds.csv")
    parser.add_argument(
        "--outside", nargs="+", type=Path, default=[], metavar="DIR", help="evaluations of the runs on other images"
    )
    parser.add_argument("--out", type=Path, default=Path("leak"), help="folder to write into (default: leak)")
    parser.add_argument("--overwrite", action="store_true", help="replace what --out holds of other runs")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    import tempfile

    from brainmri.files import digest_of_files, output
    from brainmri.reporting.slope_plot import slope_plot
    from brainmri.runs.leak import leak_table, runs_of, write_leak_table

    table = leak_table(runs_of(arguments.runs), arguments.outside)
    with tempfile.TemporaryDirectory() as scratch:
        write_leak_table(table, Path(scratch) / "leak.csv")
        inputs = digest_of_files(Path(scratch) / "leak.csv")
    with output(arguments.out, "leak_plot", inputs, overwrite=arguments.overwrite) as folder:
        write_leak_table(table, folder / "leak.csv")
        data = ", ".join(table.loc[table["step"] != "outside", "data"].unique())
        slope_plot(table, folder / "leak.png", title=f"What is left of the accuracy as less leaks: {data}")
    models = table[table["kind"] == "model"]
    print(
        f"{models['recipe'].nunique()} recipes, {table['step'].nunique()} steps: {arguments.out}/leak.csv and leak.png"
    )
