"""The directories of a TIFF file (and of the EXIF block of a photograph), looked at before Pillow follows them.

Pillow copies whatever an entry points to, entry by entry: a few kilobytes can ask for gigabytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from brainmri.data.bounds import MAX_RATIO, MAX_SIDE, is_too_long
from brainmri.demo.uploads.limits import Limits, UploadError

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}  # bytes of a type
TEXT_TYPES = (1, 2, 7)  # bytes, characters, undefined: kept as they are, where numbers become objects
ENTRIES = 512  # in one directory
NUMBERS = 65_536  # in one entry: strips of one row each
WIDTH, LENGTH, COMPRESSION, ORIENTATION, TILE_WIDTH, TILE_LENGTH = 256, 257, 259, 274, 322, 323
# none, CCITT (three), LZW, JPEG, deflate (two), PackBits
COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)

TOO_LONG = (
    f"This picture is too long: at most {MAX_SIDE:,} pixels on a side, and {MAX_RATIO} times as long as wide, are read."
    " Crop it and upload it again."
)
BROKEN = "This TIFF file is broken. Save it again, as TIFF or PNG."

Entry = tuple[int, int, int, bytes]  # tag, type, count, and the value or where it stands


def count_pages(data: bytes, limits: Limits) -> int:
    """How many pictures a TIFF file holds; every directory is checked.

    Raises:
        UploadError: if it is broken, has too many pages or pixels, or points to more than it holds.
    """
    order = "<" if data.startswith(b"II") else ">"
    seen: set[int] = set()
    pointed = 0
    (place,) = _unpack(f"{order}L", data, 4)
    while place and place not in seen:
        seen.add(place)
        if len(seen) > limits.slices:
            raise UploadError(f"This TIFF file has more than {limits.slices:,} pages. Save the pages that matter.")
        entries = list(_entries(data, place, order))
        for tag, kind, count, _ in entries:
            pointed += SIZES.get(kind, 0) * count
            if pointed > len(data) or (count > NUMBERS and kind not in TEXT_TYPES) or (tag == WIDTH and count != 1):
                raise UploadError(BROKEN)
        _check_page({tag: _number(kind, value, order) for tag, kind, _, value in entries}, limits)
        (place,) = _unpack(f"{order}L", data, place + 2 + 12 * len(entries))
    if not seen:
        raise UploadError(BROKEN)
    return len(seen)


def orientation(exif: bytes) -> int:
    """How a photograph is turned (EXIF, 1 to 8; 1: upright); 1 for an EXIF block that is broken or says nothing."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = "<" if exif.startswith(b"II") else ">"
    try:
        (place,) = _unpack(f"{order}L", exif, 4)
        entries = list(_entries(exif, place, order))
    except UploadError:
        return 1
    turns = [_number(kind, value, order) for tag, kind, _, value in entries if tag == ORIENTATION]
    return turns[-1] if turns and turns[-1] in range(1, 9) else 1


def _check_page(page: dict[int, int], limits: Limits) -> None:
    width, length = page.get(WIDTH, 0), page.get(LENGTH, 0)
    if not width or not length:
        raise UploadError(BROKEN)
    tile = page.get(TILE_WIDTH, 0), page.get(TILE_LENGTH, 0)
    if tile[0] * tile[1] > limits.pixels or max(tile) > MAX_SIDE:
        raise too_large(limits)
    check_size(width, length, limits)
    if page.get(COMPRESSION, 1) not in COMPRESSIONS:
        raise UploadError(
            "This TIFF file is compressed in a way that is not opened here. Save it uncompressed, with LZW, or as PNG."
        )


def check_size(width: int, height: int, limits: Limits, channels: int = 1) -> None:
    """Whether a picture may be decoded: its area, and its sides, which cost more than their pixels tell.

    Raises:
        UploadError: if it has too many pixels, or is too long.
    """
    if width * height * channels > limits.pixels:
        raise too_large(limits)
    if is_too_long(width, height):
        raise UploadError(TOO_LONG)


def too_large(limits: Limits) -> UploadError:
    return UploadError(f"This picture has more than {limits.pixels:,} pixels. Make it smaller and upload it again.")


def _entries(data: bytes, place: int, order: str) -> Iterator[Entry]:
    (count,) = _unpack(f"{order}H", data, place)
    if not 0 < count <= ENTRIES:
        raise UploadError(BROKEN)
    for number in range(count):
        yield _unpack(f"{order}HHL4s", data, place + 2 + 12 * number)  # type: ignore[misc]


def _number(kind: int, value: bytes, order: str) -> int:
    """A value that stands in the entry itself, as those of one SHORT or LONG do."""
    return int(_unpack(f"{order}H" if kind == 3 else f"{order}L", value, 0)[0])


def _unpack(form: str, data: bytes, place: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, place)
    except struct.error:
        raise UploadError(BROKEN) from None
