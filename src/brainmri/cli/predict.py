"""Classify images, volumes, folders and ZIP files.

    brainmri predict runs/brain-tumor-resnet50-clean-seed42 slice.png
    brainmri predict OWNER/NAME@REVISION slices/ more.zip head.nii.gz --out predictions.csv
    brainmri predict runs/NAME dicom/  # a folder of DICOM files: one scan for each series

MODEL is a run folder, a folder with a saved model, or a repository of the Hub. INPUT is an image (PNG, JPEG, TIFF, BMP,
WebP, GIF), a DICOM file, a NIfTI volume, or a folder or ZIP file of any of these. What a file is, its content tells. Of
a volume or series every slice of the acquired plane is classified.

Writes three tables into one folder:

  predictions.csv  path,plane,slice,patient,predicted,p_CLASS...,prediction_set,out_of_distribution,ood_score
                   Probabilities are calibrated where the model has a temperature (those in the predictions.csv of a run
                   folder are not). prediction_set: plausible classes with ; between them, {} for none, empty where the
                   model has no conformal thresholds. out_of_distribution: true where the image is too far from those
                   of the training, so that the rest of its row should not be used.
  patients.csv     a row for each volume, series and patient of --groups: patient,predicted,p_CLASS...,
                   tumour_probability (of the slices that are not out of distribution, by the rule in pooling, which was
                   chosen on the validation split of the run),pooling,threshold,tumour (true above the threshold),
                   interval_low,interval_high (95 % of those slices lie between),slices,out_of_distribution (how many),
                   most_suspicious (plane and number of a slice, or its file where each has its own),carried_by (the
                   slices of the largest shares in the answer)
  rejected.csv     path,reason of every file and slice that could not be read; the others are classified all the same,
                   and the exit status is 1 only where there is none

Research software: nothing here is a diagnosis.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.cli.command import Parser, add_trust_remote_code, smaller_batches

if TYPE_CHECKING:
    from brainmri.evaluation.inference import Prediction
    from brainmri.evaluation.model import LoadedModel
    from brainmri.evaluation.pooling import PatientPrediction
    from brainmri.io.inputs import Input, Rejected, Slice

PREDICTIONS, PATIENTS, REJECTED = "predictions.csv", "patients.csv", "rejected.csv"
SHOWN = 10  # rows on the terminal


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="what classifies")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="files, folders, ZIP files")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.csv",
        help="where the predictions go, with patients.csv and rejected.csv beside them (default: "
        "predictions/NAME-DIGEST/predictions.csv)",
    )
    parser.add_argument(
        "--groups",
        type=Path,
        metavar="FILE",
        help="CSV file_name,group_id of known patients, so that their images are pooled in patients.csv too; file_name "
        "is as in the column path, or relative to an INPUT",
    )
    parser.add_argument(
        "--show",
        type=Path,
        metavar="DIR",
        help="write DIR/patients.html: each patient's answer with pictures of the slices that carry it",
    )
    parser.add_argument("--batch_size", "--batch-size", type=int, default=32, help="images at once (default: 32)")
    parser.add_argument("--overwrite", action="store_true", help="replace these files if they are of other inputs")
    add_trust_remote_code(parser)
    arguments = parser.parse_args()
    if arguments.batch_size < 1:
        raise ValueError(f"--batch_size {arguments.batch_size}: at least 1 is needed")
    if arguments.out and (arguments.out.suffix.lower() != ".csv" or arguments.out.name in (PATIENTS, REJECTED)):
        raise ValueError(f"--out {arguments.out}: a name that ends in .csv, other than {PATIENTS} and {REJECTED}")
    return arguments


def main() -> int:
    arguments = parse_arguments()

    # Imported late, so that --help and a mistake in the arguments do not wait for everything.
    import torch

    from brainmri.environment import use_cpu_well
    from brainmri.errors import advising, writing
    from brainmri.evaluation.model import load_model
    from brainmri.evaluation.scored import weights_digest
    from brainmri.files import default_output, digest, output
    from brainmri.io.inputs import existing, found_inputs
    from brainmri.reporting.patient_page import write_patient_page

    places = [existing(place) for place in arguments.inputs]
    use_cpu_well()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(arguments.model, device=device, trust_remote_code=arguments.trust_remote_code)
    inputs = digest(
        weights_digest(model), [_state(place) for place in places], str(arguments.out and arguments.out.name)
    )
    out = arguments.out or default_output(Path("predictions"), places[0].resolve().stem, inputs) / PREDICTIONS
    names = [out.name, PATIENTS, REJECTED]
    with (
        advising(smaller_batches(arguments.batch_size)),
        writing(out.parent),
        output(out.parent, "predict", inputs, overwrite=arguments.overwrite, names=names) as new,
        found_inputs(places) as found,
    ):
        if arguments.groups:
            found = with_patients(found, places, arguments.groups)
        counts, answers = _write(model, found, arguments.batch_size, new / out.name)
        if arguments.show:
            with (
                writing(arguments.show),
                output(arguments.show, "predict", inputs, part="patients", overwrite=arguments.overwrite) as shown,
            ):
                write_patient_page(shown, model.name, answers, found)
    _tell(out, counts)
    if arguments.show:
        print(f"The slices that carry each answer: {arguments.show / 'patients.html'}")
    return 0 if counts["images"] else 1


def with_patients(inputs: list[Input], places: list[Path], file: Path) -> list[Input]:
    """The inputs with the patients that a CSV `file_name,group_id` names.

    Raises:
        ValueError: if it is no such table, names a file twice, or one that is not among the inputs.
    """
    from brainmri.data.tables import read_csv

    table = read_csv(file, ["file_name", "group_id"])
    names = [name.replace("\\", "/").removeprefix("./") for name in table["file_name"]]
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        raise ValueError(f"{file}: {twice} stands there more than once")
    patients = dict(zip(names, table["group_id"], strict=True))
    unused = set(patients)
    found = []
    for one in inputs:
        path = Path(one.path)
        own = [path.as_posix(), *(path.relative_to(place).as_posix() for place in places if place in path.parents)]
        known = [name for name in own if name in patients]
        unused -= set(known)
        found.append(replace(one, patient=patients[known[0]]) if known else one)
    if unused:
        first = min(unused)
        raise ValueError(f"{file}: {len(unused)} of its files are not among the inputs, {first} the first")
    return found


def _state(place: Path) -> list[list[Any]]:
    """What a file, or each file of a folder, is now: name, size and time."""
    files = sorted(file for file in place.rglob("*") if file.is_file()) if place.is_dir() else [place]
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _write(
    model: LoadedModel, inputs: list[Input], batch_size: int, file: Path
) -> tuple[dict[str, int], dict[str, PatientPrediction]]:
    """Write the three tables, and return how many images, patients, images out of distribution and rejected there are.

    Returns also the answer of each patient.

    Only the predictions of patients are kept in memory.
    """
    from brainmri.evaluation.inference import Prediction, row_of

    patients: dict[str, list[Prediction]] = defaultdict(list)
    counts = dict.fromkeys(("images", "outside", "rejected"), 0)
    with (
        file.open("w", encoding="utf-8", newline="") as of_predictions,
        (file.parent / REJECTED).open("w", encoding="utf-8", newline="") as of_rejected,
    ):
        columns = ["path", "plane", "slice", "patient", "predicted", *(f"p_{name}" for name in model.classes)]
        columns += ["prediction_set", "out_of_distribution", "ood_score"]
        table = csv.DictWriter(of_predictions, columns, lineterminator="\n")
        rejected = csv.writer(of_rejected, lineterminator="\n")
        table.writeheader()
        rejected.writerow(["path", "reason"])
        for one in model.predict_slices(_slices(inputs), batch_size):
            if not isinstance(one, Prediction):
                rejected.writerow([one.path, one.reason])
                counts["rejected"] += 1
                continue
            table.writerow({name: _text(value) for name, value in row_of(one).items()})
            counts["images"] += 1
            counts["outside"] += bool(one.out_of_distribution)
            if one.patient:
                patients[one.patient].append(one)
    answers = _write_patients(patients, model, file.parent / PATIENTS)
    return counts | {"patients": len(patients)}, answers


def _slices(inputs: list[Input]) -> Iterator[Slice | Rejected]:
    """All slices, with a bar that counts files (and series)."""
    from tqdm.auto import tqdm

    for one in tqdm(inputs, desc="predicting", unit="file", disable=None):
        yield from one.slices()


def _write_patients(
    patients: dict[str, list[Prediction]], model: LoadedModel, file: Path
) -> dict[str, PatientPrediction]:
    """Write patients.csv, and return the answer of each patient."""
    from brainmri.evaluation.pooling import patient_columns, patient_prediction, patient_row

    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, patient_columns(model.classes), lineterminator="\n")
        table.writeheader()
        found = {}
        for patient, predictions in patients.items():
            found[patient] = patient_prediction(predictions, model.pooling)
            row = patient_row(patient, found[patient])
            table.writerow({name: _text(value) for name, value in row.items()})
    return found


def _text(value: Any) -> str:
    """A cell of a table: 9 significant digits, true and false, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _tell(out: Path, counts: dict[str, int]) -> None:
    with out.open(encoding="utf-8", newline="") as file:
        for row in islice(csv.DictReader(file), SHOWN):
            where = f" ({row['plane']} {row['slice']})" if row["patient"] else ""
            share = f"{100 * float(row['p_' + row['predicted']]):.1f} %"
            outside = ", OUT OF DISTRIBUTION" if row["out_of_distribution"] == "true" else ""
            print(f"{row['path']}{where}: {row['predicted']} {share}{outside}")
    if counts["images"] > SHOWN:
        print(f"... and {counts['images'] - SHOWN:,} more")
    if counts["rejected"]:
        with (out.parent / REJECTED).open(encoding="utf-8", newline="") as file:
            for row in islice(csv.DictReader(file), SHOWN):
                print(f"rejected {row['path']}: {row['reason']}")
    told = [f"{counts['images']:,} images classified", f"{counts['outside']:,} out of distribution"]
    told += [f"{counts['patients']:,} volumes and series"] * bool(counts["patients"])
    told += [f"{counts['rejected']:,} rejected" + f" (reasons in {out.parent / REJECTED})" * bool(counts["rejected"])]
    print(f"{', '.join(told)}. Wrote {out}")
