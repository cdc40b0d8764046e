"""The tables of `brainmri predict`, which grow row by row: after a kill the same command goes on where they end."""

from __future__ import annotations

import csv
import shutil
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from brainmri.data.storage import alone, cache_folder
from brainmri.evaluation.inference import Prediction, row_of
from brainmri.evaluation.sequence import Look
from brainmri.files import UNFINISHED, check_output, digest, made_before, record_output, replace_text
from brainmri.io.inputs import Rejected
from brainmri.schemas import PredictProgress, json_text, read

if TYPE_CHECKING:
    from brainmri.schemas import Pooling

COMMAND = "predict"
PATIENTS, SCANS, REJECTED = "patients.csv", "scans.csv", "rejected.csv"
PROGRESS = "progress.json"
SAVE_S = 1.0  # seconds of work that a kill may cost
AFTER_PROBABILITIES = (
    *("prediction_set", "out_of_distribution", "ood_score", "type_doubtful"),
    *("sequence", "sequence_from", "view", "view_from", "few_seen"),
)
BUFFER = 2**20  # bytes of a table in memory


@dataclass(frozen=True)
class Done:
    """Nothing follows of an input (a file, volume or series). number: of it, from 0."""

    number: int


class PredictionTables:
    """The tables that are being written.

    The row of a volume or series is written as soon as it is done, that of a patient when all of its inputs are, from
    what then stands in the table of predictions, so that it is the same after a kill as without one.
    """

    def __init__(
        self,
        folder: Path,
        predictions: str,
        classes: Sequence[str],
        patients: Sequence[str],
        pooling: Pooling | None,
    ) -> None:
        """Begin, or go on.

        Args:
            folder: that holds nothing else.
            predictions: the name of the largest table.
            classes: of the model.
            patients: of each input, "" where nobody names one.
            pooling: of the model, by which a patient's slices become one answer.
        """
        self.folder, self.pooling = folder, pooling
        columns = ["path", "plane", "slice", "patient", "predicted", *(f"p_{name}" for name in classes)]
        self.predictions = predictions
        self.columns = {
            predictions: [*columns, *AFTER_PROBABILITIES],
            PATIENTS: ["patient", *answer_columns(classes), "scans"],
            SCANS: ["scan", "patient", *answer_columns(classes)],
            REJECTED: ["path", "reason"],
        }
        self.progress = self._progress()
        self._remaining = Counter(patient for patient in patients[self.progress.inputs :] if patient)
        self._open: dict[str, list[Prediction]] = defaultdict(list)
        self._scan: list[Prediction] = []  # of the input that is being classified
        self._name = self.progress.scan  # of that volume or series
        self._scans = Counter(self.progress.scans)
        self._files: dict[str, IO[str]] = {}
        self._saved = time.monotonic()
        self.finished = False

    def __enter__(self) -> PredictionTables:
        with ExitStack() as opened:
            for name, columns in self.columns.items():
                file = self.folder / name
                before = self.progress.sizes.get(name, 0)
                if before:
                    with file.open("r+b") as whole:
                        whole.truncate(before)
                mode = "a" if before else "w"
                self._files[name] = stream = opened.enter_context(file.open(mode, BUFFER, encoding="utf-8", newline=""))
                if not before:
                    csv.writer(stream, lineterminator="\n").writerow(columns)
            self._reopen()
            self._closing = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever ends it, what was done is kept."""
        self.save()
        self._closing.close()

    def add(self, one: Prediction) -> None:
        """The next slice."""
        row = {name: text(value) for name, value in row_of(one).items()}
        self._write(self.predictions, row)
        self._scan.append(prediction_from(row))
        self._name = one.scan
        if one.patient:
            self._open[one.patient].append(self._scan[-1])
        self._next_slice()

    def reject(self, one: Rejected) -> None:
        """The next slice or file, which could not be used."""
        self._write(REJECTED, {"path": one.path, "reason": one.reason})
        self._next_slice()

    def done(self, one: Done, patient: str) -> None:
        """An input is done. patient: that it names, or ""."""
        if patient:
            self._remaining[patient] -= 1
        if self._scan:
            self._scans[self._scan[0].patient] += 1
        if self._scan and self._name:
            names = {"scan": self._name, "patient": self._scan[0].patient}
            self._write(SCANS, names | self._answer(self._scan))
        self._scan, self._name = [], ""
        # A volume that names no patient is one itself.
        for name in [name for name in self._open if self._remaining[name] <= 0]:
            answer = self._answer(self._open.pop(name))
            self._write(PATIENTS, {"patient": name, **answer, "scans": str(self._scans.pop(name))})
        self._advance(one.number + 1, 0)

    def save(self) -> None:
        """From here on the same command goes on."""
        for file in self._files.values():
            file.flush()
        self.progress = self.progress.model_copy(
            update={
                "sizes": {name: file.tell() for name, file in self._files.items()},
                "open": {name: len(rows) for name, rows in self._open.items()},
                "scan": self._name,
                "scan_rows": len(self._scan),
                "scans": {name: self._scans[name] for name in self._open},
                "finished": self.finished,
            }
        )
        replace_text(self.folder / PROGRESS, json_text(self.progress))
        self._saved = time.monotonic()

    def _answer(self, predictions: Sequence[Prediction]) -> dict[str, str]:
        from brainmri.evaluation.pooling import answer_row, patient_prediction  # late: single slices need no pandas

        row = answer_row(patient_prediction(predictions, self.pooling))
        return {name: text(value) for name, value in row.items()}

    def _next_slice(self) -> None:
        self._advance(self.progress.inputs, self.progress.slices + 1)

    def _advance(self, inputs: int, slices: int) -> None:
        self.progress = self.progress.model_copy(update={"inputs": inputs, "slices": slices})
        if time.monotonic() - self._saved >= SAVE_S:
            self.save()

    def _write(self, name: str, row: Mapping[str, str]) -> None:
        csv.DictWriter(self._files[name], self.columns[name], lineterminator="\n").writerow(row)

    def _progress(self) -> PredictProgress:
        """How far it has come; the beginning where a table is shorter than it should be."""
        found = _saved(self.folder)
        files = {name: self.folder / name for name in found.sizes}
        whole = all(file.is_file() and file.stat().st_size >= found.sizes[name] for name, file in files.items())
        return found if whole and set(files) == set(self.columns) else PredictProgress()

    def _reopen(self) -> None:
        """The slices of the patients and the scan that are not complete, from the table of predictions."""
        if not (self.progress.open or self.progress.scan_rows):
            return
        scan = deque[Prediction](maxlen=self.progress.scan_rows)
        last = {name: deque[Prediction](maxlen=count) for name, count in self.progress.open.items()}
        with (self.folder / self.predictions).open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                scan.append(one := prediction_from(row))
                if one.patient in last:
                    last[one.patient].append(one)
        self._scan = list(scan)
        self._open.update((name, list(rows)) for name, rows in last.items())


@contextmanager
def unfinished_tables(out: Path, inputs: str, names: Sequence[str], *, overwrite: bool) -> Iterator[Path | None]:
    """A folder inside `out` to write the tables into, which come to their place when the block ends without an error.

    It stays where the block does not end so, and is given again for the same inputs. None where all is there already.

    Args:
        inputs: the digest of all that the tables depend on.
        names: of the tables.
        overwrite: whether tables of other inputs, finished or not, may be replaced.

    Raises:
        ValueError: if something else is there, and may not be replaced; see `check_output`.
    """
    folder = out / f"{UNFINISHED}{COMMAND}-{inputs}"
    others = [other for other in out.glob(f"{UNFINISHED}{COMMAND}-*/{PROGRESS}") if other.parent != folder]
    if others and not overwrite:
        raise ValueError(
            f"{out} holds unfinished predictions of another model, other inputs or settings: finish them by the "
            "command that began them, give another --out, or --overwrite to drop them"
        )
    if not (folder / PROGRESS).is_file():
        if made_before(out, COMMAND, inputs) and not overwrite:
            yield None
            return
        check_output(out, COMMAND, {"all": inputs}, overwrite=overwrite, names=names)
    fresh = not out.exists()
    lock = cache_folder() / "locks" / f"{COMMAND}-{digest(str(out.resolve()), inputs)}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with alone(lock, f"Waiting for the same command, which is writing into {out} at this moment"):
        if not (folder / PROGRESS).is_file() and made_before(out, COMMAND, inputs) and not overwrite:
            shutil.rmtree(folder, ignore_errors=True)  # the other one has finished meanwhile
            yield None
            return
        folder.mkdir(parents=True, exist_ok=True)
        for other in others:
            shutil.rmtree(other.parent, ignore_errors=True)
        if _saved(folder).finished:  # a kill came while they were moved
            _move(folder, out, inputs, names)
            yield None
            return
        try:
            yield folder
        except BaseException:
            if not _saved(folder).sizes:  # nothing was written
                shutil.rmtree(folder, ignore_errors=True)
                if fresh:
                    out.rmdir()
            raise
        _move(folder, out, inputs, names)


def _saved(folder: Path) -> PredictProgress:
    """How far the tables have come; the beginning where that cannot be told."""
    try:
        return read(folder / PROGRESS, PredictProgress)
    except (OSError, ValueError):
        return PredictProgress()


def _move(folder: Path, out: Path, inputs: str, names: Sequence[str]) -> None:
    for name in names:
        if (folder / name).is_file():  # not where a kill came between two of them
            (folder / name).replace(out / name)
    record_output(out, COMMAND, inputs, list(names))
    shutil.rmtree(folder, ignore_errors=True)


def answer_columns(classes: Sequence[str]) -> list[str]:
    """What patients.csv and scans.csv say of each."""
    return [
        *("predicted", *(f"p_{name}" for name in classes), "tumour_probability", "pooling", "threshold"),
        *("tumour", "interval_low", "interval_high", "slices", "out_of_distribution", "type_doubtful", "few_seen"),
        *("most_suspicious", "carried_by"),
    ]


def patients_of(predictions: Path) -> dict[str, list[Prediction]]:
    """The slices of each patient, in a table of predictions."""
    found: dict[str, list[Prediction]] = defaultdict(list)
    with predictions.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["patient"]:
                found[row["patient"]].append(prediction_from(row))
    return found


def prediction_from(row: Mapping[str, str]) -> Prediction:
    """What a row of predictions.csv tells of a prediction (not whether it is calibrated, thresholds and the time)."""
    plausible = row["prediction_set"]
    return Prediction(
        label=row["predicted"],
        probabilities={name[2:]: float(value) for name, value in row.items() if name.startswith("p_")},
        prediction_set=tuple(plausible.split(";")) if plausible else None,
        out_of_distribution=truth(row["out_of_distribution"]),
        ood_score=float(row["ood_score"]) if row["ood_score"] else None,
        calibrated=False,
        coverage=None,
        ood_threshold=None,
        milliseconds=0.0,
        path=row["path"],
        plane=row["plane"],
        slice=int(row["slice"]),
        patient=row["patient"],
        type_doubtful=truth(row["type_doubtful"]),
        look=Look(row["sequence"], row["view"], row["sequence_from"], row["view_from"]),
        few_seen=truth(row["few_seen"]),
    )


def truth(cell: str) -> bool | None:
    """What `text` made of a truth value."""
    return cell == "true" if cell else None


def text(value: Any) -> str:
    """A cell of a table: 9 significant digits, true and false, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.9g}" if isinstance(value, float) else str(value)
