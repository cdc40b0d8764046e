"""Compare finished runs: tables, paired tests and figures, all made from the run folders alone.

    python scripts/compare.py runs
    python scripts/compare.py runs/resnet50-clean-seed1 runs/cnn_4x4-clean-seed1 --out results --readme
    python scripts/compare.py runs/resnet50-clean-seed1 --update --readme
    python scripts/compare.py --from_csv results/comparison.csv --readme --check

Written into --out, and the Markdown printed:
    comparison.csv                  the table: seeds collapsed, floors beneath
    seeds.csv                       every run by itself
    best_epochs.md                  best training epoch, validation then, test
    detection.csv                   tumours found, for each run and site
    paired_tests.csv and .md        exact paired tests of any two runs on one test set
    figures/*.png                   accuracy and minutes, accuracy against cost, for each test set

With --update the earlier results in --out stay, but for the recipes and protocols of RUNS; with --add, all but the very
same runs (recipe, split and seed). Their run folders are not needed, so that RUNS are not tested against them. With
--readme the table goes between the two markers in README.md. --from_csv makes the table again from its CSV, and nothing
else. With --check nothing is written; the exit status is 1 if the README differs from the table.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from brainmri.command import Parser, call


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUNS", help="run folders, or folders of run folders")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder to write into (default: results)")
    keep = parser.add_mutually_exclusive_group()
    keep.add_argument("--update", action="store_true", help="keep what --out holds of other recipes and protocols")
    keep.add_argument("--add", action="store_true", help="keep all that --out holds but the same runs: more seeds")
    parser.add_argument(
        "--from_csv", "--from-csv", type=Path, help="take the table from this comparison.csv, not from runs"
    )
    parser.add_argument("--readme", nargs="?", type=Path, const=Path("README.md"), help="put the table into this file")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the README's table is another")
    arguments = parser.parse_args()
    if bool(arguments.runs) == bool(arguments.from_csv):
        parser.error("give either RUNS (before --readme) or --from_csv")
    if (arguments.update or arguments.add) and not arguments.runs:
        parser.error("--update and --add need RUNS")
    if arguments.check and not arguments.readme:
        parser.error("--check needs --readme")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    from brainmri.evaluation.best_epochs import best_epochs_markdown
    from brainmri.evaluation.comparison import (
        compare_runs,
        comparison_markdown,
        read_comparison,
        write_comparison,
    )
    from brainmri.evaluation.comparison_figures import write_comparison_figures
    from brainmri.evaluation.detection_table import detections, write_detections
    from brainmri.evaluation.earlier import RECIPE, RUN, with_earlier, with_earlier_tests
    from brainmri.evaluation.markdown import insert
    from brainmri.evaluation.paired import paired_markdown, paired_tests, write_paired_tests
    from brainmri.evaluation.results import find_runs
    from brainmri.evaluation.runs import read_runs, write_seeds

    # The table: from the committed CSV, or from the runs by way of the CSV, so that both give the same text.
    if arguments.from_csv:
        table = read_comparison(arguments.from_csv)
    else:
        keeps = arguments.update or arguments.add
        runs = read_runs(find_runs(arguments.runs))
        if keeps:
            runs = with_earlier(runs, arguments.out / "seeds.csv", RUN if arguments.add else RECIPE)
        tests = paired_tests(runs[runs["folder"] != ""])  # runs that do not fit together end it here, nothing written
        if keeps:
            tests = with_earlier_tests(tests, runs, arguments.out / "paired_tests.csv")
        with tempfile.TemporaryDirectory() as scratch:
            csv = (Path(scratch) if arguments.check else arguments.out) / "comparison.csv"
            write_comparison(compare_runs(runs), csv)
            table = read_comparison(csv)
    sections = [comparison_markdown(table)]

    # Every run by itself, each against each, and the figures.
    if arguments.runs and not arguments.check:
        out: Path = arguments.out
        write_seeds(runs, out / "seeds.csv")
        write_paired_tests(tests, out / "paired_tests.csv")
        write_detections(detections(runs), out / "detection.csv", keep_earlier=keeps)
        sections += [best_epochs_markdown(runs), paired_markdown(tests)]
        for name, section in zip(["best_epochs.md", "paired_tests.md"], sections[1:], strict=True):
            (out / name).write_text(f"{section}\n", encoding="utf-8", newline="\n")
        figures = write_comparison_figures(table, out / "figures")
        print(
            f"{len(runs)} runs read; {out} now holds comparison.csv, seeds.csv, best_epochs.md, "
            f"detection.csv, paired_tests.csv (pairs: {len(tests)}), paired_tests.md and {len(figures)} figures",
            file=sys.stderr,
        )
    print("\n\n".join(sections))

    # The README.
    if arguments.readme:
        old = arguments.readme.read_text(encoding="utf-8")
        new = insert(old, sections[0], "results")
        if arguments.check:
            if new != old:
                print(f"{arguments.readme} differs from the table; run without --check.", file=sys.stderr)
            return int(new != old)
        arguments.readme.write_text(new, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    call(main)
