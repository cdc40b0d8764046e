"""Turn a folder of MRI slices into a prepared data set: checked, grouped, split.

    brainmri prepare_data SOURCE OUT
    brainmri prepare_data kaggle/brain-tumor-mri-dataset data/brain-tumor --origin kaggle-nickparvar
    brainmri prepare_data kaggle/brain-tumor-mri-dataset data/brain-tumor-official --split source
    brainmri prepare_data kaggle/brain-tumor-mri-dataset data/brain-tumor-patients --split patients --test_fold 1
    brainmri prepare_data kaggle/brain-tumor-mri-dataset data/brain-tumor-reviewed --exclude reviewed
    brainmri prepare_data slices data/slices --groups patients.csv
    brainmri prepare_data slices data/without-oslo --sites hospitals.csv --holdout site=oslo
    brainmri prepare_data dicom data/scans --slices every:4 --labels labels.csv --id_key secret.txt
    brainmri prepare_data volumes data/scans --masks '*Mask*' --slices mask

SOURCE is a folder in one of the known layouts (found out by itself, or --layout), a ZIP file of one, or a CSV file with
the columns file_name and label. OUT gets train/, validation/ and test/ with one folder per class, index.csv,
rejected.csv, dataset.json and README.md. SOURCE is never changed.

Of DICOM series and NIfTI volumes (layouts dicom and nifti) slices are taken. Patients become keyed hashes; no name, id,
date or text of a scan, and no name of its files or folders but those of classes, gets into OUT.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from brainmri.cli.command import Parser
from brainmri.data.constants import LAYOUTS, SCHEMES, SITES, STEPS
from brainmri.data.provenance import ORIGINS
from brainmri.errors import writing


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder, ZIP file or CSV file to read")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    parser.add_argument("--layout", choices=LAYOUTS, help="layout of SOURCE (default: found out)")
    parser.add_argument("--split", choices=list(SCHEMES), default="grouped", help="how to split (default: grouped)")
    parser.add_argument(
        "--test_fold",
        "--test-fold",
        type=int,
        metavar="N",
        help="of --split patients, the fold that tests, 1 to 5; the next one validates (default: 1)",
    )
    parser.add_argument("--groups", type=Path, metavar="FILE", help="CSV file_name,group_id of known patients")
    parser.add_argument("--sites", type=Path, metavar="FILE", help="CSV file_name,site: where each image comes from")
    parser.add_argument(
        "--exclude",
        metavar="FILE",
        help="CSV file_name,reason of images to leave out, each with the images of its label that are the same "
        "(reviewed: those of one public set whose label two readers contradict, or that are no MRI)",
    )
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
    _add_scans(parser.add_argument_group("DICOM series and NIfTI volumes (layouts dicom and nifti)"))
    return parser.parse_args()


def _add_scans(group: argparse._ArgumentGroup) -> None:
    """The flags that only scans take; each is None where it is not given."""
    group.add_argument("--plane", metavar="PLANE", help="acquired, axial, coronal or sagittal (default: acquired)")
    group.add_argument(
        "--slices",
        metavar="WHICH",
        help="all, every:N, mask or largest-lesion (the last two need --masks; default: all)",
    )
    group.add_argument(
        "--series", metavar="PATTERN", help="only series of that description (DICOM) or file name (NIfTI), as '*T1*'"
    )
    group.add_argument(
        "--labels", type=Path, metavar="FILE", help="CSV file_name,label or patient,label (default: folders of classes)"
    )
    group.add_argument(
        "--label_level", "--label-level", type=int, metavar="N", help="the N-th folder below SOURCE is the class (1)"
    )
    group.add_argument(
        "--patient_level",
        "--patient-level",
        type=int,
        metavar="N",
        help="the N-th folder below SOURCE is the patient (default: PatientID; of NIfTI the folder below the class)",
    )
    group.add_argument(
        "--patient_pattern",
        "--patient-pattern",
        metavar="REGEX",
        help="the patient is what this (or its first group) finds in a path below SOURCE",
    )
    group.add_argument(
        "--masks",
        metavar="PATTERN",
        help="lesion masks beside the volumes: '{stem}_Mask.nii.gz', or a pattern of their names, as '*Mask*'",
    )
    group.add_argument(
        "--lesion_area",
        "--lesion-area",
        type=float,
        metavar="MM2",
        help="lesion in a slice, in mm², from which the mask labels it (default: 50)",
    )
    group.add_argument(
        "--lesion_label", "--lesion-label", metavar="LABEL", help="of slices with a lesion (default: that of the scan)"
    )
    group.add_argument(
        "--no_lesion_label",
        "--no-lesion-label",
        metavar="LABEL",
        help="of slices without lesion in scans with a mask (default: left out)",
    )
    group.add_argument("--site", choices=SITES, help="what of a DICOM header becomes the site (default: institution)")
    group.add_argument(
        "--id_key",
        "--id-key",
        type=Path,
        metavar="FILE",
        help="secret by which patients are hashed, so that two preparations agree (default: a new one, kept nowhere)",
    )
    group.add_argument(
        "--linkage", type=Path, metavar="FILE", help="CSV to write that tells the files and patient behind each hash"
    )


def main() -> None:
    arguments = parse_arguments()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names that an old Windows code page lacks must not stop the work
    from brainmri.data.prepare import prepare
    from brainmri.data.scan_options import ScanOptions, scan_options

    given = vars(arguments)
    scans = scan_options(**{name: given.pop(name) for name in ScanOptions.__dataclass_fields__})
    with writing(arguments.out):
        prepare(**given, scans=scans)
