"""Compare finished runs: write results/comparison.csv and print its Markdown table.

    python scripts/compare.py runs
    python scripts/compare.py runs/resnet50-clean-seed1 runs/cnn_4x4-clean-seed1 --out results --readme
    python scripts/compare.py --from_csv results/comparison.csv --readme --check

With --readme the table goes between the two markers in README.md. With --check nothing is written; the exit status
is 1 if the README differs from the table.
"""

import argparse
import sys
import tempfile
from pathlib import Path


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUNS", help="run folders, or folders of run folders")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of comparison.csv (default: results)")
    parser.add_argument(
        "--from_csv", "--from-csv", type=Path, help="take the table from this comparison.csv, not from runs"
    )
    parser.add_argument("--readme", nargs="?", type=Path, const=Path("README.md"), help="put the table into this file")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the README's table is another")
    arguments = parser.parse_args()
    if bool(arguments.runs) == bool(arguments.from_csv):
        parser.error("give either RUNS (before --readme) or --from_csv")
    if arguments.check and not arguments.readme:
        parser.error("--check needs --readme")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    from brainmri.evaluation.comparison import (
        compare_runs,
        comparison_markdown,
        insert_results,
        read_comparison,
        write_comparison,
    )
    from brainmri.evaluation.results import find_runs

    # The table: from the committed CSV, or from the runs by way of the CSV, so that both give the same text.
    if arguments.from_csv:
        table = read_comparison(arguments.from_csv)
    else:
        runs = find_runs(arguments.runs)
        print(f"{len(runs)} runs read", file=sys.stderr)
        with tempfile.TemporaryDirectory() as scratch:
            csv = (Path(scratch) if arguments.check else arguments.out) / "comparison.csv"
            write_comparison(compare_runs(runs), csv)
            table = read_comparison(csv)
    markdown = comparison_markdown(table)
    print(markdown)

    # The README.
    if arguments.readme:
        old = arguments.readme.read_text(encoding="utf-8")
        new = insert_results(old, markdown)
        if arguments.check:
            if new != old:
                print(f"{arguments.readme} differs from the table; run without --check.", file=sys.stderr)
            return int(new != old)
        arguments.readme.write_text(new, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
