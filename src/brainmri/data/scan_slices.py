"""The slices of scans, drawn by `brainmri.io`, chosen, labelled by lesion masks and put aside for writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from brainmri.data.checking import IMAGE_COLUMNS, Checked, CheckedFile, in_threads, put_aside
from brainmri.data.masks import polygons_of
from brainmri.data.scan_options import ScanOptions, spread
from brainmri.data.scans import NamedScan, Scans
from brainmri.data.standardize import SOLID
from brainmri.io.geometry import PLANES
from brainmri.io.limits import UploadError
from brainmri.io.mask import Mask
from brainmri.io.nifti import LIKE_A_MASK
from brainmri.io.notes import Notes
from brainmri.io.read import CheckedImage, check_array
from brainmri.io.scan import Scan
from brainmri.schemas import ScanSettings

# Slices of scans without a mask, beside those of others with one: through the brain, as lesions are.
HEAD_SHARE = 0.5  # of the head's largest slice among these; smaller ones show little of the brain
BRAIN = 130.0  # mm below the top of the head, where axial slices reach the base of the skull; the neck lies below
TOP_SHARE = 0.1  # of the largest slice, from which an axial slice belongs to the head and is no air with noise
NO_LESION = "Its lesion mask shows no lesion of {area:g} mm² in any slice."


@dataclass(frozen=True)
class Drawn:
    """What was made of scans.

    Attributes:
        checked: the slices, as `check_files` gives files. outlines: columns path and polygon; None without masks.
        left_out: slices that a mask gave no label. notes: what was to be said of scans, and of how many.
    """

    checked: Checked
    outlines: pd.DataFrame | None
    left_out: int
    notes: dict[str, int]


@dataclass(frozen=True)
class _Chosen:
    index: int
    label: str
    lesion: NDArray[np.bool_] | None = field(default=None, repr=False)


@dataclass
class _Collected:
    """What is gathered while scans are drawn, one after the other."""

    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    outlines: list[tuple[str, str]] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)
    left_out: int = 0


def draw_slices(scans: Scans, options: ScanOptions, staged: Path) -> Drawn:
    """Draw the slices that `options` choose, one scan in memory at a time; show a progress bar in a terminal.

    Raises:
        ValueError: if not one slice is usable (the first reasons are listed).
    """
    found = _Collected()
    kept: list[CheckedFile] = []
    usable: list[int] = []
    for row, result in in_threads(_jobs(scans, options, staged, found)):
        if isinstance(result, CheckedFile):
            kept.append(result)
            usable.append(row)
        else:
            found.rejected.append((found.rows[row][0], result))
    rejected = pd.concat(
        [scans.rejected, pd.DataFrame(found.rejected, columns=["path", "reason"])], ignore_index=True
    ).sort_values("path", kind="stable", ignore_index=True)
    if not kept:
        first = "; ".join(f"{path}: {reason}" for path, reason in rejected.head(3).itertuples(index=False))
        raise ValueError(f"not one usable slice in {len(scans.scans)} scans" + (f" ({first})" if first else ""))
    table = pd.DataFrame(
        [(*found.rows[row], str(staged / f"{row:08d}")) for row in usable],
        columns=["path", "label", "source_split", "group", "site", "staged"],
    ).assign(**{name: [getattr(image, name) for image in kept] for name in IMAGE_COLUMNS})
    thumbnails, contents = (np.stack([getattr(image, name) for image in kept]) for name in ("thumbnail", "content"))
    outlines = None
    if options.masks is not None:
        outlines = pd.DataFrame(found.outlines, columns=["path", "polygon"])
        outlines = outlines[outlines["path"].isin(table["path"])]
    return Drawn(Checked(table, thumbnails, contents, rejected), outlines, found.left_out, found.notes.counted())


def settings_of(options: ScanOptions, scans: Scans, drawn: Drawn) -> ScanSettings:
    """What dataset.json says of it."""
    return ScanSettings(
        plane=options.plane,
        slices=options.slices,
        masks=options.masks is not None,
        lesion_area_mm2=options.lesion_area if options.masks is not None else None,
        no_lesion_label=options.no_lesion_label,
        site=options.site,
        keyed=options.id_key is not None,
        scans=len(scans.scans),
        left_out_slices=drawn.left_out,
        burnt_in_scans=sum(scan.files.burnt_in for scan in scans.scans),
        burnt_in=[scan.name for scan in scans.scans if scan.files.burnt_in],
        notes=drawn.notes,
    )


def _jobs(
    scans: Scans, options: ScanOptions, staged: Path, found: _Collected
) -> Iterator[tuple[int, Callable[[], CheckedFile | str]]]:
    """A job for each chosen slice that could be drawn; what could not is gathered in `found`."""
    for named in tqdm(scans.scans, desc="drawing slices", unit="scan", disable=None):
        try:
            scan = named.files.open()
            plane = _plane(scan, options.plane)
            mask = named.files.mask() if named.files.mask else None
            if LIKE_A_MASK in scan.notes:
                raise UploadError(f"{LIKE_A_MASK} With --masks it tells where the lesions of a scan are.")
            chosen = _chosen(named, scan, plane, mask, options, found)
        except UploadError as error:
            found.rejected.append((named.name, str(error)))
            continue
        found.notes.add(scan.notes)
        for one in chosen:
            path = f"{named.name}#{plane}-{one.index:04d}"
            try:
                image = scan.image(plane, one.index)
            except UploadError as error:
                found.rejected.append((path, str(error)))
                continue
            row = len(found.rows)
            found.rows.append((path, one.label, named.split, named.group, named.site))
            if one.lesion is not None:
                found.outlines += [(path, polygon) for polygon in polygons_of(one.lesion)]
            yield row, partial(put_aside, partial(_image, image, scan.kind), staged / f"{row:08d}")


def _image(image: Image.Image, kind: str) -> CheckedImage:
    return replace(check_array(np.asarray(image)), format=kind)


def _plane(scan: Scan, wanted: str) -> str:
    if wanted == "acquired":
        return scan.planes[0]
    if wanted not in scan.planes:
        known = "in another plane" if scan.planes[0] != "slice" else "in a plane that its header does not tell"
        raise UploadError(f"It was acquired {known}, and --plane {wanted} takes slices of that plane only.")
    return wanted


def _chosen(
    named: NamedScan, scan: Scan, plane: str, mask: Mask | None, options: ScanOptions, found: _Collected
) -> list[_Chosen]:
    count = scan.count(plane)
    places = spread(count, options.step)
    if mask is None:
        if options.slices not in ("mask", "largest-lesion"):
            return [_Chosen(index, named.label) for index in places]
        brain = _brain(scan, plane)
        if options.slices == "largest-lesion":
            brain = [brain[len(brain) // 2]]
        return [_Chosen(index, named.label) for index in brain]
    areas = mask.areas(plane)
    lesion = (areas > 0) & (areas >= options.lesion_area)
    label = options.lesion_label or named.label
    if not lesion.any() and (options.no_lesion_label is None or options.slices == "largest-lesion"):
        raise UploadError(NO_LESION.format(area=options.lesion_area))
    if options.slices == "largest-lesion":
        places = range(int(areas.argmax()), int(areas.argmax()) + 1)
    chosen = [_Chosen(index, label, mask.slice(plane, index)) for index in places if lesion[index]]
    if options.no_lesion_label is not None and options.slices != "largest-lesion":
        chosen += [_Chosen(index, options.no_lesion_label) for index in places if areas[index] == 0]
    found.left_out += len(places) - len(chosen)
    return sorted(chosen, key=lambda one: one.index)


def _brain(scan: Scan, plane: str) -> list[int]:
    """The slices of a volume that show much of the brain, so far as the outline of the head tells."""
    heads = np.array([_head(scan, plane, index) for index in range(scan.count(plane))])
    within = np.ones(len(heads), bool)
    if plane == "axial" and (between := _between(scan, plane)):
        top = np.flatnonzero(heads >= TOP_SHARE * heads.max())[-1]
        within = (top - np.arange(len(heads))) * between <= BRAIN
    return np.flatnonzero(within & (heads >= HEAD_SHARE * heads[within].max())).tolist()


def _between(scan: Scan, plane: str) -> float | None:
    """The distance of the slices of a plane of a volume, in mm."""
    if scan.spacing is None or scan.planes[0] not in PLANES:
        return None
    through = PLANES.index(scan.planes[0])
    axes = [axis for axis in range(3) if axis != through] + [through]
    return dict(zip(axes, scan.spacing, strict=True))[PLANES.index(plane)]


def _head(scan: Scan, plane: str, index: int) -> int:
    """The pixels of a slice that are no air."""
    try:
        return int((scan.slice(plane, index) > SOLID).sum())
    except UploadError:
        return 0
