"""The pixels of a DICOM file: what may be decoded, and stored values without what is not theirs."""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from pydicom import Dataset, uid
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder, pixel_array

from brainmri.io.dicom_elements import BROKEN
from brainmri.io.limits import UploadError, reading
from brainmri.io.sanitize import SCANS

EXPORT = "Export it uncompressed (Explicit VR Little Endian) or save the image as PNG."
UNUSUAL_JPEG2000 = (
    "This DICOM file is compressed as JPEG 2000, and is broken or of a kind that needs pylibjpeg. Install it "
    '(pip install "brainmri[medical]"), or export the file uncompressed (Explicit VR Little Endian).'
)
VIDEO = "This DICOM file holds a video. Use a series or single frames."
FRAGMENTS = 20_000  # of compressed pixels; each frame usually is one
ITEM = b"\xfe\xff\x00\xe0"
LOSSLESS_JPEG = (uid.JPEGLossless, uid.JPEGLosslessSV1)
JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, *LOSSLESS_JPEG, *JPEG_LS)
HTJ2K = (uid.HTJ2K, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL)
MARKER = re.compile(rb"\xff+([\xc0-\xcf\xd8-\xfe])")  # what else follows 0xff stands in the coded pixels
FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # 0xf7: of JPEG-LS
JPEG_START, JPEG_END, JPEG_SCAN, JPEG_LS_PRESET = 0xD8, 0xD9, 0xDA, 0xF8
LARGER_SIZE = 4  # kind of a JPEG-LS preset that states another size
# A number of lines that comes later, a hierarchy of images, what comes on top of it in another application's segment.
OTHER_SIZES = {0xDC, 0xDE, 0xDF, 0xEB}


def check_compression(dataset: Dataset) -> None:
    """dataset: with its transfer syntax and what describes its pixels.

    Raises:
        UploadError: if the pixels are stored in a way that is not known, or that the installed packages do not decode.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in uid.MPEGTransferSyntaxes:
        raise UploadError(VIDEO)
    with reading(f"This DICOM file is stored in a way that is not known here. {EXPORT}"):
        decoder = get_decoder(syntax)
        ready, is_packed = decoder.is_available, syntax.is_encapsulated
        deep = dataset.BitsStored != 8 if syntax == uid.JPEGExtended12Bit else False
    if not ready or (deep and not _has_pylibjpeg(syntax)):
        raise UploadError(needs_decoder(syntax))
    if is_packed and dataset.PixelData.count(ITEM) > FRAGMENTS:
        raise UploadError(BROKEN)


def needs_decoder(syntax: uid.UID) -> str:
    """syntax: one that pydicom knows."""
    return (
        f"This DICOM file is compressed as {syntax.name}, which needs pylibjpeg. Install it (pip install "
        '"brainmri[medical]"), or export the file uncompressed (Explicit VR Little Endian).'
    )


def _has_pylibjpeg(syntax: uid.UID) -> bool:
    return any(plugin in ("pylibjpeg", "gdcm") for plugin in get_decoder(syntax).available_plugins)


@dataclass(frozen=True)
class Pixels:
    """The frames of a file, decoded when they are asked for.

    Attributes:
        dataset: the pixels and what describes them. count: frames.
        bits: of a stored value; all of them where the file does not say it. lowest: the lowest of them in a word.
    """

    dataset: Dataset = field(repr=False)
    count: int
    bits: int
    lowest: int

    def frame(self, index: int) -> np.ndarray:
        """Stored values (H, W), or colours (H, W, 3) as RGB.

        Raises:
            UploadError: if a compressed frame is not what the file says of it, or needs another decoder.
        """
        syntax = self.dataset.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated:
            packed = get_frame(self.dataset.PixelData, index, number_of_frames=self.count)
            _check_frame(packed, self.dataset, syntax)
        values = self._decoded(index)
        is_grey = values.ndim == 2 and values.dtype.kind in "iu" and int(self.dataset.BitsAllocated) > 1
        return self._own_bits(values) if is_grey else values

    def _decoded(self, index: int) -> np.ndarray:
        syntax = self.dataset.file_meta.TransferSyntaxUID
        try:
            values: np.ndarray = pixel_array(self.dataset, index=index)
        except Exception:  # as many types as there are decoders
            if syntax in uid.JPEG2000TransferSyntaxes and not _has_pylibjpeg(syntax):
                raise UploadError(UNUSUAL_JPEG2000) from None
            raise
        return values

    def _own_bits(self, values: np.ndarray) -> np.ndarray:
        """Without the bits above and below those stored, in which old files keep overlays."""
        width = 8 * values.dtype.itemsize
        above = width - self.bits - self.lowest
        if above < 0 or self.bits == width:
            return values
        found: np.ndarray = np.right_shift(np.left_shift(values, above), above + self.lowest)  # keeps the sign
        return found


def pixels_of(dataset: Dataset, count: int) -> Pixels:
    """dataset: as of `Pixels`, with its transfer syntax. count: frames.

    Raises:
        UploadError: as `check_compression`.
    """
    check_compression(dataset)
    with reading(BROKEN):
        allocated = int(dataset.BitsAllocated)
        bits = int(dataset.get("BitsStored") or allocated)
        lowest = int(dataset.get("HighBit") or bits - 1) + 1 - bits
        if not dataset.file_meta.TransferSyntaxUID.is_encapsulated and int(dataset.get("SamplesPerPixel") or 1) == 1:
            dataset.BitsStored = allocated  # else pydicom takes the lowest bits, whichever are stored
        return Pixels(dataset, count, bits, max(0, lowest))


def _check_frame(packed: bytes, dataset: Dataset, syntax: uid.UID) -> None:
    """A compressed frame has a size of its own, and could have the EXIF notes of a photograph, which Pillow follows."""
    size = (int(dataset.Columns), int(dataset.Rows))
    if syntax == uid.RLELossless:
        _check_runs(packed, size[0] * size[1])
        return
    if b"Exif\0\0" in packed:
        raise UploadError(BROKEN)
    if syntax in JPEG:
        columns, rows, channels, bits, process = jpeg_header(packed)
        if (columns, rows) != size or channels != int(dataset.SamplesPerPixel):
            raise UploadError(BROKEN)
        is_usual = bits == 8 and process in (0xC0, 0xC1, 0xC2)  # of which JPEG processes Pillow knows these
        if not is_usual and syntax not in JPEG_LS and not _has_pylibjpeg(syntax):
            raise UploadError(needs_decoder(uid.JPEGExtended12Bit if process == 0xC1 else uid.JPEGLossless))
        return
    with Image.open(io.BytesIO(packed), formats=("JPEG2000",)) as file:
        if file.size != size:
            raise UploadError(BROKEN)


def jpeg_header(packed: bytes) -> tuple[int, int, int, int, int]:
    """Columns, rows, channels and bits of the one frame in a JPEG or JPEG-LS stream, and the mark of its process.

    Raises:
        UploadError: if it states none, several, or a size in another place too; or has more scans than a good one.
    """
    found: list[tuple[int, int, int, int, int]] = []
    at = scans = 0
    while marker := MARKER.search(packed, at):
        kind, at = marker[1][0], marker.end()
        if kind == JPEG_START:
            continue
        if kind == JPEG_END:
            break
        if kind in OTHER_SIZES or (kind == JPEG_LS_PRESET and packed[at + 2 : at + 3] == bytes([LARGER_SIZE])):
            raise UploadError(BROKEN)
        if kind in FRAME_HEADERS:
            bits, rows, columns, channels = struct.unpack_from(">BHHB", packed, at + 2)
            found.append((columns, rows, channels, bits, kind))
        scans += kind == JPEG_SCAN
        at += int.from_bytes(packed[at : at + 2], "big")
    if len(found) != 1 or not 1 <= scans <= SCANS:
        raise UploadError(BROKEN)
    return found[0]


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
