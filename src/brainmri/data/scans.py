"""The layouts `dicom` and `nifti`: the scans below a folder under names that tell nobody, and what is said of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from brainmri.data.checking import NO_LABEL
from brainmri.data.pseudonyms import pseudonym, read_key
from brainmri.data.scan_files import Listing, ScanFiles, find_dicom, find_nifti
from brainmri.data.scan_options import ScanOptions
from brainmri.data.scan_sources import SourceFiles
from brainmri.data.scan_tables import NOT_IN_TABLE, Namer
from brainmri.data.tables import COLUMNS, label_tables
from brainmri.io.limits import UploadError
from brainmri.io.notes import STUDY
from brainmri.io.scan import natural
from brainmri.wording import counted

NO_MASK = "No lesion mask lies beside it, though others of its class have one."
FEW = 3  # patients of a class, below which it cannot be split
LINKAGE = ["source", "path", "patient", "site"]


@dataclass(frozen=True)
class NamedScan:
    """A scan under names that tell nobody.

    Attributes:
        name: its place among all, and a keyed hash. files: what it is read from.
        label: its class; "" where its mask alone tells it. split: of the source, or "".
        group: the patient as a keyed hash. site: a neutral name, or "".
    """

    name: str
    files: ScanFiles
    label: str
    split: str
    group: str
    site: str


@dataclass(frozen=True)
class Scans:
    """What a source holds.

    Attributes:
        scans: in the order of their paths.
        rejected: columns path (a name as of `NamedScan`) and reason, of files that are no scan to use.
        files: number of files that were looked at.
        notes: sentences for the terminal. linkage: which file and patient stands behind each name.
    """

    scans: list[NamedScan]
    rejected: pd.DataFrame
    files: int
    notes: list[str]
    linkage: pd.DataFrame = field(repr=False)

    def table(self) -> pd.DataFrame:
        """A row for each scan, with the columns of a layout's table."""
        rows = [(scan.name, scan.label, scan.split, scan.group, scan.site) for scan in self.scans]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def sentence(self, layout: str) -> str:
        """What was found, for the terminal."""
        patients = len({scan.group for scan in self.scans})
        found = counted(len(self.scans), "scan"), counted(patients, "patient")
        text = f"layout {layout}: {counted(self.files, 'file')}, {found[0]} of {found[1]}"
        sites: dict[str, set[str]] = defaultdict(set)
        for scan in self.scans:
            sites[scan.site].add(scan.group)
        if len(sites) > 1:
            text += "; " + ", ".join(f"{site or 'no site'}: {len(sites[site])} patients" for site in sorted(sites))
        return text


@dataclass(frozen=True)
class _Known:
    files: ScanFiles
    label: str
    patient: str
    site: str
    split: str


def find_scans(
    source: Path,
    below: SourceFiles,
    layout: str,
    options: ScanOptions,
    groups: Path | None = None,
    sites: Path | None = None,
) -> Scans:
    """Look at every file below `source`, and say of each scan what class, patient and site it has.

    Args:
        below: its files, which the scans are read from later.
        layout: "dicom" or "nifti". groups, sites: tables by path or patient, of the columns group_id and site.

    Raises:
        ValueError: if no scan can be used, a table or setting does not fit, or what is taken for classes are patients.
    """
    if layout == "dicom" and options.masks is not None:
        raise ValueError(
            "--masks: lesion masks are read of NIfTI volumes only: convert the series together with their masks "
            "(dcm2niix does), and use --layout nifti"
        )
    key = read_key(options.id_key)
    namer = Namer(source, [file.path for file in below.files], options, groups, sites)
    own = {Path(file).resolve() for file in (options.labels, options.id_key, groups, sites) if file is not None}
    files = [file for file in below.files if (source / file.path).resolve() not in own]
    if layout == "dicom":
        found = find_dicom(files, options.series, options.site)
    else:
        found = find_nifti(files, options.series, options.masks)
    found.rejected += below.closed
    known, guessed = _known(found, namer)
    notes = namer.notes()
    if not known:
        reasons = Counter(reason for _, reason in found.rejected).most_common(3)
        said = "; ".join(f"{reason} ({count})" for reason, count in reasons)
        left = f"; {found.left_out} are left out by --series" if found.left_out else ""
        among = counted(len(files), "file")
        raise ValueError(f"{source}: no {layout} scan can be used among {among}{left}. {said}".rstrip(". "))
    _check_classes(known, options, source)
    notes += _notes(found, known, guessed, layout)
    names = _neutral(known) if sites is None else {one.site: one.site for one in known}
    named, rejected, linkage = _named(known, found.rejected, key, names)
    return Scans(named, rejected, len(files), notes, linkage)


def check_linkage(file: Path | None, source: Path, out: Path, overwrite: bool) -> None:
    """Raises ValueError where the table that names patients must not be written."""
    if file is None:
        return
    place = file.resolve()
    if place.is_relative_to(out) or place.is_relative_to(source):
        raise ValueError(f"--linkage {file}: it names patients: keep it outside of the source and of the output folder")
    if place.exists() and not overwrite:
        raise ValueError(f"--linkage {file} exists already: choose another file, or replace it with --overwrite")
    if not place.parent.is_dir():
        raise ValueError(f"--linkage {file}: there is no folder {place.parent}")


def _known(found: Listing, namer: Namer) -> tuple[list[_Known], int]:
    """The scans that have all they need, and how many of them have a patient of their own for want of a name."""
    known = []
    guessed = 0
    for files in found.scans:
        try:
            raw, said = namer.patient(files.paths, files.patient)
            label = namer.label(files.paths, raw)
            split = namer.split(files.paths[0])
        except UploadError as error:
            found.rejected += [(path, str(error)) for path in files.paths]
            continue
        patient = namer.group(files.paths, raw)
        guessed += not said and patient == raw
        if not label and not (files.mask and namer.options.lesion_label):
            found.rejected += [(path, NOT_IN_TABLE if namer.labels else NO_LABEL) for path in files.paths]
            continue
        known.append(_Known(files, label, patient, namer.site(files.paths, raw) if namer.sites else files.site, split))
    masked = {one.label for one in known if one.files.mask}
    lacking = [one for one in known if one.label in masked and not one.files.mask]
    found.rejected += [(path, NO_MASK) for one in lacking for path in one.files.paths]
    kept = [one for one in known if one.files.mask or one.label not in masked]
    return sorted(kept, key=lambda one: natural(one.files.paths[0])), guessed


def _check_classes(known: list[_Known], options: ScanOptions, source: Path) -> None:
    """Raises ValueError if the folders that are taken for classes are those of patients; without naming one."""
    if len({one.patient for one in known}) == 1:
        raise ValueError(
            f"all {len(known)} scans have one and the same patient id, as where it was removed: say with "
            "--patient_level N which folder names the patient, or give --groups FILE (file_name, group_id)"
        )
    patients: dict[str, set[str]] = defaultdict(set)
    for one in known:
        patients[one.label].add(one.patient)
    counts = sorted(len(found) for found in patients.values())
    if options.labels is None and options.class_level and len(counts) > 1 and counts[len(counts) // 2] < FEW:
        tables = label_tables(source)
        raise ValueError(
            f"{len(counts)} folders stand for classes, and most hold fewer than {FEW} patients, too few to split: if "
            "they are patients, put folders of classes above them, or say with --label_level N which folder names the "
            "class, with --labels FILE (a CSV of patient or file_name, and label), or with --masks and --lesion_label "
            "where lesions are" + "".join(f". A table lies there; {columns}" for columns in tables.values())
        )


def _notes(found: Listing, known: list[_Known], guessed: int, layout: str) -> list[str]:
    labels = defaultdict(set)
    for one in known:
        labels[one.patient].add(one.label)
    notes = []
    if found.left_out:
        notes.append(f"{found.left_out} scans are left out by --series")
    if guessed:
        notes.append(f"{guessed} scans name no patient: each counts as one of its own (--groups FILE tells better)")
    studies = sum(one.patient.startswith(STUDY) for one in known)
    if layout == "dicom" and studies:
        notes.append(
            f"{studies} scans have no PatientID, or one like ANON: each study counts as a patient (--groups FILE tells "
            "better)"
        )
    if several := sum(len(found) > 1 for found in labels.values()):
        notes.append(
            f"{several} patients stand under more than one label. Where they are different persons of one id or folder "
            "name, give --groups FILE"
        )
    return notes


def _neutral(known: list[_Known]) -> dict[str, str]:
    """A name for each site: site-1 has the most patients."""
    patients: dict[str, set[str]] = defaultdict(set)
    for one in known:
        if one.site:
            patients[one.site].add(one.patient)
    ordered = sorted(patients, key=lambda site: -len(patients[site]))
    return {"": ""} | {site: f"site-{number}" for number, site in enumerate(ordered, 1)}


def _named(
    known: list[_Known], rejected: list[tuple[str, str]], key: bytes, sites: dict[str, str]
) -> tuple[list[NamedScan], pd.DataFrame, pd.DataFrame]:
    """The scans and the rejected files, numbered together in the order of their paths."""
    entries: list[tuple[str, _Known | str]] = [(one.files.paths[0], one) for one in known]
    entries += list(rejected)
    scans, reasons, linkage = [], [], []
    for number, (path, entry) in enumerate(sorted(entries, key=lambda pair: natural(pair[0])), 1):
        if isinstance(entry, str):
            name = f"{number:05d}-{pseudonym(key, path)}"
            reasons.append((name, entry))
            linkage.append((name, path, "", ""))
            continue
        name = f"{number:05d}-{pseudonym(key, entry.files.identity)}"
        group, site = pseudonym(key, entry.patient), sites[entry.site]
        scans.append(NamedScan(name, entry.files, entry.label, entry.split, group, site))
        linkage += [(name, one, entry.patient, entry.site) for one in entry.files.paths]
    return scans, pd.DataFrame(reasons, columns=["path", "reason"]), pd.DataFrame(linkage, columns=LINKAGE)
