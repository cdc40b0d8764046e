"""DICOM files. Only what tells how the pixels are stored is read; the patient's data never leave the file."""

from __future__ import annotations

import io
import logging
import math
import struct
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_partial
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, get_decoder, pixel_array
from pydicom.tag import Tag

from brainmri.io.decode import BLANK, NO_NUMBERS, PLANE, TOO_SMALL, finite_range, is_blank
from brainmri.io.intensity import grey
from brainmri.io.limits import MIN_SIDE, Limits, RationedBytes, RationExceeded, UploadError, reading
from brainmri.io.sanitize import check_size

# Beside the warnings, which `reading` silences at each call: another thread may put the filters back meanwhile.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)


warnings.filterwarnings("ignore", module=r"pydicom\b")


# All that is read. Segmented palettes are left out: a few bytes of one can stand for gigabytes.
PALETTES = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
TABLES = ["ModalityLUTSequence", "VOILUTSequence", *(f"{palette}Data" for palette in PALETTES)]
PIXELS = ["PixelData", "FloatPixelData", "DoubleFloatPixelData"]
LAYOUT = ["SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"]
BITS = ["BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"]
SCALES = ["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"]
# Where the pixels lie in space. The series' identifier tells which files belong together, and is never given out.
PLACES = ["ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SpacingBetweenSlices", "InstanceNumber"]
PLACES += ["SeriesInstanceUID"]
NAMES = [*LAYOUT, *BITS, *SCALES, *PLACES, *(f"{palette}Descriptor" for palette in PALETTES), *TABLES, *PIXELS]
READ_TAGS = [Tag(name) for name in NAMES]
TABLE_TAGS = {Tag(name) for name in TABLES}
PIXEL_TAGS = {Tag(name) for name in PIXELS}
PIXEL_REPRESENTATIONS = (
    "OB",
    "OW",
    "OF",
    "OD",
    None,
)  # not SQ, nor UN without a length: inside them, values are read and split
UNDEFINED = 0xFFFFFFFF
# Bytes of a value; a table of 65,536 16-bit values has 2**17. Others are those inside sequences, an icon's pixels say.
LARGEST_VALUE, LARGEST_TABLE, LARGEST_OTHER = 4096, 2**18, 2**16
READS = 100_000  # two or three for each element; 900 frames with a hundred elements each
FRAGMENTS = 20_000  # of compressed pixels; each frame usually is one
ITEM = b"\xfe\xff\x00\xe0"
BROKEN = "This DICOM file is broken or cut off. Export it again, uncompressed, or save the image as PNG."
NO_IMAGE = "This DICOM file holds no image (it may be a report, a plan or an index). Use an image file."
EXPORT = "Export it uncompressed (Explicit VR Little Endian) or save the image as PNG."


@dataclass(frozen=True)
class Place:
    """Where a slice lies. Lengths are in mm, in the patient's system (to the left, the back and the top).

    Attributes:
        series: what tells the files of one series apart from others; "" where the file does not say it.
        normal: of length 1, (3,); None where the file has no orientation.
        position: of the first pixel, (3,), or None.
        pixels: distance between rows and between columns, or None.
        between: distance between slices that the file states, or None.
        number: in the series, or None.
    """

    series: str = field(repr=False)
    normal: tuple[float, ...] | None
    position: tuple[float, ...] | None
    pixels: tuple[float, float] | None
    between: float | None
    number: int | None


@dataclass(frozen=True)
class Frames:
    """The frames of a DICOM file, decoded when they are asked for. dataset: of `READ_TAGS` only."""

    dataset: Dataset = field(repr=False)
    count: int

    @property
    def counts(self) -> dict[str, int]:
        return {PLANE: self.count}

    def draw(self, plane: str, index: int) -> Image.Image:
        """In the window that the file names, else from darkest to brightest; colours as RGB."""
        image = self.frame(index)
        if self.count == 1 and is_blank(image):
            raise UploadError(BLANK)
        return image

    def frame(self, index: int) -> Image.Image:
        """As `draw`, also where all pixels are the same, as in the first and last slices of a series."""
        with reading(BROKEN):
            return _image(_frame(self.dataset, index, self.count), self.dataset)

    def place(self) -> Place:
        """Where the frames lie, as far as the file says so in its top level (enhanced files do not)."""
        with reading(BROKEN):
            orientation, position, pixels = (
                _numbers(self.dataset.get(name), length)
                for name, length in (("ImageOrientationPatient", 6), ("ImagePositionPatient", 3), ("PixelSpacing", 2))
            )
            between = _first(self.dataset.get("SpacingBetweenSlices"))
            number = _first(self.dataset.get("InstanceNumber"))
            return Place(
                series=str(self.dataset.get("SeriesInstanceUID") or ""),
                normal=_normal(orientation) if orientation else None,
                position=position,
                pixels=(pixels[0], pixels[1]) if pixels and min(pixels) > 0 else None,
                between=between if between and between > 0 else None,
                number=None if number is None else int(number),
            )


def open_dicom(data: bytes, limits: Limits) -> Frames:
    """A DICOM file with or without its preamble.

    Raises:
        UploadError: if it is broken, holds no image, is too large or too small, or compressed in a way that the
            installed packages do not decode.
    """
    if uid.DeflatedExplicitVRLittleEndian.encode() in data:  # pydicom would unpack it whatever its size
        raise UploadError(f"This DICOM file is packed as a whole (deflated), which is not opened. {EXPORT}")
    with reading(BROKEN):
        dataset = _read(data)
        if not any(name in dataset for name in PIXELS):
            raise UploadError(NO_IMAGE)
        count = int(dataset.get("NumberOfFrames") or 1)
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        samples = int(dataset.get("SamplesPerPixel") or 1)
        if count < 1 or min(rows, columns, samples) < 1:
            raise UploadError(BROKEN)
    if count > limits.slices:
        raise UploadError(f"This DICOM file has more than {limits.slices:,} frames. Export the ones that matter.")
    check_size(columns, rows, limits, samples)
    if min(rows, columns) < MIN_SIDE:
        raise UploadError(TOO_SMALL)
    _check_compression(dataset)
    return Frames(dataset, count)


def _read(data: bytes) -> Dataset:
    """The elements of `READ_TAGS`.

    No single value is read that is larger than its kind may be, the pixels apart: readers split long values into
    objects, and the values inside sequences are read too.
    """
    file = RationedBytes(data, largest_read=LARGEST_OTHER, reads=READS)

    def check(tag: int, representation: str | None, length: int) -> bool:
        plain = representation in PIXEL_REPRESENTATIONS or (representation == "UN" and length != UNDEFINED)
        if tag in PIXEL_TAGS and plain:
            file.largest_read = None
            return False
        file.largest_read = LARGEST_TABLE if tag in TABLE_TAGS else LARGEST_OTHER
        if tag in READ_TAGS and tag not in TABLE_TAGS and LARGEST_VALUE < length != UNDEFINED:
            raise RationExceeded
        return False

    found = read_partial(file, stop_when=check, force=data[128:132] != b"DICM", specific_tags=list(READ_TAGS))
    dataset = Dataset()  # without the file that pydicom keeps
    dataset.update({element.tag: element for element in found.elements() if element.tag in READ_TAGS})
    implicit, little = found.original_encoding
    dataset.set_original_encoding(implicit, little)
    plain = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = found.file_meta.get("TransferSyntaxUID") or (
        uid.ImplicitVRLittleEndian if implicit else plain
    )
    return dataset


def _check_compression(dataset: Dataset) -> None:
    with reading(f"This DICOM file is stored in a way that is not known here. {EXPORT}"):
        syntax = dataset.file_meta.TransferSyntaxUID
        decoder = get_decoder(syntax)
        deep_jpeg = syntax == uid.JPEGExtended12Bit and dataset.BitsStored != 8
    if deep_jpeg or not decoder.is_available:
        raise UploadError(f"This DICOM file is compressed as {syntax.name}, which is not decoded here. {EXPORT}")
    if syntax.is_encapsulated and dataset.PixelData.count(ITEM) > FRAGMENTS:
        raise UploadError(BROKEN)


def _frame(dataset: Dataset, index: int, count: int) -> np.ndarray:
    """The values of a frame: (H, W), or (H, W, 3) as RGB."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        packed = get_frame(dataset.PixelData, index, number_of_frames=count)
        if syntax == uid.RLELossless:
            _check_runs(packed, dataset.Rows * dataset.Columns)
        else:
            _check_packed_image(packed, (dataset.Columns, dataset.Rows))
    values = pixel_array(dataset, index=index)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
    return values


def _check_packed_image(packed: bytes, size: tuple[int, int]) -> None:
    """A compressed frame has a size of its own, and could have the EXIF notes of a photograph, which Pillow follows."""
    if b"Exif\0\0" in packed:
        raise UploadError(BROKEN)
    with Image.open(io.BytesIO(packed), formats=("JPEG", "JPEG2000")) as file:
        if file.size != size:
            raise UploadError(BROKEN)


def _check_runs(packed: bytes, length: int) -> None:
    """Each segment of a run-length encoded frame gives `length` bytes, and a padding byte at most.

    pydicom unpacks a segment before it looks at its length.
    """
    count, *offsets = struct.unpack("<16L", packed[:64])
    ends = [*offsets[1:count], len(packed)]
    for start, end in zip(offsets[:count], ends, strict=True):
        unpacked = 0
        while start < end and unpacked <= length + 1:
            head = packed[start]
            unpacked += head + 1 if head < 128 else 257 - head if head > 128 else 0
            start += head + 2 if head < 128 else 2 if head > 128 else 1
        if unpacked > length + 1:
            raise UploadError(BROKEN)


def _image(values: np.ndarray, dataset: Dataset) -> Image.Image:
    if values.ndim == 3:
        bits = int(dataset.BitsStored) if dataset.PhotometricInterpretation != "PALETTE COLOR" else 8 * values.itemsize
        return Image.fromarray((values >> max(0, bits - 8)).clip(0, 255).astype(np.uint8))
    values = apply_modality_lut(values, dataset)
    if not np.isfinite(values).all():
        raise UploadError(NO_NUMBERS)
    if dataset.get("VOILUTSequence") and values.dtype.kind in "iu":
        values = apply_voi(values, dataset)
    darkest, brightest = finite_range(values) or (0.0, 0.0)
    low, high = _window(dataset) or (darkest, brightest)
    if max(low, darkest) >= min(high, brightest):  # a window that shows nothing
        low, high = darkest, brightest
    image = grey(values, low, high)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    return image.point(lambda value: 255 - value) if inverted else image


def _window(dataset: Dataset) -> tuple[float, float] | None:
    """What is drawn black and white (DICOM PS3.3 C.11.2.1.2; a sigmoid as its tangent); None if no usable one is named,
    or a table instead."""
    centre, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if dataset.get("VOILUTSequence") or centre is None or width is None or not math.isfinite(centre) or not width > 1:
        return None
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _first(value: Any) -> float | None:
    """Of several windows, the first."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, (int, float, str)) else float(value[0]) if len(value) else None


def _numbers(value: Any, length: int) -> tuple[float, ...] | None:
    """So many finite numbers, or None."""
    try:
        found = tuple(float(one) for one in value)
    except (TypeError, ValueError):
        return None
    return found if len(found) == length and all(map(math.isfinite, found)) else None


def _normal(orientation: tuple[float, ...]) -> tuple[float, ...] | None:
    """The direction in which slices of this orientation follow each other."""
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    return tuple(float(one) for one in normal / length) if length > 0.5 else None
