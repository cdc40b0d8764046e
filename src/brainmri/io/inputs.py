"""What a user points at (files, folders, ZIP files) -> the scans in it, and their slices one after the other."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from brainmri.errors import did_you_mean, paths_like
from brainmri.io.archive import Archives
from brainmri.io.decode import PLANE
from brainmri.io.limits import LOCAL, Limits, UploadError
from brainmri.io.open import beginning, files_below, is_archive, read_file
from brainmri.io.scan import Part, Read, Scan, Stack, natural, open_file, open_series
from brainmri.io.sequence import by_words
from brainmri.io.sniff import HALF, is_dicom, is_half


@dataclass(frozen=True)
class Rejected:
    """A file that cannot be used. path: as the user named it, or below what was named. reason: a sentence."""

    path: str
    reason: str


@dataclass(frozen=True)
class Slice:
    """One slice to look at.

    Attributes:
        path: of its file, as the user named it, or below what was named (FOLDER/a.png, FILE.zip/a.png).
        plane: "axial", "coronal", "sagittal", or "slice" where nobody says which.
        index: in the plane, from 0.
        patient: what it shares with the other slices of its patient, or of its scan where nobody says whose it is; ""
            for an image on its own.
        image: upright, mode "L" or "RGB", square pixels.
        notes: of its scan (`Scan.notes`), with the first slice only.
        scan: what it shares with the other slices of its series or volume; "" for an image on its own.
        sequence: of its scan, by the header, else by words of the name of a NIfTI file; "" where neither tells it.
    """

    path: str
    plane: str
    index: int
    patient: str
    image: Image.Image = field(repr=False)
    notes: tuple[str, ...] = ()
    scan: str = ""
    sequence: str = ""


@dataclass(frozen=True)
class Input:
    """A scan that was found, not opened yet.

    Attributes:
        path: of its file, or of the first file of its series. scan: as of `Slice`, of a series; "" for all else.
        reads: of each file. parts: of a DICOM series, else empty. problem: why it cannot be used, or "".
        person: what a DICOM file says of whose it is (`PatientHeader.person`). It is never shown.
        patient: the name of that, as of `Slice`; "" where nobody gave one.
    """

    path: str
    scan: str
    reads: tuple[Read, ...] = field(repr=False)
    parts: tuple[Part, ...] = field(default=(), repr=False)
    problem: str = ""
    person: str = field(default="", repr=False)
    patient: str = ""

    def open(self) -> Scan | Rejected:
        """The scan, or what is wrong with it."""
        try:
            if self.problem:
                raise UploadError(self.problem)
            return open_series(self.parts)[0] if self.parts else named_scan(open_file(self.reads[0]), self.path)
        except UploadError as error:
            return Rejected(self.path, str(error))

    def files(self, scan: Scan) -> list[str]:
        """The path of the file of each slice of its first plane."""
        return [part.name for part in open_series(self.parts)[1]] if self.parts else [self.path] * len(scan)

    def slices(self) -> Iterator[Slice | Rejected]:
        """The slices of the acquired plane in their order, and in its place each one that cannot be drawn."""
        scan = self.open()
        if isinstance(scan, Rejected):
            yield scan
            return
        if scan.kind == "NIfTI":
            from brainmri.io.nifti import LIKE_A_MASK

            if LIKE_A_MASK in scan.notes:
                yield Rejected(self.path, LIKE_A_MASK)
                return
        plane, notes = scan.planes[0], scan.notes
        for index, path in enumerate(self.files(scan)):
            name = self.scan or path * (len(scan) > 1)
            try:
                yield Slice(
                    *(path, plane, index, self.patient or name, scan.image(plane, index), notes, name, scan.sequence)
                )
                notes = ()
            except UploadError as error:
                where = "" if self.parts or len(scan) == 1 else f"slice {index}: "
                yield Rejected(path, where + str(error))


def named_scan(scan: Scan, path: str) -> Scan:
    """The scan of a file, its sequence told by the file's name where a NIfTI header does not tell it (BIDS does so)."""
    if scan.kind != "NIfTI" or scan.sequence:
        return scan
    return replace(scan, sequence=by_words(Path(path).name.split(".")[0]))


def existing(path: Path | str) -> Path:
    """A file or folder that is there.

    Raises:
        FileNotFoundError: if it is not; says which ones have names like it.
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"{path}: no such file or folder{did_you_mean(list(map(str, paths_like(place))))}")
    return place


class _File(NamedTuple):
    """name: as it was named, or below that. read, first: all of its bytes, and the first of them. place: its INPUT."""

    name: str
    read: Read
    first: Read
    place: int


Key = tuple[int, str, str]  # place, folder and UID of the slices of a series


@contextmanager
def found_inputs(places: Iterable[Path | str], limits: Limits = LOCAL) -> Iterator[list[Input]]:
    """Every scan in these files, folders and ZIP files, in the order of the places and of the names inside them.

    The DICOM files that belong to one series are one scan, wherever they lie. Hidden files and what systems leave in
    folders are left out; every other file is an input, so that nothing is lost without a word. A file that several
    places name is taken once, where it comes first. They can be opened as long as the context lasts.

    Raises:
        FileNotFoundError: if a place is not there.
    """
    found = [existing(place) for place in places]
    taken: set[str] = set()
    with Archives(limits) as archives:
        yield _with_series(
            [one for number, place in enumerate(found) for one in _files(place, number, limits, archives, taken)],
            limits,
        )


def _files(place: Path, number: int, limits: Limits, archives: Archives, taken: set[str]) -> Iterator[_File | Input]:
    """The files of a place that are not `taken`, and in the order of their names what cannot be opened."""
    for path in (file for file, _ in files_below(place)) if place.is_dir() else [place]:
        name = str(path)
        if (known := os.path.normpath(path.absolute())) in taken:
            continue
        taken.add(known)
        if not is_archive(path):
            yield _File(name, partial(read_file, path, limits.file_bytes), partial(beginning, path), number)
            continue
        try:
            members = archives.members(path)
        except UploadError as error:
            yield Input(name, "", (), problem=str(error))
            continue
        if not members:
            yield Input(name, "", (), problem="The ZIP file holds no files.")
        for member in members:
            read = partial(archives.read, path, member)
            yield _File(f"{name}/{member.path.as_posix()}", read, partial(archives.beginning, path, member), number)


def _with_series(files: Iterable[_File | Input], limits: Limits) -> list[Input]:
    """An input for each file, and one for the DICOM files of one series, at the place of the first.

    A series may lie in several folders, as CDs hold it, and in several places that were named. What stands in two of
    them at the same place in the head is a copy, which stays a scan of its own.
    """
    series: dict[Key, list[Part]] = defaultdict(list)
    persons: dict[Key, str] = {}
    order: list[Input | Key] = []
    found = list(files)
    names = {file.name.casefold() for file in found if isinstance(file, _File)}
    for file in found:
        if isinstance(file, Input):
            order.append(file)
            continue
        if is_half(file.name, names):
            order.append(Input(file.name, "", (file.read,), problem=HALF))
            continue
        part, person = _part_of_series(file.name, file.read, limits) if is_dicom(file.first()) else ("", "")
        if isinstance(part, str):
            order.append(Input(file.name, "", (file.read,), problem=part, person=person))
            continue
        key = (file.place, str(Path(file.name).parent), part.series)
        persons.setdefault(key, person)
        if key not in series:
            order.append(key)
        series[key].append(part)
    order = _joined(series, order)
    folders = {key: _folder(parts) for key, parts in series.items()}
    several = Counter(folders.values())
    inputs = []
    for one in order:
        if isinstance(one, Input):
            inputs.append(one)
            continue
        parts = tuple(series[one])
        folder = folders[one] if several[folders[one]] == 1 else parts[0].name
        alone = len(parts) == 1
        reads = tuple(part.read for part in parts)
        name = "" if alone else folder
        inputs.append(Input(parts[0].name, name, reads, () if alone else parts, person=persons[one]))
    return inputs


def _joined(series: dict[Key, list[Part]], order: list[Input | Key]) -> list[Input | Key]:
    """`order` without the folders whose slices went to those of the same series in a folder before."""
    first: dict[str, Key] = {}
    kept: list[Input | Key] = []
    for one in order:
        if isinstance(one, Input):
            kept.append(one)
            continue
        whole = first.setdefault(one[2], one)
        if whole != one and not {*_places(series[one])} & {*_places(series[whole])}:
            series[whole] += series.pop(one)
        else:
            kept.append(one)
    return kept


def _places(parts: Iterable[Part]) -> list[tuple[object, ...]]:
    return [(part.place.position, part.place.moment, part.number) for part in parts]


def _told(data: bytes) -> tuple[str, str]:
    """Why a DICOM file is no slice of an MRI to classify, or "", and whose it is, as far as its header tells."""
    from brainmri.io.patient_header import read_patient_header  # late: it imports pydicom

    try:
        header = read_patient_header(data)
    except UploadError:  # its slice may be drawn all the same, and is then told by what the pixels show
        return "", ""
    return header.unsuited, header.person


def _folder(parts: Iterable[Part]) -> str:
    """The folder that all files of a series are in."""
    folders = [str(Path(part.name).parent) for part in parts]
    try:
        return os.path.commonpath(folders) or "."
    except ValueError:  # one of two places was named from the root on, the other was not
        return folders[0]


def _part_of_series(name: str, read: Read, limits: Limits) -> tuple[Part | str, str]:
    """A DICOM file of one frame that names its series, and whose it is (`PatientHeader.person`).

    In the place of others, why they are no slice of an MRI to classify: "" for what may be one by itself, and for what
    is broken.
    """
    from brainmri.io.dicom import open_dicom  # late: it imports pydicom

    person = ""
    try:
        data = read()
        why, person = _told(data)
        if why:
            return why, person
        frames = open_dicom(data, limits)
    except UploadError:
        return "", person
    series = frames.header.series
    if frames.count > 1 or not series:
        return "", person
    return Part(name, read, frames.place(), series, frames.header.number, frames.header.sequence), person


def read_scan(path: Path | str) -> Scan:
    """Read an image, a DICOM file, a NIfTI volume, or a folder that holds one series.

    The kind of a file is told by its content. A folder holds the files of one DICOM series, one volume, or images that
    are the slices of one scan, in the order of their names.

    Args:
        path: a file (PNG, JPEG, TIFF, BMP, WebP, GIF, DICOM, NIfTI packed or not) or a folder.

    Raises:
        ValueError: if there is no such file, it cannot be read, or a folder holds several scans; names the path.

    Example:
        >>> scan = brainmri.read_scan("head.nii.gz")
        >>> scan.planes[0], scan.spacing, len(scan)
        >>> slice_ = scan.slice(scan.planes[0], 40)   # uint8 (H, W), square pixels
    """
    return scan_and_files(path, any_kind=True)[0]


def scan_and_files(path: Path | str, *, any_kind: bool = False) -> tuple[Scan, list[str], list[str]]:
    """As `read_scan`, with the path of the file of each slice of the first plane, as it was named or below that.

    Last what else lies in the folder and cannot be used: "PATH: REASON". any_kind: whether a file is taken that says
    that it is no slice of an MRI to classify.
    """
    place = existing(path)
    if not place.is_dir() and not is_archive(place):
        try:
            data = read_file(place, LOCAL.file_bytes)
            if not any_kind and is_dicom(data):
                from brainmri.io.patient_header import unsuited  # late: it imports pydicom

                if why := unsuited(data):
                    raise UploadError(why)
            scan = named_scan(open_file(lambda: data), str(path))
        except UploadError as error:
            raise ValueError(f"{path}: {error}") from error
        return scan, [str(path)] * len(scan), []
    with found_inputs([place]) as inputs:
        scans: list[tuple[Scan, list[str]]] = []
        images: list[tuple[Read, str]] = []
        problems: list[str] = []
        for one in sorted(inputs, key=lambda one: natural(one.path)):
            opened = one.open()
            if isinstance(opened, Rejected):
                problems.append(f"{opened.path}: {opened.reason}")
            elif one.parts or len(opened) > 1 or opened.kind == "NIfTI":
                scans.append((opened, one.files(opened)))
            else:
                images.append((one.reads[0], one.path))
    if len(scans) > 1 or (scans and images):
        more = f" and {len(images)} images" if images else ""
        raise ValueError(f"{path}: it holds {len(scans)} series or volumes{more}; give the file or folder of one scan")
    if len(folders := {Path(name).parent for _, name in images}) > 1:
        raise ValueError(f"{path}: it holds images in {len(folders)} folders; give the folder of one scan")
    if scans:
        return *scans[0], problems
    if not images:
        why = f" ({problems[0]})" if problems else ""
        raise ValueError(f"{path}: it holds no slice that can be read{why}")
    stack = Scan("images", (PLANE,), None, Stack([read for read, _ in images], LOCAL))
    return stack, [name for _, name in images], problems
