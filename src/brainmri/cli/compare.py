"""Compare finished runs: tables, paired tests and figures, all made from the run folders alone.

    brainmri compare runs
    brainmri compare runs/brain-tumor-resnet50-clean-seed1 runs/brain-tumor-cnn_4x4-clean-seed1 --out results --readme
    brainmri compare runs/brain-tumor-resnet50-clean-seed1 --out results --update --readme
    brainmri compare --from_csv results/comparison.csv --readme --check
    brainmri compare runs --out results/ablations --into docs/results.md ablations

Written into --out, and the Markdown printed:
    comparison.csv                  the table: seeds collapsed, baselines beneath
    seeds.csv                       every run by itself
    best_epochs.md                  best training epoch, validation then, test
    detection.csv                   tumours found, for each run and site
    paired_tests.csv and .md        exact paired tests of any two runs on one test set
    figures/*.png                   accuracy and minutes, accuracy against cost, for each test set

What --out or the README holds of other runs is replaced with --overwrite only. With --update the earlier results in
--out stay, but for the recipes and protocols of RUNS; with --add, all but the very same runs (recipe with its changes,
weights, split and seed). Their run folders are not needed, so that RUNS are not tested against them. With --readme the
accuracies go between the markers `results` of README.md, and the whole table between the markers `comparison` of
docs/results.md beside it; with --into it goes between the markers NAME of any document.
--from_csv makes the tables again from their CSV, and nothing else. With --check nothing is written; the exit status
is 1 if a document differs from its table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from brainmri.cli.command import Parser


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUNS", help="run folders, or folders of run folders")
    parser.add_argument("--out", type=Path, help="folder to write into (default: comparisons/RUNS-DIGEST)")
    parser.add_argument("--overwrite", action="store_true", help="replace what --out or the README holds of other runs")
    keep = parser.add_mutually_exclusive_group()
    keep.add_argument("--update", action="store_true", help="keep what --out holds of other recipes and protocols")
    keep.add_argument("--add", action="store_true", help="keep all that --out holds but the same runs: more seeds")
    parser.add_argument(
        "--from_csv", "--from-csv", type=Path, help="take the table from this comparison.csv, not from runs"
    )
    parser.add_argument(
        "--readme",
        nargs="?",
        type=Path,
        const=Path("README.md"),
        help="put the tables into this file and docs/results.md beside it",
    )
    parser.add_argument(
        "--into", nargs=2, metavar=("FILE", "NAME"), help="put the whole table between the markers NAME of this file"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a document's table is another")
    arguments = parser.parse_args()
    if arguments.runs and arguments.from_csv:
        parser.error("give run folders or --from_csv, not both")
    if not (arguments.runs or arguments.from_csv):
        parser.error("give run folders, or folders of them, such as: brainmri compare runs")
    if (arguments.update or arguments.add) and not arguments.runs:
        parser.error("--update and --add need RUNS")
    if (arguments.update or arguments.add) and not arguments.out:
        parser.error("--update and --add need --out, the folder of the earlier results")
    if arguments.out and not arguments.runs:
        parser.error("--out needs RUNS: --from_csv makes no files")
    if arguments.readme and arguments.into:
        parser.error("give --readme or --into, not both")
    if arguments.check and not (arguments.readme or arguments.into):
        parser.error("--check needs --readme or --into")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    from brainmri.files import check_output, default_output, digest_of_files, output, replace_text
    from brainmri.reporting.html import insert, readme_with
    from brainmri.runs.compare import (
        RECIPE,
        RUN,
        best_epochs_markdown,
        compare_runs,
        comparison_markdown,
        detections,
        read_comparison,
        with_earlier,
        with_earlier_detections,
        with_earlier_tests,
        write_comparison,
        write_comparison_figures,
        write_detections,
    )
    from brainmri.runs.paired import paired_markdown, paired_tests, write_paired_tests
    from brainmri.runs.table import read_runs, write_seeds
    from brainmri.schemas import find_runs

    keeps = arguments.update or arguments.add
    overwrite = arguments.overwrite or keeps  # which say what of --out and the README is replaced
    with tempfile.TemporaryDirectory() as scratch:
        # The table: from the committed CSV, or from the runs by way of the CSV, so that both give the same text.
        if arguments.from_csv:
            table = read_comparison(arguments.from_csv)
        else:
            runs = read_runs(find_runs(arguments.runs))
            if keeps:
                runs = with_earlier(runs, arguments.out / "seeds.csv", RUN if arguments.add else RECIPE)
            write_seeds(runs, Path(scratch) / "seeds.csv")
            inputs = digest_of_files(Path(scratch) / "seeds.csv")
            out = arguments.out or default_output(Path("comparisons"), _names(arguments.runs), inputs)
            if not arguments.check:
                check_output(out, "compare", {"all": inputs}, overwrite=overwrite)
            tests = paired_tests(runs[runs["folder"] != ""])  # runs that do not fit together end it here
            if keeps:
                tests = with_earlier_tests(tests, runs, out / "paired_tests.csv")
            write_comparison(compare_runs(runs), Path(scratch) / "comparison.csv")
            table = read_comparison(Path(scratch) / "comparison.csv")
    sections = [comparison_markdown(table)]

    # The documents, as they would be: the README, and where there is one the page of the results.
    documents = {arguments.readme: ("results", comparison_markdown(table, short=True))} if arguments.readme else {}
    if arguments.into:
        documents[Path(arguments.into[0])] = (arguments.into[1], sections[0])
    if arguments.readme and (page := arguments.readme.parent / "docs" / "results.md").is_file():
        documents[page] = ("comparison", sections[0])
    if arguments.check:
        print("\n\n".join(sections))
        differ = []
        for path, (name, content) in documents.items():
            old = path.read_text(encoding="utf-8")
            differ += [path] if insert(old, content, name, path) != old else []
        for path in differ:
            print(f"{path} differs from the table; run without --check.", file=sys.stderr)
        return int(bool(differ))
    texts = {path: readme_with(path, content, name, overwrite=overwrite) for path, (name, content) in documents.items()}

    # Every run by itself, each against each, and the figures.
    if arguments.runs:
        with output(out, "compare", inputs, overwrite=overwrite) as folder:
            write_comparison(compare_runs(runs), folder / "comparison.csv")
            write_seeds(runs, folder / "seeds.csv")
            write_paired_tests(tests, folder / "paired_tests.csv")
            found = detections(runs)
            if keeps:
                found = with_earlier_detections(found, runs, out / "detection.csv")
            write_detections(found, folder / "detection.csv")
            sections += [best_epochs_markdown(runs), paired_markdown(tests, runs)]
            for name, section in zip(["best_epochs.md", "paired_tests.md"], sections[1:], strict=True):
                (folder / name).write_text(f"{section}\n", encoding="utf-8", newline="\n")
            figures = write_comparison_figures(table, folder / "figures")
        print(
            f"Runs: {len(runs)}; {out} now holds comparison.csv, seeds.csv, best_epochs.md, "
            f"detection.csv, paired_tests.csv (pairs: {len(tests)}), paired_tests.md and {len(figures)} figures",
            file=sys.stderr,
        )
    print("\n\n".join(sections))
    for path, text in texts.items():
        replace_text(path, text)
    return 0


def _names(runs: list[Path]) -> str:
    first = runs[0].resolve().name
    return first if len(runs) == 1 else f"{first}-and-{len(runs) - 1}-more"
