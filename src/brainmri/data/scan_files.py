"""The DICOM series or NIfTI volumes among the files below a folder. Only `brainmri.io` looks into a file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tqdm import tqdm

from brainmri.data.scan_options import STEM
from brainmri.data.scan_sources import SourceFile, SourceFiles
from brainmri.io.limits import LOCAL, UploadError
from brainmri.io.read import IMAGE_SUFFIXES
from brainmri.io.scan import Part, Read, Scan, open_file, open_series
from brainmri.io.sniff import HALF, NIFTI_2_SIZES, NIFTI_SIZES, is_dicom, is_half, kind_of

if TYPE_CHECKING:
    from brainmri.io.mask import Mask
    from brainmri.io.patient_header import PatientHeader

NIFTI_STARTS = (*NIFTI_SIZES, *NIFTI_2_SIZES, b"\x1f\x8b")
SUFFIXES = (".nii.gz", ".nii")
AGAIN = "Its series holds the same slice already, in another file."
SEVERAL_MASKS = "Several masks lie beside it, and its name does not tell which is meant: use {stem} in --masks."
OTHER_GRID = "Its lesion mask has other voxels, or lies elsewhere: save it on the grid of the scan."
NO_SCAN = "It is a lesion mask, and no scan lies beside it."


@dataclass(frozen=True)
class ScanFiles:
    """A scan that was found. Paths are relative to the source, and are never written or shown.

    Attributes:
        paths: of its files. identity: what tells it apart from others.
        patient, site: what the files say; "" for nothing.
        mask: gives the mask of its lesion; None where there is none. burnt_in: whether texts may stand in its pixels.
        open: gives the scan.
    """

    paths: tuple[str, ...] = field(repr=False)
    open: Callable[[], Scan] = field(repr=False)
    identity: str = field(repr=False)
    patient: str = field(default="", repr=False)
    site: str = field(default="", repr=False)
    mask: Callable[[], Mask] | None = field(default=None, repr=False)
    burnt_in: bool = False


@dataclass
class Listing:
    """scans: what was found. rejected: path and reason of every file that is none. left_out: scans of other series."""

    scans: list[ScanFiles] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    left_out: int = 0


def kinds_below(source: Path, most: int = 200) -> Counter[str]:
    """How many of the first files below a folder, or of a ZIP file, are of each kind.

    The kinds are "dicom", "nifti", "pair" (the header of two files, .hdr and .img) and "image".
    """
    found: Counter[str] = Counter()
    with SourceFiles(source) as below:
        for file in below.files[:most]:
            first, path = file.first(), PurePosixPath(file.path)
            if is_dicom(first):
                found["dicom"] += 1
            elif first.startswith(NIFTI_STARTS) and path.name.casefold().endswith(SUFFIXES):
                found["nifti"] += 1
            elif first.startswith(NIFTI_SIZES) and path.suffix.casefold() == ".hdr":
                found["pair"] += 1
            elif path.suffix.casefold() in IMAGE_SUFFIXES:
                found["image"] += 1
    return found


def find_dicom(files: Sequence[SourceFile], series: str | None, site: str) -> Listing:
    """The series among `files`, wherever their files lie, and every file of several frames on its own.

    Args:
        series: a pattern for the descriptions of the series to take, or None. site: one of `SITES`.
    """
    found = Listing()
    parts: dict[tuple[str, str], list[tuple[str, Part, PatientHeader]]] = defaultdict(list)
    seen: dict[tuple[str, str], int] = {}  # where a slice stands in its list
    sizes = {file.path: file.size for file in files}
    others: set[str] = set()
    for file in tqdm(files, desc="looking at files", unit="file", disable=None):
        path = file.path
        try:
            part, header = _dicom_part(file)
        except UploadError as error:
            found.rejected.append((path, str(error)))
            continue
        if header.unsuited:
            found.rejected.append((path, header.unsuited))
            continue
        if series is not None and not any(_fits(text, series) for text in header.descriptions):
            others.add(header.series or path)
            continue
        if part is None or not header.series:
            found.scans.append(_one(path, file.read, header, site))
            continue
        rows = parts[header.series, header.patient]
        same = seen.setdefault((header.series, header.instance), len(rows)) if header.instance else len(rows)
        if same == len(rows):
            rows.append((path, part, header))
        elif file.size > sizes[rows[same][0]]:  # the other one was cut off
            found.rejected.append((rows[same][0], AGAIN))
            rows[same] = (path, part, header)
        else:
            found.rejected.append((path, AGAIN))
    found.scans += [_series(rows, site) for rows in parts.values()]
    found.left_out = len(others)
    return found


def _dicom_part(file: SourceFile) -> tuple[Part | None, PatientHeader]:
    from brainmri.io.dicom import open_dicom
    from brainmri.io.patient_header import read_patient_header

    first = file.first()
    if not is_dicom(first):
        raise UploadError(_other(first, "DICOM"))
    data = file.read()
    frames = open_dicom(data, LOCAL)
    header = read_patient_header(data)
    if frames.count > 1:
        return None, header
    return Part(PurePosixPath(file.path).name, file.read, frames.place(), header.series, frames.header.number), header


def _one(path: str, read: Callable[[], bytes], header: PatientHeader, site: str) -> ScanFiles:
    identity = f"{header.series} {header.instance or path}"
    return ScanFiles((path,), partial(open_file, read), identity, *_of(header, site), burnt_in=header.burnt_in)


def _series(rows: Sequence[tuple[str, Part, PatientHeader]], site: str) -> ScanFiles:
    parts = tuple(part for _, part, _ in rows)
    header = rows[0][2]
    return ScanFiles(
        tuple(path for path, _, _ in rows),
        lambda: open_series(parts)[0],
        header.series,
        *_of(header, site),
        burnt_in=any(one.burnt_in for _, _, one in rows),
    )


def _of(header: PatientHeader, site: str) -> tuple[str, str]:
    place = {"institution": header.institution.casefold(), "scanner": header.scanner}.get(site, "")
    return header.person, place


def find_nifti(files: Sequence[SourceFile], series: str | None, masks: str | None) -> Listing:
    """The volumes among `files`, each with the mask beside it.

    Args:
        series: a pattern for the names of the files to take, or None.
        masks: "{stem}..." for the path of a mask from the folder of its scan, or a pattern of names; None: no masks.
    """
    found = Listing()
    volumes: dict[str, Read] = {}
    names = {file.path.casefold() for file in files}
    for file in files:
        first = file.first()
        if is_half(file.path, names):
            found.rejected.append((file.path, HALF))
        elif first.startswith(NIFTI_STARTS):
            volumes[file.path] = file.read
        else:
            found.rejected.append((file.path, _other(first, "NIfTI")))
    pairs, beside = _pairs(list(volumes), masks)
    used = set()
    for path in volumes:
        if path in beside:
            continue
        mask = pairs[path]
        used.update([mask] if isinstance(mask, str) else mask)
        if series is not None and not _fits(PurePosixPath(path).name, series):
            found.left_out += 1
        elif not isinstance(mask, str):
            found.rejected.append((path, SEVERAL_MASKS))
        else:
            opened = partial(open_file, volumes[path])
            drawn = partial(_mask, volumes[path], volumes[mask]) if mask else None
            found.scans.append(ScanFiles((path,), opened, path, mask=drawn))
    found.rejected += [(path, NO_SCAN) for path in beside if path not in used]
    return found


def _mask(scan: Read, mask: Read) -> Mask:
    from brainmri.io.mask import read_grid, read_mask

    data = mask()
    if not read_grid(data).fits(read_grid(scan())):
        raise UploadError(OTHER_GRID)
    return read_mask(data)


def _pairs(volumes: Sequence[str], masks: str | None) -> tuple[dict[str, str | list[str]], set[str]]:
    """The mask of each volume ("" for none, several where the name does not tell), and all masks."""
    if masks is None:
        return dict.fromkeys(volumes, ""), set()
    if STEM in masks:
        named = {path: _beside(path, masks.replace(STEM, _stem(path))) for path in volumes}
        beside = {mask for path, mask in named.items() if mask != path and mask in set(volumes)}
        pairs: dict[str, str | list[str]] = {path: mask if mask in beside else "" for path, mask in named.items()}
    else:
        beside = {path for path in volumes if _fits(PurePosixPath(path).name, masks)}
        folders: dict[str, list[str]] = defaultdict(list)
        for path in beside:
            folders[PurePosixPath(path).parent.as_posix()].append(path)
        pairs = {path: _likest(path, folders[PurePosixPath(path).parent.as_posix()]) for path in volumes}
    if not beside:
        raise ValueError(
            "--masks: not one volume of the source is a mask by this pattern: it is a path from the folder of a scan "
            f"with {STEM} for the name of the scan's file, or a pattern of the names of masks, such as '*Mask*'"
        )
    return pairs, beside


def _likest(path: str, masks: Sequence[str]) -> str | list[str]:
    """Of the masks in the folder of a volume, the one whose name begins most like its own."""
    if not masks:
        return ""
    alike = {mask: _begins_alike(mask.casefold(), path.casefold()) for mask in masks}
    best = sorted(mask for mask in masks if alike[mask] == max(alike.values()))
    return best[0] if len(best) == 1 else best


def _begins_alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _beside(path: str, name: str) -> str:
    """The path from the source of a file that is named from the folder of another one."""
    parts: list[str] = list(PurePosixPath(path).parent.parts)
    for part in PurePosixPath(name).parts:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _stem(path: str) -> str:
    name = PurePosixPath(path).name
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.casefold().endswith(suffix)), name)


def _fits(text: str, pattern: str) -> bool:
    return fnmatchcase(text.casefold(), pattern.casefold())


def _other(first: bytes, expected: str) -> str:
    """What is said of a file of another kind."""
    try:
        kind = kind_of(first)
    except UploadError as error:
        return str(error)
    shown = {"gzip": "a packed file of an unknown kind"}.get(kind, f"a {kind} file")
    return f"This is {shown}, where {expected} is expected."
