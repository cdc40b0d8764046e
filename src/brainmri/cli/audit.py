"""Look for leaks before anything is trained: images that repeat, across splits, under two labels, in two data sets.

    brainmri audit DATA
    brainmri audit DATA --against OTHER  # is OTHER an external set, or does it hold images of DATA?
    brainmri audit DATA --calibrate      # and what does the audit itself find and miss there?

DATA and OTHER are folders in any layout that prepare_data.py knows (a folder for each class, perhaps inside train and
test), prepared folders, or CSV files with the columns file_name and label. Nothing in them is changed. Written into
--out: audit.json, groups.csv (of DATA: file_name, label, duplicate_id, group_id, kind, score), labels.csv (labels to
look at again, tumours against none first), a figure of example pairs for each kind, and audit.html, which shows all of
it on one page. With --against also matches.csv (path in OTHER, matched_path in DATA, kind, similarity) and clean.csv
(file_name, label: the images of OTHER that neither are nor look like one of DATA; brainmri prepare_data takes it,
with --image_root OTHER). It also tells what gives the class away without a look at the brain: size, border, brightness,
sharpness, format. What --out holds of other data is replaced with --overwrite only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from brainmri.cli.command import Parser
from brainmri.errors import writing


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA", help="data set to look into")
    parser.add_argument("--against", type=Path, metavar="OTHER", help="a second data set")
    parser.add_argument("--calibrate", action="store_true", help="also measure what it finds and what it joins wrongly")
    parser.add_argument("--out", type=Path, help="folder to write into (default: audits/NAME-DIGEST)")
    parser.add_argument("--overwrite", action="store_true", help="replace what --out holds of other data")
    return parser.parse_args()


def _tell(step: str) -> None:
    print(f"{step} ...", flush=True)


def main() -> None:
    arguments = parse_arguments()
    from brainmri.audit.audit import audit, inputs_digest
    from brainmri.audit.duplicates import set_name
    from brainmri.audit.external import CLEAN
    from brainmri.audit.report import audit_text
    from brainmri.data.layouts import unwrapped
    from brainmri.files import default_output, output

    inputs = inputs_digest(arguments.data, arguments.against, calibrate=arguments.calibrate)
    out: Path = arguments.out or default_output(Path("audits"), set_name(arguments.data), inputs)
    with writing(out), output(out, "audit", inputs, overwrite=arguments.overwrite) as folder:
        found = audit(arguments.data, arguments.against, folder, calibrate=arguments.calibrate, tell=_tell)
    print()
    print(audit_text(found))
    if found.external and arguments.against:
        root = unwrapped(arguments.against)
        root = root.parent if root.is_file() else root
        print(f"\nFor a test with images from elsewhere: {out / CLEAN}, relative to {root}")
    print(f"\nEverything is in {out}: open {out / 'audit.html'}")
