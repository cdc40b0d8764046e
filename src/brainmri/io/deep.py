"""Images of more than 8 bits: the values that a PNG or TIFF file holds, and how they become 8-bit images.

Of colours of 16 bits, and of grey with transparency, Pillow keeps the upper 8.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from brainmri.io.intensity import grey, head_range
from brainmri.io.limits import Limits
from brainmri.io.sanitize import ORIENTATION, check_size, orientation
from brainmri.io.tiff import UNSIGNED, page_of, page_values

PNG_BITS = 24  # where a PNG file says how many bits a sample has
SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}  # of the kinds of PNG images that may have 16 bits
SAMPLED = 2**22  # values that the range of several images is taken from


@dataclass(frozen=True)
class Deep:
    """The values of an image of more than 8 bits.

    Attributes:
        values: (H, W) or, for red, green and blue, (H, W, 3); any kind of number, larger is brighter.
        opacity: 0..1, (H, W), by which the values are still to be multiplied; None where all is opaque.
        turn: how it is turned, as TIFF and EXIF number it; 1 is upright.
        negated: whether the values were changed to their negatives, because 0 is white in the file.
    """

    values: NDArray[np.number]
    opacity: NDArray[np.float64] | None = None
    turn: int = 1
    negated: bool = False

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
    seen, negated = [], False
    for image in images:
        seen.append(image.seen() if count == 1 else _some(image.seen(), count))
        negated |= image.negated
    values = seen[0] if len(seen) == 1 else np.concatenate(seen)
    # Negative values may be padding, but not those that were not negative in the file.
    shift = float(values.min()) if negated and values.size else 0.0
    low, high = head_range(values - shift if shift else values) or (0.0, 0.0)
    return low + shift, high + shift


def _some(values: NDArray[np.number], count: int) -> NDArray[np.number]:
    return values[:: 1 + values.size * count // SAMPLED].copy()  # so that the rest is not kept


def read_deep(kind: str, data: bytes, page: int, limits: Limits) -> Deep | None:
    """The values of a PNG or TIFF file of more than 8 bits for each sample; None for every other image.

    Args:
        kind: as `sniff.kind_of` gives it.
        data: the file; a PNG as `sanitize.clean` leaves it, a TIFF that `sanitize.count_pages` has checked.

    Raises:
        UploadError: if it is too large, or is stored in a way that is not opened.
        Exception: of a dozen types, from the library that decodes, if it is broken.
    """
    if kind == "PNG" and data[PNG_BITS : PNG_BITS + 1] == bytes([16]):
        return _png(data, limits)
    if kind == "TIFF":
        one = page_of(data, page)
        if max(one.bits) <= 8 and one.formats == (UNSIGNED,) * len(one.formats):
            return None
        values, opacity = page_values(data, one, limits)
        return Deep(values, opacity, one.turn, negated=one.white_is_zero)
    return None


def _png(data: bytes, limits: Limits) -> Deep:
    """By Pillow's decoder, which is told of bytes, or asked for the upper ones and the lower ones."""
    width, height, _, colour, _, _, interlaced = struct.unpack_from(">2L5B", data, 16)
    check_size(width, height, limits, SAMPLES[colour])
    packed, key, turn = _png_parts(data)

    def decoded(mode: str, how: str) -> NDArray[np.uint16]:
        image = Image.frombytes(mode, (width, height), packed, "zip", how, interlaced)
        return np.asarray(image).astype(np.uint16)

    if SAMPLES[colour] <= 2:
        single = decoded("RGBA", "RGBA") if SAMPLES[colour] == 2 else decoded("LA", "LA")
        samples = single[:, :, 0::2] << 8 | single[:, :, 1::2]
    else:
        mode = "RGB" if SAMPLES[colour] == 3 else "RGBA"
        samples = decoded(mode, f"{mode};16B") << 8 | decoded(mode, f"{mode};16L")
    colours = 3 if SAMPLES[colour] >= 3 else 1
    values = samples[:, :, :3] if colours == 3 else samples[:, :, 0]
    if SAMPLES[colour] > colours:
        return Deep(values, samples[:, :, colours] / 65535, turn)
    return Deep(values, 1.0 - (samples == np.array(key)).all(2) if len(key) == colours else None, turn)


def _png_parts(data: bytes) -> tuple[bytes, tuple[int, ...], int]:
    """The packed pixels of a PNG file, the colour that is transparent, () for none, and the turn (1 to 8).

    Raises:
        ValueError: if a check sum is wrong or the end is missing.
    """
    packed: list[bytes] = []
    key: tuple[int, ...] = ()
    turn, place, name = 1, 8, b""
    while name != b"IEND":
        length, name = struct.unpack_from(">L4s", data, place)
        content = data[place + 8 : place + 8 + length]
        (check,) = struct.unpack_from(">L", data, place + 8 + length)
        if zlib.crc32(content, zlib.crc32(name)) != check:
            raise ValueError("a check sum is wrong")
        if name == b"IDAT":
            packed.append(content)
        elif name == b"tRNS":
            key = struct.unpack(f">{length // 2}H", content)
        elif name == b"eXIf":
            turn = orientation(content)
        place += 12 + length
    return b"".join(packed), key, turn
