"""What a page of a TIFF file says of itself, and its values where these are of more than 8 bits.

Pillow decodes them as bytes: a copy of the page's directory calls each row a row of single bytes. So its decoder, which
is made for untrusted files, does what is risky, and what the bytes mean is read here. Pillow itself opens no float16,
float64 and 64-bit integers, halves 16-bit colours, and leaves deep pages in which 0 is white as they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainmri.io.limits import Limits, RationedBytes, UploadError, megabytes
from brainmri.io.sanitize import (
    COMPRESSION,
    LENGTH,
    ORIENTATION,
    TILE_LENGTH,
    TILE_WIDTH,
    WIDTH,
    Entry,
    byte_order,
    check_size,
    directories,
    number,
    unpack,
)

BITS, PHOTOMETRIC, STRIP_OFFSETS, SAMPLES, STRIP_COUNTS = 258, 262, 273, 277, 279
PLANAR, PREDICTOR, TILE_OFFSETS, TILE_COUNTS, EXTRA_SAMPLES, SAMPLE_FORMAT = 284, 317, 324, 325, 338, 339
KEPT = (LENGTH, COMPRESSION, 266, 278, TILE_LENGTH)  # and the order of bits, rows in a strip
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2  # how a page says what its samples mean
OTHER, PREMULTIPLIED, STRAIGHT = 0, 1, 2  # what a further sample is
SEPARATE = 2  # one plane of samples after the other
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3  # predictors
PREDICTING = (5, 8, 32946)  # compressions that have one: LZW, deflate
PLAIN = (1, *PREDICTING, 32773)  # and none, PackBits
MOST_BYTES = 80 * 2**20  # of a plane: Pillow takes them for pixels, and warns of more
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
TYPES = {
    (UNSIGNED, 16): "u2", (UNSIGNED, 32): "u4", (UNSIGNED, 64): "u8",
    (SIGNED, 8): "i1", (SIGNED, 16): "i2", (SIGNED, 32): "i4", (SIGNED, 64): "i8",
    (FLOAT, 16): "f2", (FLOAT, 32): "f4", (FLOAT, 64): "f8",
}  # fmt: skip
PACKED_BITS = (10, 12, 14)  # unsigned, without gaps
PACKED = "This TIFF file of more than 8 bits is compressed in a way that is not opened. Save it with LZW, or as PNG."
SHORT, LONG = 3, 4  # types
SIZES = {SHORT: 2, LONG: 4}  # bytes of the types of an offset


@dataclass(frozen=True)
class Page:
    """Of a TIFF file. bits, formats: of each sample (formats: 1 unsigned, 2 signed, 3 float), or one for all.

    turn: 1 (upright) to 8. extra: what each sample beside grey or colours is. numbers: first values, by their tags.
    """

    width: int
    length: int
    turn: int
    bits: tuple[int, ...]
    formats: tuple[int, ...]
    extra: tuple[int, ...]
    numbers: dict[int, int]
    entries: dict[int, Entry]

    @property
    def white_is_zero(self) -> bool:
        return self.numbers.get(PHOTOMETRIC) == WHITE_IS_ZERO


def page_of(data: bytes, page: int) -> Page:
    """What a page says of itself, in a TIFF file that `sanitize.count_pages` has checked."""
    order = byte_order(data)
    entries = {entry[0]: entry for entry in next(islice(directories(data), page, None))}
    one = {tag: number(kind, value, order) for tag, kind, _, value in entries.values()}
    return Page(
        width=one[WIDTH],
        length=one[LENGTH],
        turn=one.get(ORIENTATION, 1),
        bits=_shorts(entries.get(BITS), data) or (1,),
        formats=_shorts(entries.get(SAMPLE_FORMAT), data) or (1,),
        extra=_shorts(entries.get(EXTRA_SAMPLES), data),
        numbers=one,
        entries=entries,
    )


def _shorts(entry: Entry | None, data: bytes) -> tuple[int, ...]:
    """The values of a tag that a page may have for each sample."""
    if entry is None or entry[1] != SHORT:
        return ()
    _, _, count, value = entry
    order = byte_order(data)
    place = unpack(f"{order}L", value, 0)[0]
    return unpack(f"{order}{count}H", value if count <= 2 else data[place : place + 2 * count], 0)


def page_values(data: bytes, page: Page, limits: Limits) -> tuple[NDArray[np.number], NDArray[np.float64] | None]:
    """The values of a page, (H, W) or (H, W, 3), larger is brighter, and its opacity 0..1, (H, W), or None.

    Where 0 is white, they are the negatives of what the file holds.

    Args:
        page: of `data`, as `page_of` gives it.

    Raises:
        UploadError: if it is too large, or stored in a way that is not opened.
        Exception: of a dozen types, from Pillow, if it is broken.
    """
    meaning, samples = page.numbers.get(PHOTOMETRIC, BLACK_IS_ZERO), page.numbers.get(SAMPLES, 1)
    check_size(page.width, page.length, limits, samples)
    colours = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3}.get(meaning)
    strange = colours == 1 and OTHER in page.extra
    if colours is None or samples != colours + len(page.extra) or strange or len(page.extra) > 1:
        raise UploadError(
            f"This TIFF file has more than 8 bits and {samples} channels that are neither grey nor red, green and "
            "blue. Save the one that is meant as a grey image."
        )
    if page.numbers.get(COMPRESSION, 1) not in PLAIN:
        raise UploadError(PACKED)
    values = _samples(data, page, samples)
    shown = values[:, :, :3] if colours == 3 else values[:, :, 0]
    if page.white_is_zero:
        shown = -shown.astype(np.float64)
    if not page.extra or page.extra[0] != STRAIGHT:  # what is premultiplied lies on black already
        return shown, None
    alpha = values[:, :, colours]
    return shown, alpha.astype(np.float64) / (1.0 if alpha.dtype.kind == "f" else 2.0 ** page.bits[0] - 1)


def _samples(data: bytes, page: Page, samples: int) -> NDArray[np.number]:
    """All samples, (H, W, S)."""
    bits, form = page.bits[0], page.formats[0]
    packed = form == UNSIGNED and bits in PACKED_BITS
    alike = len({*page.bits}) == len({*page.formats}) == 1
    predictor = page.numbers.get(PREDICTOR, 1) if page.numbers.get(COMPRESSION, 1) in PREDICTING else 1
    if not alike or not (packed or (form, bits) in TYPES) or (packed and predictor != 1):
        kind = {UNSIGNED: "integers", SIGNED: "signed integers", FLOAT: "floats"}.get(form, "numbers of another kind")
        raise UploadError(
            f"This TIFF file holds {kind} of {bits} bits, which are not opened. Save it with integers of 16 bits."
        )
    planes = samples if page.numbers.get(PLANAR, 1) == SEPARATE else 1
    inside = samples // planes  # of a pixel, in a plane
    tile = page.numbers.get(TILE_WIDTH, page.width)
    columns = -(-page.width // tile) * tile  # with what the last tile has too much
    row = -(-columns * inside * bits // 8)
    if row * page.length > MOST_BYTES:
        raise UploadError(
            f"This image holds more than {megabytes(MOST_BYTES)} of values. Make it smaller, or save it with 16 bits."
        )
    found = []
    for plane in range(planes):
        coded = _bytes(data, page, row, tile * inside * bits // 8, plane, planes)
        if packed:
            values: NDArray[np.number] = np.stack([_unpacked(line, columns * inside, bits) for line in coded])
        elif predictor == FLOAT_DIFFERENCES:
            values = _from_float_differences(coded, tile, inside, TYPES[form, bits])
        else:
            values = coded.view(byte_order(data) + TYPES[form, bits])
            values = values.astype(values.dtype.newbyteorder("="))
        values = values.reshape(page.length, -1, tile, inside)
        if predictor == DIFFERENCES:
            whole = values.view(f"u{values.dtype.itemsize}")
            values = np.cumsum(whole, axis=2, dtype=whole.dtype).view(values.dtype)
        found.append(values.reshape(page.length, columns, inside)[:, : page.width])
    return np.concatenate(found, axis=2) if planes > 1 else found[0]


def _bytes(data: bytes, page: Page, row: int, tile: int, plane: int, planes: int) -> NDArray[np.uint8]:
    """The bytes of a plane, decoded, (H, row). tile: bytes of a row of a tile."""
    order = byte_order(data)
    entries = [page.entries[tag] for tag in KEPT if tag in page.entries]
    for tag, value in ((WIDTH, row), (BITS, 8), (PHOTOMETRIC, BLACK_IS_ZERO), (SAMPLES, 1)):
        entries.append((tag, LONG, 1, struct.pack(f"{order}L", value)))
    if TILE_WIDTH in page.entries:
        entries.append((TILE_WIDTH, LONG, 1, struct.pack(f"{order}L", tile)))
    for tag in (STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS):
        if tag in page.entries:
            entries.append(_share(page.entries[tag], plane, planes, data))
    place = len(data) + len(data) % 2
    directory = b"".join(struct.pack(f"{order}HHL4s", *entry) for entry in sorted(entries))
    start = data[:4] + struct.pack(f"{order}L", place) + data[8:].ljust(place - 8, b"\0")
    alone = start + struct.pack(f"{order}H", len(entries)) + directory + bytes(4)
    with Image.open(RationedBytes(alone), formats=("TIFF",)) as file:
        return np.array(file)


def _share(entry: Entry, plane: int, planes: int, data: bytes) -> Entry:
    """The entry of where strips or tiles stand, or how long they are, with those of one plane only."""
    tag, kind, count, value = entry
    each, whole = count // planes * SIZES[kind], count * SIZES[kind]
    (place,) = struct.unpack(f"{byte_order(data)}L", value)
    mine = (value if whole <= 4 else data[place : place + whole])[plane * each :][:each]
    here = mine.ljust(4, b"\0") if each <= 4 else struct.pack(f"{byte_order(data)}L", place + plane * each)
    return tag, kind, count // planes, here


def _unpacked(line: NDArray[np.uint8], count: int, bits: int) -> NDArray[np.uint16]:
    """`count` numbers of so many bits each, that stand in a row of bytes without gaps."""
    single = np.unpackbits(line)[: count * bits].reshape(count, bits)
    return np.asarray(single @ (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16), np.uint16)


def _from_float_differences(coded: NDArray[np.uint8], tile: int, inside: int, kind: str) -> NDArray[np.number]:
    """The values of rows (H, bytes) that hold, for each tile, the differences of the bytes, the highest ones first."""
    size = np.dtype(kind).itemsize
    differences = coded.reshape(len(coded), -1, tile * size, inside)
    ordered = np.cumsum(differences, axis=2, dtype=np.uint8).reshape(len(coded), -1, size, tile * inside)
    whole = np.ascontiguousarray(ordered.swapaxes(2, 3)).view(">" + kind)
    return whole.astype(kind)
