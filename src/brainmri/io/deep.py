"""Images of more than 8 bits: the values that a PNG or TIFF file holds, and how they become 8-bit images.

Pillow loses much of them: it keeps the upper 8 bits of 16-bit colours, opens no float16, float64 and 64-bit integers,
takes uint32 and signed bytes for what they are not, and leaves deep TIFF files in which 0 is white as they are.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from brainmri.io.intensity import value_range
from brainmri.io.limits import Limits, RationedBytes, UploadError
from brainmri.io.sanitize import ORIENTATION, check_size, orientation, page_alone, page_of

logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # it logs what stands in a file

NO_NUMBERS = "This image holds values that are no numbers (NaN) or infinite. Replace them and save it again."
PACKED = "This TIFF file has more than 8 bits and is compressed in a way that is not opened. Save it with LZW, or as PNG."
PLAIN_COMPRESSIONS = (1, 5, 8, 32773, 32946)  # none, LZW, deflate (two), PackBits
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2  # how a TIFF file says what its samples mean
OTHER, PREMULTIPLIED, STRAIGHT = 0, 1, 2  # what a further sample is
PNG_DEEP = 16  # bits
PNG_HEADER = 33  # bytes of signature and header
SAMPLED = 2**22  # values that the range of several images is taken from


@dataclass(frozen=True)
class Deep:
    """The values of an image of more than 8 bits.

    Attributes:
        values: (H, W) or, for red, green and blue, (H, W, 3); any kind of number, larger is brighter.
        opacity: 0..1, (H, W), by which the values are still to be multiplied; None where all is opaque.
        turn: how it is turned, as TIFF and EXIF number it; 1 is upright.
    """

    values: NDArray[np.number]
    opacity: NDArray[np.float64] | None = None
    turn: int = 1

    def seen(self) -> NDArray[np.number]:
        """The values that are not wholly transparent, in one row."""
        shown = self.values if self.opacity is None else self.values[self.opacity > 0]
        return shown.reshape(-1)

    def drawn(self, limits: tuple[float, float] | None = None) -> Image.Image:
        """As an upright image "L" or "RGB"; what is transparent is black.

        Args:
            limits: the values that become black and white; those of `range_of` this image if None.
        """
        low, high = limits or range_of([self])
        image = grey(self.values, low, high)
        if self.opacity is not None:
            opacity = self.opacity if self.values.ndim == 2 else self.opacity[:, :, None]
            image = Image.fromarray(np.round(np.asarray(image) * opacity).astype(np.uint8))
        if self.turn in range(2, 9):
            image.getexif()[ORIENTATION] = self.turn
            image = Image.fromarray(np.array(ImageOps.exif_transpose(image)))
        return image


def range_of(images: Iterable[Deep], count: int = 1) -> tuple[float, float]:
    """The values that are drawn black and white in each of these `count` images, which belong together."""
    rows = [row[:: 1 + row.size * count // SAMPLED].copy() if count > 1 else row for row in (one.seen() for one in images)]
    return value_range(rows[0] if len(rows) == 1 else np.concatenate(rows)) or (0.0, 0.0)


def grey(values: np.ndarray, low: float, high: float) -> Image.Image:
    """Values (H, W) or (H, W, 3) as an image: `low` and below is 0, `high` and above 255, linear between.

    What is no number is 0, and all is where `low` and `high` are the same.
    """
    scaled = values.astype(np.float64)
    scaled -= low
    if high > low:
        scaled *= 255 / (high - low)
    np.nan_to_num(scaled, copy=False, nan=0, posinf=255, neginf=0)
    np.clip(scaled, 0, 255, out=scaled)
    if high <= low:
        scaled[:] = 0
    return Image.fromarray(np.round(scaled, out=scaled).astype(np.uint8))


def read_deep(kind: str, data: bytes, page: int, limits: Limits) -> Deep | None:
    """The values of a PNG or TIFF file of more than 8 bits for each sample; None for every other image.

    Args:
        kind: as `sniff.kind_of` gives it.
        data: the file; a PNG as `sanitize.clean` leaves it, a TIFF that `sanitize.count_pages` has checked.

    Raises:
        UploadError: if it is too large, holds values that are no numbers, or is stored in a way that is not opened.
        Exception: of a dozen types, from the library that decodes, if it is broken.
    """
    if kind == "PNG" and data[24:25] == bytes([PNG_DEEP]):
        found = _png(data, limits)
    elif kind == "TIFF":
        one = page_of(data, page)
        if one.bits <= 8 and not one.signed:
            return None
        found = replace(_tiff(page_alone(data, page), limits), turn=one.turn)
    else:
        return None
    if found.values.dtype.kind == "f" and not np.isfinite(found.seen()).all():
        raise UploadError(NO_NUMBERS)
    return found


def _png(data: bytes, limits: Limits) -> Deep:
    """By torchvision: it keeps all 16 bits."""
    import torch
    from torchvision.io import ImageReadMode, decode_png

    width, height = struct.unpack_from(">2L", data, 16)
    check_size(width, height, limits, channels=4)
    solid, key, turn = _without_notes(data)
    pixels = decode_png(torch.frombuffer(bytearray(solid), dtype=torch.uint8), mode=ImageReadMode.UNCHANGED)
    samples = np.moveaxis(pixels.numpy(), 0, -1)
    colours = 3 if samples.shape[2] >= 3 else 1
    values = samples[:, :, :3] if colours == 3 else samples[:, :, 0]
    opacity = None
    if samples.shape[2] > colours:
        opacity = samples[:, :, colours] / 65535
    elif key:
        opacity = 1.0 - (samples == np.array(key[:colours])).all(2)
    return Deep(values, opacity, turn)


def _without_notes(data: bytes) -> tuple[bytes, tuple[int, ...], int]:
    """A PNG file without what stands before its pixels, the colour that is transparent, () for none, and the turn."""
    key: tuple[int, ...] = ()
    turn, place = 1, PNG_HEADER
    while data[place + 4 : place + 8] not in (b"IDAT", b""):
        length, name = struct.unpack_from(">L4s", data, place)
        if name == b"tRNS":
            key = struct.unpack_from(f">{length // 2}H", data, place + 8)
        elif name == b"eXIf":
            turn = orientation(data[place + 8 : place + 8 + length])
        place += 12 + length
    return data[:PNG_HEADER] + data[place:], key, turn


def _tiff(data: bytes, limits: Limits) -> Deep:
    """By tifffile. data: of one page (`sanitize.page_alone`)."""
    from tifffile import TiffFile

    with TiffFile(RationedBytes(data)) as file:
        page = file.pages.first
        meaning, samples = int(page.photometric), page.samplesperpixel
        check_size(page.imagewidth, page.imagelength, limits, channels=samples)
        if page.compression not in PLAIN_COMPRESSIONS:
            raise UploadError(PACKED)
        if page.dtype is None or page.dtype.kind not in "uif":
            raise UploadError(
                f"This TIFF file holds numbers of a kind that is not opened ({page.bitspersample} bits). "
                "Save it with integers of 16 bits or floats of 32."
            )
        extra = [int(one) for one in page.extrasamples]
        colours = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3}.get(meaning)
        if colours is None or samples != colours + len(extra) or (colours == 1 and OTHER in extra) or len(extra) > 1:
            raise UploadError(
                f"This TIFF file has more than 8 bits and {samples} channels that are neither grey nor red, green and "
                "blue. Save the one that is meant as a grey image."
            )
        for start, size in zip(page.dataoffsets, page.databytecounts, strict=True):
            if start + size > len(data):
                raise EOFError("truncated")
        found = page.asarray(maxworkers=1)
        if page.axes == "SYX":  # one plane after the other
            found = np.moveaxis(found, 0, -1)
        if page.axes not in ("YX", "YXS", "SYX"):
            raise UploadError("This TIFF file holds a volume as one page. Save it as NIfTI, or its slices as pages.")
    found = found.reshape(*found.shape[:2], -1)
    values = found[:, :, :3] if colours == 3 else found[:, :, 0]
    if meaning == WHITE_IS_ZERO:
        values = ~values if values.dtype.kind == "u" else -values.astype(np.float64)
    if not extra or extra[0] == OTHER or extra[0] == PREMULTIPLIED:  # which is laid on black already
        return Deep(values)
    alpha = found[:, :, colours]
    return Deep(values, alpha / (1.0 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max))
