"""Which label, patient, site and split a scan has: by the folders above it, and by tables that the user gives.

Names of files and folders, and the identifiers in these tables, may tell who somebody is: no message holds one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from brainmri.data.scan_options import ScanOptions
from brainmri.data.tables import SPLIT_NAMES, columns_of, read_csv
from brainmri.io.limits import UploadError

PATHS = ("file_name", "path")  # what the column of paths may be called
PATIENTS = ("patient", "patient_id")
SHOWN = 8  # how many rows a message lists
NOT_IN_TABLE = "No row of the table of labels names it, a folder above it or its patient, or the label there is empty."


class ByScan:
    """One column of a CSV, by the path of a file or of a folder above it, or by patient."""

    def __init__(self, file: Path, column: str, source: Path):
        """Read the table.

        Raises:
            ValueError: if a column is missing, or two rows name the same and say something else.
        """
        self.file, self.column = file, column
        given = read_csv(file, (column,), (*PATHS, *PATIENTS))
        keys = [name for name in (*PATHS, *PATIENTS) if name in given]
        if not keys:
            told = columns_of(given, ("patient", "file_name"))
            raise ValueError(f"{file}: no column {', '.join(PATHS)} or patient, by which a scan is known; {told}")
        if given.empty:
            raise ValueError(f"{file}: the table has no row below its header")
        self.rows: dict[tuple[str, str], tuple[int, str]] = {}
        doubtful = []
        for number, row in enumerate(given.to_dict("records"), 2):
            for name in keys:
                if not (key := str(row[name]).strip()):
                    continue
                place = ("patient", key) if name in PATIENTS else ("path", _below(key, source))
                value = str(row[column]).strip()
                if self.rows.setdefault(place, (number, value))[1] != value:
                    doubtful.append(number)
                break  # a path says more than a patient
        if doubtful:
            raise ValueError(f"{file}: {_listed(doubtful)} another {column} than a row before, of the same scan")
        self.used: set[int] = set()
        self.asked: set[tuple[str, str]] = set()  # path and patient

    def find(self, path: str, patient: str) -> str | None:
        """The value for a file, the longest path first; None where no row names it."""
        self.asked.add((path, patient))
        folders = [parent.as_posix() for parent in PurePosixPath(path).parents]
        for place in (*(("path", name) for name in (path, *folders)), ("patient", patient)):
            if place in self.rows:
                number, value = self.rows[place]
                self.used.add(number)
                return value
        return None

    def note(self) -> str | None:
        """What is to be said of rows that no scan was found for.

        Raises:
            ValueError: if that is every row; says what was compared with what, and which change would make rows fit.
        """
        unused = sorted({number for number, _ in self.rows.values()} - self.used)
        if not self.asked or not unused:
            return None
        if self.used:
            return f"{self.file.name}: {_listed(unused)} no scan that was found{self._advice(unused)}"
        kinds = Counter(kind for kind, _ in self.rows)
        patients = len({patient for _, patient in self.asked})
        compared = {
            "patient": f"{kinds['patient']} patients in it, with the {patients} of the source (PatientID of DICOM "
            "files, of NIfTI files the folder of the patient)",
            "path": f"{kinds['path']} paths in it, with those of the scans of the source and of the folders above "
            "them, from the source on",
        }
        told = "; ".join(compared[kind] for kind in sorted(kinds))
        raise ValueError(
            f"{self.file}: not one of its rows names a scan of the source. Compared were {told}{self._advice(unused)}"
        )

    def _advice(self, unused: Sequence[int]) -> str:
        """What would make most of these rows fit."""
        numbers = set(unused)
        keys = [place for place, (number, _) in self.rows.items() if number in numbers]
        patients = {patient for _, patient in self.asked}
        paths = {path for path, _ in self.asked}
        paths |= {parent.as_posix() for path in paths for parent in PurePosixPath(path).parents} - {"."}
        ends = {"/".join(path.split("/")[k:]) for path in paths for k in range(1, path.count("/") + 1)}
        bare = {PurePosixPath(path).with_suffix("").as_posix() for path in paths}
        folded = {path.casefold() for path in paths}, {patient.strip().casefold() for patient in patients}
        short = {patient.strip().lstrip("0") for patient in patients}
        found = Counter[str]()
        for kind, key in keys:
            fits = {
                "as patients: call their column patient": kind == "path" and key in patients,
                "as paths: call their column file_name": kind == "patient" and key in paths,
                "but for upper and lower case": key.casefold() in folded[kind == "patient"],
                "but for zeros at the front, which spreadsheets drop: keep the ids as text": kind == "patient"
                and key.lstrip("0") in short,
                "without folders at their front: write paths from the source on": kind == "path"
                and any("/".join(key.split("/")[k:]) in paths for k in range(1, key.count("/") + 1)),
                "with more folders at their front: write paths from the source on": kind == "path" and key in ends,
                "with the ending of the file's name": kind == "path" and key in bare,
            }
            found.update(words for words, fit in fits.items() if fit)
        return "".join(f". {count} would fit {words}" for words, count in found.most_common(1))


class Namer:
    """What the user said about where labels, patients, sites and splits stand."""

    def __init__(
        self, source: Path, paths: Sequence[str], options: ScanOptions, groups: Path | None, sites: Path | None
    ):
        """Read the tables; see `ByScan`. paths: of all files of the source."""
        self.options = options
        self.labels = None if options.labels is None else ByScan(options.labels, "label", source)
        self.groups = None if groups is None else ByScan(groups, "group_id", source)
        self.sites = None if sites is None else ByScan(sites, "site", source)
        top = {PurePosixPath(path).parts[0].casefold() for path in paths if "/" in path}
        self.has_splits = options.class_level == 1 and any(SPLIT_NAMES.get(name) == "train" for name in top)

    def patient(self, paths: Sequence[str], header: str = "") -> tuple[str, bool]:
        """Who a scan is of, and whether it was said: else the file stands for a patient of its own.

        Args:
            paths: of its files, relative to the source. header: the PatientID of a DICOM file.

        Raises:
            UploadError: if the user said where it stands, and there is none.
        """
        options = self.options
        if options.patient_pattern is not None:
            matches = [re.search(options.patient_pattern, path) for path in paths]
            found = {(match[1] if match.re.groups else match[0]) or "" if match else "" for match in matches}
            return _one(found, "Its path holds nothing that fits --patient_pattern.", "patients"), True
        if options.patient_level is not None:
            found = {self._folder(path, options.patient_level) for path in paths}
            return _one(found, "It does not lie below a folder of --patient_level.", "patients"), True
        if header:
            return header, True
        below = {self._folder(path, options.class_level + 1) for path in paths}
        if len(below) == 1 and (name := below.pop()):
            return name, True
        return paths[0], False

    def label(self, paths: Sequence[str], patient: str) -> str:
        """The class of a scan; "" where nobody says it.

        Raises:
            UploadError: if its files stand under several labels.
        """
        if self.labels is not None:
            found = {self.labels.find(path, patient) or "" for path in paths}
        else:
            level = self.options.class_level
            found = {self._folder(path, level) if level else "" for path in paths}
        return _one(found, None, "labels")

    def group(self, paths: Sequence[str], patient: str) -> str:
        """The patient that the table of groups names, else `patient`."""
        found = self.groups.find(paths[0], patient) if self.groups else None
        return found or patient

    def site(self, paths: Sequence[str], patient: str) -> str:
        """The site that the table names, or ""."""
        return (self.sites.find(paths[0], patient) or "") if self.sites else ""

    def split(self, path: str) -> str:
        """The part of the source that a file stands in, or ""."""
        return SPLIT_NAMES.get(PurePosixPath(path).parts[0].casefold(), "") if self.has_splits else ""

    def notes(self) -> list[str]:
        """What is to be said once all scans are found.

        Raises:
            ValueError: if a table names none of them.
        """
        return [note for table in (self.labels, self.groups, self.sites) if table and (note := table.note())]

    def _folder(self, path: str, level: int) -> str:
        """The name of a folder above a file: the first below the source, or below its split; "" without one."""
        folders = PurePosixPath(path).parts[:-1]
        if self.has_splits and folders and folders[0].casefold() in SPLIT_NAMES:
            folders = folders[1:]
        return folders[level - 1] if level <= len(folders) else ""


def _one(found: set[str], nothing: str | None, what: str) -> str:
    if len(found) > 1:
        raise UploadError(f"The files of this series stand under several {what}. Put them in one folder.")
    (value,) = found
    if not value and nothing:
        raise UploadError(nothing)
    return value


def _below(path: str, source: Path) -> str:
    """A path of a table, relative to the source."""
    plain = path.replace("\\", "/")
    if Path(plain).is_absolute() and Path(plain).is_relative_to(source):
        plain = Path(plain).relative_to(source).as_posix()
    return PurePosixPath(plain.removeprefix("./")).as_posix()


def _listed(rows: Sequence[int]) -> str:
    """Rows by their numbers: what stands in them is never shown."""
    shown = ", ".join(map(str, rows[:SHOWN])) + (", ..." if len(rows) > SHOWN else "")
    return f"row {shown} names" if len(rows) == 1 else f"{len(rows)} rows ({shown}) name"
