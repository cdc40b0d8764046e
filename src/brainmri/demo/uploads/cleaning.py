"""Picture files without everything but the picture: no texts, profiles, previews, later frames or appended files.

What is cut away is what hostile files are made of (compressed texts, EXIF directories that point in circles, another
file behind the end), and what tells who took a picture where. `clean` keeps the turn of a photograph, for whoever
decodes the file next; `bare_jpeg` keeps nothing, for what is written and published.

Own code, since the packages that strip files know their comments only (piexif EXIF, others what Pillow lists) and leave
what stands between segments, inside tables, behind the coded pixels and behind the end.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from contextlib import suppress

from PIL import Image, ImageChops

from brainmri.demo.uploads.directories import ORIENTATION, orientation
from brainmri.demo.uploads.limits import UploadError

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
    """The file of a picture of `kind` as `kinds.kind_of` names it; BMP, GIF and TIFF files are given back as they are.

    Raises:
        UploadError: if it is made of more pieces than any good picture.
    """
    if kind == "PNG":
        return _png(data)
    if kind == "JPEG":
        return _jpeg(data)
    if kind == "WebP":
        return _webp(data)
    return data


def bare_jpeg(data: bytes, picture: Image.Image) -> bytes | None:
    """The JPEG file `data` of `picture` ("L" or "RGB"), made anew of nothing but its coded pixels and their tables.

    None where it cannot be told that nothing else is in it: a file of several scans (progressive), with restart
    markers, with bytes behind the last coded pixel, or that then decodes to other pixels.
    """
    try:
        head, scan = _jpeg_parts(data)
        bare = head + scan + b"\xff\xd9"
        with Image.open(io.BytesIO(bare), formats=("JPEG",)) as file:
            how = file.tile[0][3]
            same = file.mode == picture.mode and file.tobytes() == picture.tobytes()
        return bare if same and not _ends_early(head, scan, picture, how) else None
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


def _ends_early(head: bytes, scan: bytes, picture: Image.Image, how: object) -> bool:
    """Whether the coded pixels are complete before the last byte of the scan, which then is no part of them.

    The scan is decoded without that byte and with others behind it, onto a picture that has no pixel of the true one:
    its last row comes out right in every way of going on that is tried only where all of it was there.
    """
    most = scan[: -2 if scan.endswith(b"\xff\0") else -1]
    height = picture.height
    last = picture.crop((0, height - 1, picture.width, height)).tobytes()
    for filler in FILLERS:
        canvas = ImageChops.invert(picture)
        with suppress(ValueError):  # it waits for more
            canvas.frombytes(head + most + filler, "jpeg", how)
        if canvas.crop((0, height - 1, picture.width, height)).tobytes() != last:
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
    return UploadError(f"This {kind} file is made of more pieces than any usual picture. Save it again as PNG.")
