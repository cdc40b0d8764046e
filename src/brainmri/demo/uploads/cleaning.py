"""Picture files without everything but the picture: no texts, profiles, previews, later frames or appended files.

What is cut away is what hostile files are made of (compressed texts, EXIF directories that point in circles, another
file behind the end), and what tells who took a picture where. Only the turn of a photograph is kept.
"""

from __future__ import annotations

import re
import struct
import zlib

from PIL import Image

from brainmri.demo.uploads.directories import ORIENTATION, orientation
from brainmri.demo.uploads.limits import UploadError

PIECES = 70_000  # chunks, segments; a PNG of 64 MB in chunks of 1 KB has 65,536
SCANS = 64  # of a progressive JPEG; the usual encoders make about ten, and each costs a pass over all pixels
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
WEBP_KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
WEBP_EXIF_FLAG, WEBP_KEPT_FLAGS = 0x08, 0x12  # transparency, animation
MARKER = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")  # 0xff00 and restarts (0xd0 to 0xd7) are part of the data
JPEG_START, JPEG_END, JPEG_SCAN, JPEG_COMMENT, JPEG_EXIF, JPEG_ALONE = 0xD8, 0xD9, 0xDA, 0xFE, 0xE1, 0x01
JPEG_KEPT_APPLICATION = (0xE0, 0xEE)  # JFIF, and Adobe's kind of colour


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
