"""A scan: one image, the pages of a file, a volume, or the files of a series, as slices of 8 bits.

Only what tells how slices look and lie is read. A scan never holds a name, a date or another text of its files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainmri.io.decode import PLANE, shared_range
from brainmri.io.geometry import same_direction, view_of
from brainmri.io.limits import LOCAL, Limits, UploadError
from brainmri.io.notes import series_notes
from brainmri.io.open import NESTED, Slices, source_of
from brainmri.io.sniff import kind_of, office_document

if TYPE_CHECKING:
    from brainmri.io.dicom import Frames, Levels, Tally
    from brainmri.io.dicom_header import FrameHeader
    from brainmri.io.nifti import Volume

KEPT_BYTES = 256 * 2**20  # of the files of a series, between the search for their range and the drawing
Read = Callable[[], bytes]  # the bytes of a file here, or of a member of an archive; raises UploadError


@dataclass(frozen=True)
class Scan:
    """What `brainmri.read_scan` gives. It holds no name and no tag of its files.

    Attributes:
        kind: "PNG", "JPEG", "TIFF", "BMP", "WebP", "GIF", "DICOM", "NIfTI", or "images" for a folder of them.
        planes: those that can be drawn, the acquired one first: "axial", "coronal" and "sagittal" of a volume, the one
            of a series, or "slice" where nobody says which it is.
        spacing: distances (mm) between the columns, the rows and the slices of the first plane, as they were acquired.
            None where the file does not say so; the last is None for a single slice of unknown thickness, and where
            what the file says cannot be true.
        notes: what there is to say about the scan, a sentence each: a header that cannot be true, say. Never a text of
            the file.
        sequence: one of `brainmri.io.sequence.SEQUENCES`, by the header of its file; "" where that does not tell it.
    """

    kind: str
    planes: tuple[str, ...]
    spacing: tuple[float, float, float | None] | None
    source: Slices = field(repr=False)
    notes: tuple[str, ...] = ()
    sequence: str = ""

    def count(self, plane: str | None = None) -> int:
        """How many slices a plane has; of the first plane, unless another one is named."""
        return self.source.counts[self._known(plane)]

    def __len__(self) -> int:
        return self.count()

    def slice(self, plane: str | None = None, index: int | None = None) -> NDArray[np.uint8]:
        """One slice: uint8 (H, W), upright, with square pixels; colours become grey.

        Args:
            plane: one of `planes`; the first one if None.
            index: 0 and up; the middle one if None.

        Raises:
            ValueError: if there is no such slice, or it is broken.

        Example:
            >>> scan = brainmri.read_scan("head.nii.gz")
            >>> scan.slice("axial", 40).dtype
            dtype('uint8')
        """
        return np.asarray(self.image(plane, index).convert("L"))

    def image(self, plane: str | None = None, index: int | None = None) -> Image.Image:
        """As `slice`, as an image of mode "L" or "RGB": what a model gets."""
        plane = self._known(plane)
        count = self.source.counts[plane]
        index = count // 2 if index is None else index
        if not 0 <= index < count:
            raise ValueError(f"no slice {index} in the plane {plane}: it has {count}, numbered from 0")
        return self.source.draw(plane, index)

    def _known(self, plane: str | None) -> str:
        if plane is not None and plane not in self.planes:
            raise ValueError(f"no plane {plane}: this scan has {', '.join(self.planes)}")
        return plane or self.planes[0]


@dataclass(frozen=True)
class Stack:
    """The image in each of several files, read when it is asked for; those of more than 8 bits all in one range."""

    reads: Sequence[Read]
    limits: Limits

    @property
    def counts(self) -> dict[str, int]:
        return {PLANE: len(self.reads)}

    @cached_property
    def range(self) -> tuple[float, float]:
        """The values that are drawn black and white."""
        return shared_range((read() for read in self.reads), len(self.reads), self.limits)

    def draw(self, plane: str, index: int) -> Image.Image:
        data = self.reads[index]()
        source = source_of(kind_of(data), data, self.limits, lambda: self.range)
        (plane,) = source.counts
        return source.draw(plane, 0)


@dataclass(frozen=True)
class Part:
    """A file of a series that was looked at.

    Attributes:
        name: to sort by where the file does not say where it lies. place: of its slice.
        series: what tells its series apart from others. number: in it, or None. sequence: as of `Scan`.
    """

    name: str
    read: Read = field(repr=False)
    place: FrameHeader = field(repr=False)
    series: str = field(repr=False)
    number: int | None
    sequence: str = ""


@dataclass(frozen=True)
class Series:
    """The slices of a DICOM series of single frames, read when they are asked for, and drawn in one range."""

    plane: str
    parts: Sequence[Part]
    limits: Limits

    @property
    def counts(self) -> dict[str, int]:
        return {self.plane: len(self.parts)}

    def draw(self, plane: str, index: int) -> Image.Image:
        file = self._kept.get(index) or self._open(index)
        (plane,) = file.counts
        return file.slice(plane, 0, self._levels)

    def _open(self, index: int) -> Frames:
        from brainmri.io.dicom import open_dicom

        return open_dicom(self.parts[index].read(), self.limits)

    @cached_property
    def _levels(self) -> Levels:
        from brainmri.io.dicom import Levels

        return Levels(self._tallies)

    def _tallies(self) -> Iterator[Tally]:
        """Of each file that can be read; a broken one is told where it is drawn."""
        kept = 0
        for index in range(len(self.parts)):
            with suppress(UploadError):
                file = self._open(index)
                yield file.tally()
                kept += file.size
                if kept <= KEPT_BYTES:
                    self._kept[index] = file

    @cached_property
    def _kept(self) -> dict[int, Frames]:
        return {}


def open_file(read: Read, limits: Limits = LOCAL) -> Scan:
    """The scan in one file; its kind is told by content, whatever the name says.

    Raises:
        UploadError: if it cannot be drawn; says what is wrong, without a word of the file itself.
    """
    data = read()
    kind = kind_of(data)
    if kind == "ZIP":
        raise UploadError("This is an Office document." if office_document(data) else NESTED)
    source = source_of(kind, data, limits)
    if kind == "DICOM":
        from brainmri.io.dicom import Frames

        assert isinstance(source, Frames)
        return _one_dicom(source)
    if kind in ("gzip", "NIfTI"):
        from brainmri.io.nifti import Volume

        assert isinstance(source, Volume)
        return _volume(source)
    return Scan(kind, tuple(source.counts), None, source)


def _one_dicom(frames: Frames) -> Scan:
    planes = tuple(frames.counts)
    return Scan("DICOM", planes, frames.spacing(planes[0]), frames, frames.notes, frames.header.sequence)


def _volume(volume: Volume) -> Scan:
    return Scan("NIfTI", volume.planes, volume.spacing, volume, volume.notes, volume.sequence)


def open_series(parts: Sequence[Part], limits: Limits = LOCAL) -> tuple[Scan, list[Part]]:
    """The files of a DICOM series of single frames as one scan, and the files in the order of its slices.

    They are sorted by their position along their common normal, to the patient's right, front or top; where that is not
    known of all, by their number; else by their names.
    """
    from brainmri.io.dicom import distance, shown_spacing

    first = parts[0].place
    view = view_of(first.orientation) if first.orientation else None
    common = view and all(same_direction(first.orientation, part.place.orientation) for part in parts)
    along = [view.along(part.place.position) for part in parts if view and common and part.place.position]
    numbers = [part.number for part in parts]
    order: list[int]
    notes: tuple[str, ...] = ()
    if len(along) == len(parts):
        keys = [(along[k], parts[k].place.moment, numbers[k] or 0, natural(parts[k].name)) for k in range(len(parts))]
        order = sorted(range(len(parts)), key=keys.__getitem__)
        moments = [(*keys[k][1:3], k if numbers[k] is None else 0) for k in order]
        notes = series_notes([along[k] for k in order], moments)
    else:
        known = None not in numbers and len(set(numbers)) == len(parts)
        order = sorted(range(len(parts)), key=lambda k: (numbers[k] if known else 0, natural(parts[k].name)))
    ordered = [parts[k] for k in order]
    plane = view.plane if view and common else PLANE
    alike = len({part.place.pixels for part in ordered}) == 1
    spacing = shown_spacing(ordered[0].place, distance([part.place for part in ordered])) if alike else None
    sequences = {part.sequence for part in ordered}
    sequence = sequences.pop() if len(sequences) == 1 else ""
    return Scan("DICOM", (plane,), spacing, Series(plane, ordered, limits), notes, sequence), ordered


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts slice2 before slice10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
