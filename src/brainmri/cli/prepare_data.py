"""Turn a folder of MRI slices into a prepared data set: checked, grouped, split.

    brainmri prepare_data SOURCE OUT
    brainmri prepare_data kaggle/brain-tumor-mri-dataset data/brain-tumor --origin kaggle-nickparvar
    brainmri prepare_data kaggle/brain-tumor-mri-dataset data/brain-tumor-official --split source
    brainmri prepare_data slices data/slices --groups patients.csv
    brainmri prepare_data slices data/without-oslo --sites hospitals.csv --holdout site=oslo

SOURCE is a folder in one of the known layouts (found out by itself, or --layout), or a CSV file with the columns
file_name and label. OUT gets train/, validation/ and test/ with one folder per class, index.csv, rejected.csv,
dataset.json and README.md. SOURCE is never changed.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from brainmri.cli.command import Parser
from brainmri.data.constants import LAYOUTS, SCHEMES, STEPS
from brainmri.data.provenance import ORIGINS
from brainmri.errors import writing


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder or CSV file to read")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    parser.add_argument("--layout", choices=LAYOUTS, help="layout of SOURCE (default: found out)")
    parser.add_argument("--split", choices=list(SCHEMES), default="grouped", help="how to split (default: grouped)")
    parser.add_argument("--groups", type=Path, metavar="FILE", help="CSV file_name,group_id of known patients")
    parser.add_argument("--sites", type=Path, metavar="FILE", help="CSV file_name,site: where each image comes from")
    parser.add_argument(
        "--outlines",
        type=Path,
        metavar="FILE",
        help="CSV path,polygon of tumours (default: SOURCE.outlines.csv, if any)",
    )
    parser.add_argument(
        "--standardize", nargs="+", metavar="STEP", help=f"to every image: {' and '.join(STEPS)} (default: neither)"
    )
    parser.add_argument("--holdout", metavar="site=NAME", help="test on that site, train without it")
    parser.add_argument("--val", type=float, default=0.1, help="fraction for validation (default: 0.1)")
    parser.add_argument("--test", type=float, default=0.2, help="fraction for the test (default: 0.2)")
    parser.add_argument("--split_seed", "--split-seed", type=int, default=42, help="seed of the split (default: 42)")
    parser.add_argument("--name", help="name of the data set (default: that of SOURCE)")
    parser.add_argument(
        "--origin",
        choices=list(ORIGINS),
        help="where the images come from, so that cards cite it (default: not recorded; it is never guessed)",
    )
    parser.add_argument(
        "--class_names",
        "--class-names",
        nargs="+",
        metavar="NAME",
        help="what 0, 1, ... mean in the labels of npz files",
    )
    parser.add_argument(
        "--image_root",
        "--image-root",
        type=Path,
        metavar="DIR",
        help="folder that the file names of a CSV are relative to, or lie in (default: that of the CSV)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is a prepared data set")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names that an old Windows code page lacks must not stop the work
    from brainmri.data.prepare import prepare

    with writing(arguments.out):
        prepare(**vars(arguments))
