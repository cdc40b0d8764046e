"""Classify images, volumes, folders and ZIP files.

    brainmri predict runs/brain-tumor-resnet50-clean-seed42 slice.png
    brainmri predict OWNER/NAME@REVISION slices/ more.zip head.nii.gz --out predictions.csv
    brainmri predict runs/NAME dicom/  # a folder of DICOM files: one scan for each series

MODEL is a run folder, a folder with a saved model, or a repository of the Hub. INPUT is an image (PNG, JPEG, TIFF, BMP,
WebP, GIF), a DICOM file, a NIfTI volume, or a folder or ZIP file of any of these. What a file is, its content tells. Of
a volume or series every slice of the acquired plane is classified.

Writes four tables into one folder:

  predictions.csv  path,plane,slice,patient,predicted,p_CLASS...,prediction_set,out_of_distribution,ood_score,
                   type_doubtful,sequence,sequence_from,view,view_from,few_seen
                   patient: a keyed hash of the PatientID of DICOM files, what --groups says, or else the volume or
                   series. Probabilities are calibrated where the model has a temperature (those in the predictions.csv
                   of a run folder are not). prediction_set: plausible classes with ; between them, the likeliest first;
                   empty where the model has no conformal thresholds. out_of_distribution: true where the image is too
                   far from those of the training, so that the rest of its row should not be used. type_doubtful: true
                   where the type of the tumour must be doubted: the image is out of distribution, or of no site that
                   the model was trained on (--site), and nothing shows that types hold elsewhere. sequence ("T1 with
                   contrast", "T1 without contrast", "T1", "T2/PD", "FLAIR", "other", "unknown") and view ("axial",
                   "coronal", "sagittal", "unknown"): by the file, or estimated from the picture, as sequence_from and
                   view_from say. few_seen: true where training had few tumours of this sequence and view; empty where
                   that is not known.
  patients.csv     a row for each patient, of all its scans: patient,predicted,p_CLASS...,
                   tumour_probability (of the slices that are not out of distribution, by the rule in pooling, which was
                   chosen on the validation split of the run),pooling,threshold,tumour (true above the threshold),
                   interval_low,interval_high (95 % of those slices lie between),slices,out_of_distribution (how many),
                   type_doubtful,few_seen (how many),most_suspicious (plane and number of a slice, or its file where
                   each has its own),carried_by (the slices of the largest shares in the answer),scans (how many there
                   are)
  scans.csv        a row for each volume and series: scan,patient and the columns of patients.csv from predicted on
  rejected.csv     path,reason of every file and slice that could not be read; the others are classified all the same

After a stop or a kill the same command goes on where it was; until it is done, the tables grow in a hidden folder
beside their place. The exit status is 0 where all was classified, 1 where something was rejected, 2 for a mistake in
the arguments, and 130 or 143 after Ctrl-C or SIGTERM.

Research software: nothing here is a diagnosis.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from secrets import token_hex
from shutil import which
from typing import TYPE_CHECKING, Any

from brainmri.cli.command import Parser, add_trust_remote_code, log_to_terminal, smaller_batches
from brainmri.wording import counted

if TYPE_CHECKING:
    from brainmri.evaluation.model import LoadedModel
    from brainmri.evaluation.prediction_tables import Done, PredictionTables
    from brainmri.io.inputs import Input, Rejected, Slice
    from brainmri.io.notes import Notes

PREDICTIONS = "predictions.csv"
OTHERS = ("patients.csv", "scans.csv", "rejected.csv")
SHOWN = 10  # rows on the terminal


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="what classifies")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="files, folders, ZIP files")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.csv",
        help="where the predictions go, with patients.csv, scans.csv and rejected.csv beside them (default: "
        "predictions/NAME-DIGEST/predictions.csv)",
    )
    parser.add_argument(
        "--groups",
        type=Path,
        metavar="FILE",
        help="CSV file_name,group_id of known patients, so that their images, series and volumes are pooled in "
        "patients.csv; file_name is a file as in the column path, or the folder of a series, or relative to an INPUT",
    )
    parser.add_argument(
        "--id_key",
        "--id-key",
        type=Path,
        metavar="FILE",
        help="secret by which the patients of DICOM files are hashed, so that predictions and prepared data sets of "
        "one key agree about patients (default: a new one for each command, kept nowhere)",
    )
    parser.add_argument(
        "--show",
        type=Path,
        metavar="DIR",
        help="write DIR/patients.html: each patient's answer with pictures of the slices that carry it",
    )
    parser.add_argument(
        "--site",
        default="",
        metavar="NAME",
        help="where the images come from, as the data of the training call it: the type of a tumour counts at a site "
        "that the model was trained on",
    )
    parser.add_argument("--batch_size", "--batch-size", type=int, default=16, help="images at once (default: 16)")
    parser.add_argument(
        "--backend",
        choices=("onnx", "torch"),
        help="what computes: ONNX Runtime, on the CPU, or torch (default: torch where there is a GPU, else onnx). "
        "Their probabilities differ by less than 0.00001. The ONNX file of a network is written once, into the cache",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace these files if they are of another model, inputs or settings"
    )
    add_trust_remote_code(parser)
    arguments = parser.parse_args()
    if arguments.batch_size < 1:
        raise ValueError(f"--batch_size {arguments.batch_size}: at least 1 is needed")
    if arguments.out and (arguments.out.suffix.lower() != ".csv" or arguments.out.name in OTHERS):
        raise ValueError(f"--out {arguments.out}: a name that ends in .csv, other than {' and '.join(OTHERS)}")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    log_to_terminal()

    # Imported late, so that --help and a mistake in the arguments do not wait for everything.
    from brainmri.data.pseudonyms import pseudonym, read_key, with_patients
    from brainmri.environment import keep_freed_memory, use_cpu_well
    from brainmri.errors import advising, writing
    from brainmri.evaluation.load import load_model
    from brainmri.evaluation.prediction_tables import PredictionTables, unfinished_tables
    from brainmri.files import check_output, default_output, digest, digest_of_files, output
    from brainmri.io.inputs import existing, found_inputs

    places = [existing(place) for place in arguments.inputs]
    key = read_key(arguments.id_key) if arguments.id_key else None
    keep_freed_memory()
    device = "cuda" if arguments.backend != "onnx" and _has_gpu() else "cpu"
    model = load_model(
        arguments.model,
        device=device,
        trust_remote_code=arguments.trust_remote_code,
        backend=arguments.backend,
        site=arguments.site,
    )
    if "torch" in sys.modules:
        use_cpu_well()
    inputs = digest(
        model.answers_digest,
        model.wanted,
        [_state(place) for place in places],
        digest_of_files(arguments.groups) if arguments.groups else None,
        pseudonym(key, "brainmri predict") if key else None,
        arguments.out and arguments.out.name,
        arguments.site,
    )
    out = arguments.out or default_output(Path("predictions"), places[0].resolve().stem, inputs) / PREDICTIONS
    names = [out.name, *OTHERS]
    if arguments.show:  # told before the work, not after it
        check_output(arguments.show, "predict", {"patients": inputs}, overwrite=arguments.overwrite)
    with (
        advising(smaller_batches(arguments.batch_size)),
        writing(out.parent),
        found_inputs(places) as found,
    ):
        if not found:
            raise ValueError(f"{', '.join(map(str, places))}: no files there")
        if arguments.groups:
            found = with_groups(found, places, arguments.groups)
        with unfinished_tables(out.parent, inputs, names, overwrite=arguments.overwrite) as folder:
            if folder is None:
                print("These predictions are there already; --overwrite makes them again.")
            else:
                found = with_patients(found, key or own_key(folder))
                patients = [one.patient or one.scan for one in found]
                with PredictionTables(folder, out.name, model.classes, patients, model.pooling) as tables:
                    _classify(model, found, arguments.batch_size, tables)
        if arguments.show:
            with (
                writing(arguments.show),
                output(arguments.show, "predict", inputs, part="patients", overwrite=arguments.overwrite) as shown,
            ):
                _show(model, out, found, shown)
    status = _tell(out, model)
    if arguments.show:
        print(f"The slices that carry each answer: {arguments.show / 'patients.html'}")
    return status


def _show(model: LoadedModel, predictions: Path, inputs: list[Input], folder: Path) -> None:
    from brainmri.evaluation.pooling import patient_prediction
    from brainmri.evaluation.prediction_tables import patients_of
    from brainmri.reporting.patient_page import write_patient_page

    answers = {name: patient_prediction(rows, model.pooling) for name, rows in patients_of(predictions).items()}
    write_patient_page(folder, model.name, answers, inputs)


def _has_gpu() -> bool:
    """Whether torch can use a GPU; it is imported, which takes seconds, only where there is a driver."""
    if which("nvidia-smi") is None:
        return False
    import torch

    return torch.cuda.is_available()


def own_key(folder: Path) -> bytes:
    """A secret for the hashes of this command, in the folder of its unfinished tables, which goes with the folder."""
    from brainmri.data.pseudonyms import read_key
    from brainmri.files import replace_text

    file = folder / "key"
    if not file.is_file():
        replace_text(file, token_hex(32))
        file.chmod(0o600)
    return read_key(file)


def with_groups(inputs: list[Input], places: list[Path], file: Path) -> list[Input]:
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
        files = [Path(name) for name in dict.fromkeys([one.path, *(part.name for part in one.parts), one.scan]) if name]
        own = [path.as_posix() for path in files]
        own += [path.relative_to(place).as_posix() for path in files for place in places if place in path.parents]
        known = [name for name in own if name in patients]
        unused -= set(known)
        if len({patients[name] for name in known}) > 1:
            raise ValueError(f"{file}: {known[0]} and {known[1]} are of one series, and of two patients")
        found.append(replace(one, patient=patients[known[0]]) if known else one)
    if unused:
        first = min(unused)
        raise ValueError(f"{file}: {len(unused)} of its files are not among the inputs, {first} the first")
    return found


def _state(place: Path) -> list[list[Any]]:
    """What a file, or each file of a folder, is now: name, size and time."""
    files = sorted(file for file in place.rglob("*") if file.is_file()) if place.is_dir() else [place]
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _classify(model: LoadedModel, inputs: list[Input], batch_size: int, tables: PredictionTables) -> None:
    """Write the rows of all inputs that are not done yet, with a bar that counts files, volumes and series."""
    from tqdm.auto import tqdm

    from brainmri.evaluation.inference import Prediction
    from brainmri.evaluation.prediction_tables import Done
    from brainmri.io.inputs import Rejected
    from brainmri.io.notes import Notes

    first = tables.progress.inputs
    if first or tables.progress.slices:
        print(f"Going on after {first:,} of {len(inputs):,} files, volumes and series")
    notes = Notes()
    with tqdm(total=len(inputs), initial=first, desc="predicting", unit="file", disable=None) as bar:
        for one in model.predict_slices(_slices(inputs, first, tables.progress.slices, notes), batch_size):
            if isinstance(one, Prediction):
                tables.add(one)
            elif isinstance(one, Done):
                tables.done(one, inputs[one.number].patient or inputs[one.number].scan)
                bar.update()
            elif isinstance(one, Rejected):
                tables.reject(one)
    tables.finished = True
    number = counted(len(inputs), "file, volume or series", "files, volumes and series")
    for sentence, scans in notes.counted().items():
        print(f"Note, on {scans:,} of {number}: {sentence}")


def _slices(inputs: list[Input], first: int, done: int, notes: Notes) -> Iterator[Slice | Rejected | Done]:
    """All slices from the input `first` on, of which some are done already. notes: counts what scans say."""
    from brainmri.evaluation.prediction_tables import Done
    from brainmri.io.inputs import Slice

    for number in range(first, len(inputs)):
        for one in islice(inputs[number].slices(), done if number == first else 0, None):
            if isinstance(one, Slice):
                notes.add(one.notes)
            yield one
        yield Done(number)


def _tell(out: Path, model: LoadedModel) -> int:
    """Say what stands in the tables, and return the exit status."""
    from brainmri.evaluation.kinds import doubt_sentence, look_sentence
    from brainmri.evaluation.sequence import Look
    from brainmri.io.sequence import UNKNOWN

    kinds = model.uncertainty.kinds if model.uncertainty else None
    images = outside = doubtful = 0
    rare: Counter[Look] = Counter()
    with out.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            images += 1
            outside += row["out_of_distribution"] == "true"
            doubtful += row["type_doubtful"] == "true" and row["out_of_distribution"] != "true"
            if row["few_seen"] == "true":
                rare[Look(row["sequence"], row["view"], row["sequence_from"], row["view_from"])] += 1
            if images <= SHOWN:
                where = f" ({row['plane']} {row['slice']})" if row["patient"] else ""
                share = f"{100 * float(row['p_' + row['predicted']]):.1f} %"
                unlike = ", OUT OF DISTRIBUTION" if row["out_of_distribution"] == "true" else ""
                doubt = ", type doubtful" if row["type_doubtful"] == "true" else ""
                seen = ", ".join(value for value in (row["sequence"], row["view"]) if value != UNKNOWN)
                print(f"{row['path']}{where}: {row['predicted']} {share}{unlike}{doubt}" + f" [{seen}]" * bool(seen))
    if images > SHOWN:
        print(f"... and {images - SHOWN:,} more")
    if doubtful:
        print(f"On {doubtful:,} of {images:,} images: {doubt_sentence(False, kinds)}")
    for look, count in rare.most_common(SHOWN):
        print(f"On {count:,} of {images:,} images: {look_sentence(look, kinds)}")
    patients, scans = _count(out.parent / OTHERS[0], tell=True), _count(out.parent / OTHERS[1], tell=False)
    rejected = _tell_rejected(out.parent / OTHERS[2])
    told = [f"{counted(images, 'image')} classified", f"{outside:,} out of distribution"]
    told += [counted(scans, "volume or series", "volumes and series")] * bool(scans)
    told += [counted(patients, "patient")] * bool(patients)
    told += [f"{rejected:,} rejected" + f" (reasons in {out.parent / OTHERS[2]})" * bool(rejected)]
    written = f"{out} and {OTHERS[0]} beside it" if patients else str(out)
    print(f"{', '.join(told)}. Wrote {written}")
    return 1 if rejected or not images else 0


def _count(file: Path, *, tell: bool) -> int:
    """Rows of a table of answers, of which the first are told, if they are."""
    count = 0
    with file.open(encoding="utf-8", newline="") as stream:
        for count, row in enumerate(csv.DictReader(stream), 1):
            if tell and count <= SHOWN:
                print(_patient(row))
    if tell and count > SHOWN:
        print(f"... and {count - SHOWN:,} more in {file.name}")
    return count


def _tell_rejected(file: Path) -> int:
    """Rows of the table of what was rejected; each reason is told once, with the first of its files."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    with file.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            first.setdefault(row["reason"], row["path"])
            counts[row["reason"]] += 1
    for reason, count in counts.most_common(SHOWN):
        print(f"rejected {first[reason]}" + f" and {count - 1:,} more" * (count > 1) + f": {reason}")
    if len(counts) > SHOWN:
        print(f"... and for {len(counts) - SHOWN:,} more reasons, in {file.name}")
    return counts.total()


def _patient(row: dict[str, str]) -> str:
    """What is said of a patient."""
    share = f"{100 * float(row['p_' + row['predicted']]):.1f} %"
    scans = f" ({row['scans']} files or series)" if row["scans"] != "1" else ""
    told = [f"=> {row['patient']}{scans}: {row['predicted']} {share}"]
    if row["type_doubtful"] == "true":
        told.append("type doubtful")
    if row["tumour_probability"]:
        against = f" (threshold {100 * float(row['threshold']):.1f} %)" if row["threshold"] else ""
        told.append(f"any tumour {100 * float(row['tumour_probability']):.1f} %{against}")
    if row["out_of_distribution"]:
        told.append(f"{row['out_of_distribution']} of {row['slices']} slices OUT OF DISTRIBUTION")
    return ", ".join([*told, f"look first at {row['most_suspicious']}"])
