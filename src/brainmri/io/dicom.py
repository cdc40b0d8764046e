"""DICOM files. Only what tells how the pixels are stored and lie is read; the patient's data never leave the file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image
from pydicom import Dataset, uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag

from brainmri.io.decode import BLANK, NO_NUMBERS, PLANE, TOO_SMALL, is_blank
from brainmri.io.dicom_elements import BROKEN, UNDEFINED, Element, Reader
from brainmri.io.dicom_header import (
    SEGMENTED_PALETTE,
    SOP_CLASS,
    FrameHeader,
    Header,
    read_header,
    tile,
    tiles,
)
from brainmri.io.dicom_kinds import no_image
from brainmri.io.dicom_pixels import EXPORT, Pixels, pixels_of
from brainmri.io.dicom_stacks import planes_of
from brainmri.io.geometry import View, square_size, view_of
from brainmri.io.intensity import background_edge, counted, grey, head_range
from brainmri.io.limits import MIN_SIDE, Limits, UploadError, is_too_long, reading
from brainmri.io.sanitize import check_size

# Beside the warnings, which `reading` silences at each call: another thread may put the filters back meanwhile.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)


warnings.filterwarnings("ignore", module=r"pydicom\b")


# All that pydicom gets: what tells how pixels are stored, and the pixels.
LAYOUT = ["SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"]
BITS = ["BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"]
PIXEL_TAGS = {Tag(name): kind for name, kind in {"PixelData": "OW", "FloatPixelData": "OF"}.items()}
PIXEL_TAGS[Tag("DoubleFloatPixelData")] = "OD"
LAYOUT_TAGS = {Tag(name) for name in (*LAYOUT, *BITS)}
PIXEL_DATA = Tag("PixelData")
NO_IMAGE = "This DICOM file holds no image (it may be a report, a plan or an index). Use an image file."
DEFLATED = f"This DICOM file is packed as a whole (deflated), which is not opened. {EXPORT}"
SEGMENTED = f"This DICOM file keeps its colours in a segmented palette, which is not opened. {EXPORT}"
NO_PALETTE = f"This DICOM file has colours by a palette that is missing or broken. {EXPORT}"
MOSAIC = (
    "This DICOM file is a Siemens mosaic (many slices in one image) that does not say how many slices it holds. "
    "Use the NIfTI volume that dcm2niix makes of it."
)
# What is said about a scan that can be drawn.
GUESSED_MOSAIC = (
    "The file is a Siemens mosaic that does not say how many slices it holds; they were told by its pixels."
)
ODD_PIXELS = "The file states a shape of its pixels that makes no sense; they are taken as square."
KEPT_BYTES = 256 * 2**20  # of decoded frames, between the search for their range and the drawing


class Tally(NamedTuple):
    """Different values, how many pixels have each, and whether they are negatives, because low values are bright."""

    values: np.ndarray
    numbers: np.ndarray
    negated: bool = False


@dataclass(frozen=True)
class Frames:
    """The slices of a DICOM file, decoded when they are asked for.

    Attributes:
        planes: plane -> the frames (or tiles of a mosaic) to show, in their order.
        side: of a mosaic: tiles beside each other; 0 for other files.
        notes: what there is to say about the file.
    """

    pixels: Pixels = field(repr=False)
    header: Header = field(repr=False)
    planes: dict[str, tuple[int, ...]]
    side: int
    notes: tuple[str, ...]
    limits: Limits

    @property
    def counts(self) -> dict[str, int]:
        return {plane: len(frames) for plane, frames in self.planes.items()}

    @property
    def count(self) -> int:
        """Slices in all."""
        return sum(self.counts.values())

    @property
    def sequence(self) -> str:
        """By the header (`sequence.SEQUENCES`); "" where it does not tell it."""
        return self.header.sequence

    @property
    def size(self) -> int:
        """Bytes of its pixels, as they are stored."""
        return sum(len(self.pixels.dataset[tag].value) for tag in PIXEL_TAGS if tag in self.pixels.dataset)

    def draw(self, plane: str, index: int) -> Image.Image:
        """In the window that the file names, else in the range of its head; colours as RGB.

        As radiologists look at it, where the file says how it lies; pixels are square.
        """
        image = self.slice(plane, index)
        if self.count == 1 and is_blank(image):
            raise UploadError(BLANK)
        return image

    def slice(self, plane: str, index: int, levels: Levels | None = None) -> Image.Image:
        """As `draw`, also where all pixels are the same, as in the first and last slices of a series.

        levels: of the series that the file belongs to, in the place of the file's own.
        """
        with reading(BROKEN):
            frame = self.planes[plane][index]
            header = self.header_of(frame)
            view = view_of(header.orientation) if header.orientation else None
            image = self._image(self.values(frame), header, view, levels or self.levels)
            rows, columns = header.stretch
            if view and view.transposed:
                rows, columns = columns, rows
            size = square_size(*image.size, columns, rows)
            if size == image.size or _too_large(size, self.limits):
                return image
            return image.resize(size, Image.Resampling.BILINEAR)

    def place(self) -> FrameHeader:
        """Where the first slice lies."""
        return self.header_of(next(iter(self.planes.values()))[0])

    def spacing(self, plane: str) -> tuple[float, float, float | None] | None:
        """The distances (mm) between columns, rows and slices as they are shown; None where the file does not say it.

        The last is that of the positions, else what the file states.
        """
        headers = [self.header_of(frame) for frame in self.planes[plane]]
        return shown_spacing(headers[0], distance(headers) if not self.side else None)

    def header_of(self, frame: int) -> FrameHeader:
        return self.header.frames[0 if self.side else frame]

    def values(self, frame: int) -> np.ndarray:
        """Stored values (H, W), or colours (H, W, 3)."""
        if frame in self._kept:
            return self._kept[frame]
        if self.side:
            return tile(self.pixels.frame(0), self.side, frame)
        return self.pixels.frame(frame)

    def scaled(self, values: np.ndarray, header: FrameHeader) -> np.ndarray:
        """Stored values, of any shape, on the scale that the file names (the modality's)."""
        if self.header.modality and values.dtype.kind in "iu":
            return self.header.modality(values).astype(np.float64)
        return values.astype(np.float64) * header.slope + header.intercept

    @property
    def inverted(self) -> bool:
        """Whether the lowest value is white."""
        return str(self.pixels.dataset.PhotometricInterpretation) == "MONOCHROME1"

    def tally(self) -> Tally:
        """The scaled values of all slices but padding, for their range; their negatives where low ones are bright."""
        found, kept = [], 0
        for frames in self.planes.values():
            for frame in frames:
                with reading(BROKEN):
                    values = self.values(frame)
                kept += values.nbytes
                if kept <= KEPT_BYTES:
                    self._kept[frame] = values
                if values.ndim == 2:
                    different, numbers, _ = _counted(values[~self._is_padding(values)])
                    scaled = self.scaled(different, self.header_of(frame))
                    found.append(Tally(-scaled if self.inverted else scaled, numbers, self.inverted))
        return merged(found)

    def _tallies(self) -> list[Tally]:
        return [self.tally()]

    @cached_property
    def levels(self) -> Levels:
        return Levels(self._tallies)

    @cached_property
    def _kept(self) -> dict[int, np.ndarray]:
        return {}

    def _is_padding(self, values: np.ndarray) -> np.ndarray:
        if self.header.padding is None:
            return np.zeros(values.shape, bool)
        low, high = self.header.padding
        return (values >= low) & (values <= high)

    def _image(self, stored: np.ndarray, header: FrameHeader, view: View | None, levels: Levels) -> Image.Image:
        stored = np.ascontiguousarray(view.turn(stored)) if view else stored
        kind = self.pixels.dataset.PhotometricInterpretation
        if stored.ndim == 3:
            return Image.fromarray((stored >> max(0, self.pixels.bits - 8)).clip(0, 255).astype(np.uint8))
        if kind == "PALETTE COLOR":
            if not self.header.palette:
                raise UploadError(NO_PALETTE)
            return Image.fromarray(np.stack([part.levels(stored) for part in self.header.palette], -1))
        values = self.scaled(stored, header)
        padding = self._is_padding(stored)
        if not np.isfinite(values[~padding]).all():
            raise UploadError(NO_NUMBERS)
        image = self._grey(values, values[~padding], header, levels)
        if padding.any():
            image.paste(0, mask=Image.fromarray(padding))
        return image

    def _grey(self, values: np.ndarray, shown: np.ndarray, header: FrameHeader, levels: Levels) -> Image.Image:
        """By the file's table, else in its window, else in the range of the head."""
        if shown.size and self.header.voi:
            entries = self.header.voi(values)
            if entries.min() < entries.max():
                return self._positive(grey(entries, *self.header.voi.ends))
        if shown.size and header.window and header.window.shows(shown):
            return self._positive(header.window.image(values))
        return grey(-values if self.inverted else values, *(levels.range or (0.0, 0.0)))

    def _positive(self, image: Image.Image) -> Image.Image:
        """With white for the highest brightness."""
        return image.point(lambda value: 255 - value) if self.inverted else image


def distance(headers: Sequence[FrameHeader]) -> float | None:
    """Between slices (mm), by their positions; None where not all of them are known."""
    view = view_of(headers[0].orientation) if headers[0].orientation else None
    steps = [abs(step) for step in np.diff([view.along(one.position) for one in headers if view and one.position])]
    known = view and all(one.position for one in headers) and steps and np.median(steps) > 0
    return float(np.median(steps)) if known else None


def shown_spacing(header: FrameHeader, between: float | None) -> tuple[float, float, float | None] | None:
    """As `Frames.spacing`, of slices that are `between` apart, or as far as the header states."""
    if header.pixels is None:
        return None
    rows, columns = header.pixels
    view = view_of(header.orientation) if header.orientation else None
    return (*((rows, columns) if view and view.transposed else (columns, rows)), between or header.between)


class Levels:
    """What is drawn black and white in all slices of some files; looked for when it is asked for the first time."""

    def __init__(self, tallies: Callable[[], Iterable[Tally]]) -> None:
        self._tallies = tallies

    @cached_property
    def range(self) -> tuple[float, float] | None:
        values, numbers, negated = merged(list(self._tallies()))
        if not len(values):
            return None
        shift = float(values[0]) if negated else 0.0  # a negative value may be padding, but not a negated one
        found = head_range(values - shift, numbers)
        return (found[0] + shift, found[1] + shift) if found else None


def merged(found: Sequence[Tally]) -> Tally:
    """The values of several frames together."""
    if not found:
        return Tally(np.empty(0), np.empty(0, np.int64))
    values, places = np.unique(np.concatenate([one.values for one in found]), return_inverse=True)
    numbers = np.bincount(places, np.concatenate([one.numbers for one in found]), len(values))
    return Tally(values, numbers.astype(np.int64), any(one.negated for one in found))


def open_dicom(data: bytes, limits: Limits) -> Frames:
    """A DICOM file with or without its preamble.

    Raises:
        UploadError: if it is broken, holds no image, is too large or too small, or compressed in a way that the
            installed packages do not decode.
    """
    with reading(BROKEN):
        reader = Reader(data)
        start = reader.start()
        if reader.syntax == uid.DeflatedExplicitVRLittleEndian:
            raise UploadError(DEFLATED)
        found = _top_level(reader, start)
        if refused := no_image(reader.word(found[SOP_CLASS]) if SOP_CLASS in found else reader.sop_class):
            raise UploadError(refused)
        if not found.keys() & PIXEL_TAGS.keys():
            raise UploadError(NO_IMAGE)
        dataset = _dataset(reader, found)
        count = int(dataset.get("NumberOfFrames") or 1)
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        samples = int(dataset.get("SamplesPerPixel") or 1)
        if count < 1 or min(rows, columns, samples) < 1:
            raise UploadError(BROKEN)
        if dataset.PhotometricInterpretation == "PALETTE COLOR" and SEGMENTED_PALETTE in found:
            raise UploadError(SEGMENTED)
    if count > limits.slices:
        raise UploadError(f"This DICOM file has more than {limits.slices:,} frames. Export the ones that matter.")
    check_size(columns, rows, limits, samples)
    if min(rows, columns) < MIN_SIDE:
        raise UploadError(TOO_SMALL)
    pixels = pixels_of(dataset, count)
    with reading(BROKEN):
        header = read_header(reader, found, count, signed=bool(dataset.get("PixelRepresentation")))
        notes = _odd_pixels(header, columns, rows, limits)
        if header.mosaic is not None:
            return _mosaic(pixels, header, notes, limits)
        planes, more = planes_of(header.frames, pixels)
        return Frames(pixels, header, planes, 0, (*notes, *more), limits)


def _top_level(reader: Reader, start: int) -> dict[int, Element]:
    found: dict[int, Element] = {}
    for element in reader.elements(start, len(reader.data)):
        found.setdefault(element.tag, element)
        if element.tag in PIXEL_TAGS:
            break
    return found


def _dataset(reader: Reader, found: dict[int, Element]) -> Dataset:
    """What pydicom needs to decode the pixels."""
    dataset = Dataset()
    for tag, element in found.items():
        if tag in LAYOUT_TAGS or tag in PIXEL_TAGS:
            value = reader.data[element.start : element.stop] if tag in PIXEL_TAGS else reader.raw(element)
            vr = element.vr if element.vr != "UN" else PIXEL_TAGS.get(Tag(tag))
            if tag == PIXEL_DATA and vr is None:
                vr = "OW"
            length = UNDEFINED if element.undefined else len(value)
            dataset[Tag(tag)] = RawDataElement(Tag(tag), vr, length, value, 0, vr is None, reader.little)
    dataset.set_original_encoding(reader.implicit, reader.little)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(reader.syntax)
    return dataset


def _odd_pixels(header: Header, columns: int, rows: int, limits: Limits) -> tuple[str, ...]:
    for frame in header.frames:
        size = square_size(columns, rows, frame.stretch[1], frame.stretch[0])
        if size != (columns, rows) and _too_large(size, limits):
            return (ODD_PIXELS,)
    return ()


def _too_large(size: tuple[int, int], limits: Limits) -> bool:
    return is_too_long(*size) or size[0] * size[1] > limits.pixels


def _mosaic(pixels: Pixels, header: Header, notes: tuple[str, ...], limits: Limits) -> Frames:
    values = pixels.frame(0)
    side, count = tiles(values, header.mosaic or 0, background_edge(values)) if values.ndim == 2 else (0, 0)
    if not count or min(values.shape) // side < MIN_SIDE:
        raise UploadError(MOSAIC)
    view = view_of(header.frames[0].orientation) if header.frames[0].orientation else None
    order = range(count)
    if view and header.frames[0].orientation and view.along(_normal(header.frames[0].orientation)) < 0:
        order = range(count - 1, -1, -1)
    planes = {view.plane if view else PLANE: tuple(order)}
    return Frames(pixels, header, planes, side, notes if header.mosaic else (*notes, GUESSED_MOSAIC), limits)


def _normal(orientation: Sequence[float]) -> list[float]:
    return [float(one) for one in np.cross(orientation[:3], orientation[3:])]


def _counted(values: np.ndarray) -> Tally:
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        return Tally(*counted(values))
    return Tally(*np.unique(values[np.isfinite(values)], return_counts=True))
