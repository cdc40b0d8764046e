"""A scan: one image, the pages of a file, a volume, or the files of a series, as slices of 8 bits.

Only what tells how slices look and lie is read. A scan never holds a name, a date or another text of its files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainmri.io.decode import PLANE
from brainmri.io.limits import LOCAL, Limits, UploadError
from brainmri.io.open import NESTED, Slices, source_of
from brainmri.io.sniff import kind_of, office_document

if TYPE_CHECKING:
    from brainmri.io.dicom import Frames, Place

PLANES = ("sagittal", "coronal", "axial")  # whose normals run along x, y and z
LARGEST_RATIO = 20  # of the sides of a pixel; a file that states more is wrong, and drawn as it is
UNLIKE = 1.1  # ratio of voxel sides from which one of them is called the coarsest
Read = Callable[[], bytes]  # the bytes of a file here, or of a member of an archive; raises UploadError


@dataclass(frozen=True)
class Scan:
    """What `brainmri.read_scan` gives. It holds no name and no tag of its files.

    Attributes:
        kind: "PNG", "JPEG", "TIFF", "BMP", "WebP", "GIF", "DICOM", "NIfTI", or "images" for a folder of them.
        planes: those that can be drawn, the acquired one first: "axial", "coronal" and "sagittal" of a volume, the one
            of a series, or "slice" where nobody says which it is.
        spacing: distances (mm) between the columns, the rows and the slices of the first plane, as they were acquired.
            None where the file does not say so; the last is None for a single slice of unknown thickness.
    """

    kind: str
    planes: tuple[str, ...]
    spacing: tuple[float, float, float | None] | None
    source: Slices = field(repr=False)

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
class Stretched:
    """Slices whose pixels are made square. rows, columns: distances between them (mm)."""

    inner: Slices
    plane: str
    rows: float
    columns: float

    @property
    def counts(self) -> dict[str, int]:
        (count,) = self.inner.counts.values()
        return {self.plane: count}

    def draw(self, plane: str, index: int) -> Image.Image:
        (inner,) = self.inner.counts
        image = self.inner.draw(inner, index)
        fine = min(self.rows, self.columns)
        size = round(image.width * self.columns / fine), round(image.height * self.rows / fine)
        return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


@dataclass(frozen=True)
class Stack:
    """One slice from each of several files, read when it is asked for."""

    reads: Sequence[Read]
    limits: Limits

    @property
    def counts(self) -> dict[str, int]:
        return {PLANE: len(self.reads)}

    def draw(self, plane: str, index: int) -> Image.Image:
        data = self.reads[index]()
        kind = kind_of(data)
        if kind == "DICOM":
            from brainmri.io.dicom import open_dicom

            return open_dicom(data, self.limits).frame(0)
        source = source_of(kind, data, self.limits)
        (plane,) = source.counts
        return source.draw(plane, 0)


@dataclass(frozen=True)
class Part:
    """A file of a series that was looked at. name: to sort by where the file does not say where it lies."""

    name: str
    read: Read = field(repr=False)
    place: Place = field(repr=False)


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
    place = frames.place()
    return _square(frames, _plane(place.normal) if frames.count == 1 else PLANE, place.pixels, place.between)


def _square(inner: Slices, plane: str, pixels: tuple[float, float] | None, between: float | None) -> Scan:
    """DICOM slices under the name of their plane. pixels: as of `Place`; between: distance of the slices, or None."""
    if pixels is None or max(pixels) > LARGEST_RATIO * min(pixels):
        return Scan("DICOM", (plane,), None, Stretched(inner, plane, 1, 1))
    rows, columns = pixels
    return Scan("DICOM", (plane,), (columns, rows, between), Stretched(inner, plane, rows, columns))


def _volume(volume: object) -> Scan:
    from brainmri.io.nifti import AXES, Volume

    assert isinstance(volume, Volume)
    planes = sorted(volume.planes, key=lambda plane: plane != acquired(volume.sizes, volume.voxels.shape))
    across, down = (axis for axis in range(3) if axis != AXES[planes[0]])
    sizes = volume.sizes
    return Scan("NIfTI", tuple(planes), (sizes[across], sizes[down], sizes[AXES[planes[0]]]), volume)


def acquired(sizes: Sequence[float], shape: Sequence[int]) -> str:
    """The plane in which a volume was acquired, most likely.

    It lies across the voxels' longest side. Where they are (nearly) cubes, it is the one with less than half as many
    slices as the others have, as in files that state a wrong distance between slices; else axial.

    Args:
        sizes: of a voxel, to the right, front and top. shape: voxels in these directions.
    """
    for values, most in ((sizes, UNLIKE), ([1 / count for count in shape], 2)):
        longest = int(np.argmax(values))
        if values[longest] >= most * sorted(values)[1]:
            return PLANES[longest]
    return "axial"


def open_series(parts: Sequence[Part], limits: Limits = LOCAL) -> tuple[Scan, list[Part]]:
    """The files of a DICOM series of single frames as one scan, and the files in the order of its slices.

    They are sorted by their position along the common normal; where that is not known of all, by their number; else by
    their names.
    """
    normals = [part.place.normal for part in parts]
    first = normals[0]
    common = first is not None and all(normal is not None and math.dist(first, normal) < 0.01 for normal in normals)
    positions = [part.place.position for part in parts]
    along = [float(np.dot(first, position)) for position in positions if common and position]  # type: ignore[arg-type]
    if len(along) == len(parts):
        order = sorted(range(len(parts)), key=lambda k: (along[k], parts[k].place.number or 0, natural(parts[k].name)))
    else:
        numbers = [part.place.number for part in parts]
        known = None not in numbers and len(set(numbers)) == len(parts)
        order = sorted(range(len(parts)), key=lambda k: (numbers[k] if known else 0, natural(parts[k].name)))
    ordered = [parts[k] for k in order]
    plane = _plane(first) if common else PLANE
    stack = Stack([part.read for part in ordered], limits)
    pixels = ordered[0].place.pixels if len({part.place.pixels for part in ordered}) == 1 else None
    steps = np.diff(sorted(along)) if len(along) == len(parts) else np.empty(0)
    between = float(np.median(steps)) if len(steps) and np.median(steps) > 0 else ordered[0].place.between
    return _square(stack, plane, pixels, between), ordered


def _plane(normal: tuple[float, ...] | None) -> str:
    """The plane that slices of this normal are nearest to."""
    return PLANE if normal is None else PLANES[int(np.argmax(np.abs(normal)))]


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts slice2 before slice10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
