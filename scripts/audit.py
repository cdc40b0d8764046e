"""Look for leaks before anything is trained: pictures that repeat, across splits, under two labels, in two data sets.

    python scripts/audit.py DATA
    python scripts/audit.py DATA --against OTHER    # is OTHER an external set, or does it hold pictures of DATA?
    python scripts/audit.py DATA --calibrate        # and what does the audit itself find and miss there?

DATA and OTHER are folders in any layout that prepare_data.py knows (a folder for each class, perhaps inside train and
test), prepared folders, or CSV files with the columns file_name and label. Nothing in them is changed. Written into
--out: audit.json, groups.csv (of DATA: file_name, label, picture_id, group_id, kind, score), a figure of example pairs
for each kind, and audit.html, which shows all of it on one page. It also tells what gives the class away without a look
at the brain: size, border, brightness, sharpness, format.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from brainmri.command import call


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="data set to look into")
    parser.add_argument("--against", type=Path, metavar="OTHER", help="a second data set")
    parser.add_argument("--calibrate", action="store_true", help="also measure what it finds and what it joins wrongly")
    parser.add_argument("--out", type=Path, help="folder to write into (default: audits/NAME)")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    from brainmri.audit.calibration import calibrate
    from brainmri.audit.figures import PAIRS, pairs_figure
    from brainmri.audit.page import write_page
    from brainmri.audit.repetitions import example_pairs, repetitions
    from brainmri.audit.scan import scan
    from brainmri.audit.shortcuts import shortcuts
    from brainmri.audit.summary import EXAMPLES, GROUPS, audit_text, summary

    with TemporaryDirectory(prefix="brainmri-audit-") as folder:
        scanned = scan(arguments.data, arguments.against, Path(folder))
        out: Path = arguments.out or Path("audits") / scanned.name
        table = repetitions(scanned)
        own = table[~table["other"]]
        calibration = calibrate(scanned) if arguments.calibrate else None
        audit = summary(scanned, table, shortcuts(own), calibration)
        out.mkdir(parents=True, exist_ok=True)
        own[GROUPS].to_csv(out / "groups.csv", index=False, float_format="%.4f", lineterminator="\n")
        for kind, pairs in example_pairs(scanned, table, PAIRS).items():
            file = out / f"{kind}.png"
            file.unlink(missing_ok=True)  # of an audit before
            if pairs:
                pairs_figure(pairs, table, scanned.thumbnails, file, title=EXAMPLES[kind])
    (out / "audit.json").write_text(json.dumps(audit, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_page(audit, out)
    print(audit_text(audit))
    print(f"\nEverything is in {out}: open {out / 'audit.html'}")


if __name__ == "__main__":
    call(main)
