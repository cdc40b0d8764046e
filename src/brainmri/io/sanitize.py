"""Image files without everything but the image: no texts, profiles, previews, later frames or appended files."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from PIL import Image, ImageChops

from brainmri.io.limits import MAX_RATIO, MAX_SIDE, Limits, UploadError, is_too_long

PIECES = 70_000  # chunks, segments; a PNG of 64 MB in chunks of 1 KB has 65,536
SCANS = 64  # of a progressive JPEG; the usual encoders make about ten, and each costs a pass over all pixels
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
WEBP_KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
WEBP_EXIF_FLAG, WEBP_KEPT_FLAGS = 0x08, 0x12  # transparency, animation
MARKER = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")  # 0xff00 and restarts (0xd0 to 0xd7) are part of the data
JPEG_START, JPEG_END, JPEG_SCAN, JPEG_COMMENT, JPEG_EXIF, JPEG_ALONE = 0xD8, 0xD9, 0xDA, 0xFE, 0xE1, 0x01
JPEG_JFIF, JPEG_ADOBE = 0xE0, 0xEE  # what a file of colours has to say of them
JPEG_KEPT_APPLICATION = (JPEG_JFIF, JPEG_ADOBE)
JPEG_SEQUENTIAL, JPEG_HUFFMAN, JPEG_QUANTIZATION, JPEG_RESTARTS = (0xC0, 0xC1), 0xC4, 0xDB, 0xDD
JFIF = b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"  # version 1.1, square pixels, no preview
WHOLE_SCAN = b"\0\x3f\0"  # all coefficients in one pass
FILLERS = tuple(bytes((place * step + step) % 255 for place in range(16)) for step in range(7, 231, 7))


def clean(kind: str, data: bytes) -> bytes:
    """The file of an image of `kind` as `kinds.kind_of` names it; BMP, GIF and TIFF files are given back as they are.

    Raises:
        UploadError: if it is made of more pieces than any good image.
    """
    if kind == "PNG":
        return _png(data)
    if kind == "JPEG":
        return _jpeg(data)
    if kind == "WebP":
        return _webp(data)
    return data


def bare_jpeg(data: bytes, image: Image.Image) -> bytes | None:
    """The JPEG file `data` of `image` ("L" or "RGB"), made anew of nothing but its coded pixels and their tables.

    None where it cannot be told that nothing else is in it: a file of several scans (progressive), with restart
    markers, with bytes behind the last coded pixel, or that then decodes to other pixels.
    """
    try:
        head, scan = _jpeg_parts(data)
        bare = head + scan + b"\xff\xd9"
        with Image.open(io.BytesIO(bare), formats=("JPEG",)) as file:
            how = file.tile[0][3]
            same = file.mode == image.mode and file.tobytes() == image.tobytes()
        return bare if same and not _ends_early(head, scan, image, how) else None
    except Exception:  # of another kind, or oddly made: Pillow raises a dozen types
        return None


def _jpeg_parts(data: bytes) -> tuple[bytes, bytes]:
    """All that stands before the coded pixels, made anew, and these.

    Raises:
        ValueError, IndexError, KeyError, struct.error: if it is no plain file of one scan.
    """
    place, tables, coding, frame = 2, {}, {}, b""
    colours: list[bytes] = []
    while True:
        found = MARKER.match(data, place)
        if not found:
            raise ValueError("something between two segments")
        marker, place = data[found.end() - 1], found.end()
        (length,) = struct.unpack_from(">H", data, place)
        content = data[place + 2 : place + length]
        place += length
        if marker == JPEG_JFIF and content.startswith(b"JFIF\0"):
            colours.append(_segment(JPEG_JFIF, JFIF))
        elif marker == JPEG_ADOBE and content.startswith(b"Adobe"):
            colours.append(_segment(JPEG_ADOBE, b"Adobe\0\x64\0\0\0\0" + content[11:12]))
        elif marker == JPEG_QUANTIZATION:
            while content:
                size = 65 + 64 * (content[0] >> 4)
                tables[content[0] & 15], content = content[:size], content[size:]
        elif marker == JPEG_HUFFMAN:
            while content:
                size = 17 + sum(content[1:17])
                coding[content[0]], content = content[:size], content[size:]
        elif marker in JPEG_SEQUENTIAL and not frame:
            frame, kind = content, marker
        elif marker == JPEG_SCAN:
            break
        elif not (0xE0 <= marker <= 0xEF or marker == JPEG_COMMENT):
            raise ValueError("a segment of another kind")
    count = frame[5]
    if len(frame) != 6 + 3 * count or len(content) != 4 + 2 * count or content[-3:] != WHOLE_SCAN:
        raise ValueError("several scans")
    end = MARKER.search(data, place)
    scan = data[place : end.start()] if end else b""
    if not end or data[end.end() - 1] != JPEG_END or re.search(rb"\xff[\xd0-\xd7]", scan):
        raise ValueError("several scans, restarts, or no end")
    used = sorted({frame[8 + 3 * k] for k in range(count)})
    coded = [content[2 + 2 * k] for k in range(count)]
    codes = sorted({code >> 4 for code in coded} | {16 + (code & 15) for code in coded})
    head = [b"\xff\xd8", *dict.fromkeys(colours)]
    head += [_segment(JPEG_QUANTIZATION, tables[number]) for number in used]
    head.append(_segment(kind, frame))
    head += [_segment(JPEG_HUFFMAN, coding[number]) for number in codes]
    return b"".join([*head, _segment(JPEG_SCAN, content)]), scan


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _ends_early(head: bytes, scan: bytes, image: Image.Image, how: object) -> bool:
    """Whether the coded pixels are complete before the last byte of the scan, which then is no part of them.

    The scan is decoded without that byte and with others behind it, onto an image that has no pixel of the true one:
    its last row comes out right in every way of going on that is tried only where all of it was there.
    """
    most = scan[: -2 if scan.endswith(b"\xff\0") else -1]
    height = image.height
    last = image.crop((0, height - 1, image.width, height)).tobytes()
    for filler in FILLERS:
        canvas = ImageChops.invert(image)
        with suppress(ValueError):  # it waits for more
            canvas.frombytes(head + most + filler, "jpeg", how)
        if canvas.crop((0, height - 1, image.width, height)).tobytes() != last:
            return False
    return True


def _png(data: bytes) -> bytes:
    view, place = memoryview(data), 8
    kept: list[bytes | memoryview] = [view[:8]]
    turn = 1
    for _ in range(PIECES):
        length, name = _header(">I4s", data, place)
        if name in PNG_KEPT:
            kept.append(view[place : place + 12 + length])
        elif name == b"eXIf":
            turn = orientation(bytes(view[place + 8 : place + 8 + length]))
        if name in (b"", b"IEND"):
            break
        place += 12 + length
    else:
        raise _too_many_pieces("PNG")
    if turn != 1:
        chunk = b"eXIf" + _exif(turn)
        kept.insert(2, struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)))
    return b"".join(kept)


def _jpeg(data: bytes) -> bytes:
    view, place = memoryview(data), 2
    kept: list[bytes | memoryview] = [view[:2]]
    turn, scans = 1, 0
    for _ in range(PIECES):
        found = MARKER.search(data, place)
        marker = data[found.end() - 1] if found else JPEG_END
        if not found or marker == JPEG_END:
            kept.append(b"\xff\xd9" if found else b"")
            break
        place = found.end()
        if marker in (JPEG_START, JPEG_ALONE):
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        segment = view[place : place + length]
        if marker == JPEG_EXIF and segment[2:8] == b"Exif\0\0":
            turn = orientation(bytes(segment[2:]))
        if marker in JPEG_KEPT_APPLICATION or not (0xE0 <= marker <= 0xEF or marker == JPEG_COMMENT):
            kept += [bytes((0xFF, marker)), segment]
        place += max(length, 2)
        if marker == JPEG_SCAN:
            scans += 1
            following = MARKER.search(data, place)
            end = following.start() if following else len(data)
            kept.append(view[place:end])
            place = end
    else:
        raise _too_many_pieces("JPEG")
    if scans > SCANS:
        raise _too_many_pieces("JPEG")
    if turn != 1:
        exif = b"Exif\0\0" + _exif(turn)
        kept.insert(1, b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif)
    return b"".join(kept)


def _webp(data: bytes) -> bytes:
    view, place = memoryview(data), 12
    end = 8 + int.from_bytes(data[4:8], "little")
    kept: list[bytes | memoryview] = []
    turn, extended = 1, False
    for _ in range(PIECES):
        name, length = _header("<4sI", data, place)
        if not name or place >= end:
            break
        after = place + 8 + length + length % 2
        if name == b"VP8X" and not kept:
            extended = True
            flags = data[place + 8 : place + 9]
            kept += [view[place : place + 8], bytes((flags[0] & WEBP_KEPT_FLAGS,)) if flags else b""]
            kept.append(view[place + 9 : after])
        elif name in WEBP_KEPT:
            kept.append(view[place:after])
        elif name == b"EXIF":
            turn = orientation(bytes(view[place + 8 : after]))
        place = after
    else:
        raise _too_many_pieces("WebP")
    if turn != 1 and extended:
        exif = _exif(turn)
        kept[1] = bytes((bytes(kept[1])[0] | WEBP_EXIF_FLAG,)) if kept[1] else b""
        kept.append(struct.pack("<4sI", b"EXIF", len(exif)) + exif + b"\0" * (len(exif) % 2))
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _header(form: str, data: bytes, place: int) -> tuple:
    """The two values that begin a chunk; zeros and empty bytes behind the end of the file."""
    if place + 8 > len(data):
        return (0, b"") if form.startswith(">") else (b"", 0)
    return struct.unpack_from(form, data, place)


def _exif(turn: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _too_many_pieces(kind: str) -> UploadError:
    return UploadError(f"This {kind} file is made of more pieces than any usual image. Save it again as PNG.")


SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}  # bytes of a type
TEXT_TYPES = (1, 2, 7)  # bytes, characters, undefined: kept as they are, where numbers become objects
ENTRIES = 512  # in one directory
NUMBERS = 65_536  # in one entry: strips of one row each
WIDTH, LENGTH, COMPRESSION, ORIENTATION, TILE_WIDTH, TILE_LENGTH = 256, 257, 259, 274, 322, 323
# none, CCITT (three), LZW, JPEG, deflate (two), PackBits
COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
TOO_LONG = (
    f"This image is too long: at most {MAX_SIDE:,} pixels on a side, and {MAX_RATIO} times as long as wide, are read."
    " Crop it."
)
BROKEN = "This TIFF file is broken. Save it again, as TIFF or PNG."
Entry = tuple[int, int, int, bytes]  # tag, type, count, and the value or where it stands


def count_pages(data: bytes, limits: Limits) -> int:
    """How many images a TIFF file holds; every directory is checked.

    Raises:
        UploadError: if it is broken, has too many pages or pixels, or points to more than it holds.
    """
    order = byte_order(data)
    count = pointed = 0
    for entries in directories(data):
        count += 1
        if count > limits.slices:
            raise UploadError(f"This TIFF file has more than {limits.slices:,} pages. Save the pages that matter.")
        for tag, kind, values, _ in entries:
            pointed += SIZES.get(kind, 0) * values
            if pointed > len(data) or (values > NUMBERS and kind not in TEXT_TYPES) or (tag == WIDTH and values != 1):
                raise UploadError(BROKEN)
        _check_page({tag: number(kind, value, order) for tag, kind, _, value in entries}, limits)
    if not count:
        raise UploadError(BROKEN)
    return count


def directories(data: bytes) -> Iterator[list[Entry]]:
    """The entries of each page; those that a loop leads back to only once."""
    order = byte_order(data)
    seen: set[int] = set()
    (place,) = unpack(f"{order}L", data, 4)
    while place and place not in seen:
        seen.add(place)
        entries = list(_entries(data, place, order))
        yield entries
        (place,) = unpack(f"{order}L", data, place + 2 + 12 * len(entries))


def byte_order(data: bytes) -> str:
    return "<" if data.startswith(b"II") else ">"


def orientation(exif: bytes) -> int:
    """How a photograph is turned (EXIF, 1 to 8; 1: upright); 1 for an EXIF block that is broken or says nothing."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = byte_order(exif)
    try:
        (place,) = unpack(f"{order}L", exif, 4)
        entries = list(_entries(exif, place, order))
    except UploadError:
        return 1
    turns = [number(kind, value, order) for tag, kind, _, value in entries if tag == ORIENTATION]
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
    """Whether an image may be decoded: its area, and its sides, which cost more than their pixels tell.

    Raises:
        UploadError: if it has too many pixels, or is too long.
    """
    if width * height * channels > limits.pixels:
        raise too_large(limits)
    if is_too_long(width, height):
        raise UploadError(TOO_LONG)


def too_large(limits: Limits) -> UploadError:
    return UploadError(f"This image has more than {limits.pixels:,} pixels. Make it smaller.")


def _entries(data: bytes, place: int, order: str) -> Iterator[Entry]:
    (count,) = unpack(f"{order}H", data, place)
    if not 0 < count <= ENTRIES:
        raise UploadError(BROKEN)
    for number in range(count):
        yield unpack(f"{order}HHL4s", data, place + 2 + 12 * number)  # type: ignore[misc]


def number(kind: int, value: bytes, order: str) -> int:
    """A value that stands in the entry itself, as those of one SHORT or LONG do."""
    return int(unpack(f"{order}H" if kind == 3 else f"{order}L", value, 0)[0])


def unpack(form: str, data: bytes, place: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, place)
    except struct.error:
        raise UploadError(BROKEN) from None
