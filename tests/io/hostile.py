"""Hostile and broken files, and the page that tells what each is answered.

python -m tests.io.hostile docs/hostile-inputs.md
"""

import gzip
import io
import struct
import sys
import tempfile
import textwrap
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG2MPML, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from brainmri.demo.server.body_limits import BodyLimits
from brainmri.demo.server.files import REDIRECTS, SECONDS
from brainmri.demo.unpack import unpack_dataset
from brainmri.demo.upload_retention import SESSIONS
from brainmri.io.limits import LIMITS, MAX_RATIO, MAX_SIDE, UploadError, megabytes
from brainmri.io.open import open_many, open_upload

from .good import NOISE, RAMP, archive, chunk, dataset, dicom, image, volume, with_chunk, written

ERROR, IMAGE = "error", "image"
MANY = 10_000_000
ZERO = b"\0" * MANY
LONG = np.resize(np.arange(251, dtype=np.uint8), (65_536, 8))  # few pixels, and one long side
BOMB = zlib.compress(ZERO * 20, 1)


@dataclass(frozen=True)
class Hostile:
    """name: what is hostile about it. kind: what it is, or pretends to be; those of "ZIP" are for many files and for
    the audit. expects: "error", or "image" where what is hostile must be passed over."""

    name: str
    kind: str
    path: Path
    expects: str


def hostile_files(folder: Path) -> list[Hostile]:
    """Write all of them into `folder`."""
    found = []
    makers = (_unknown, _png, _jpeg, _tiff, _other_images, _dicom, _nifti, _zip)
    for number, (kind, name, file_name, data, expects) in enumerate(one for make in makers for one in make()):
        path = folder / f"{number:03d}" / file_name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        found.append(Hostile(name, kind, path, expects))
    return found


Made = Iterator[tuple[str, str, str, bytes, str]]


def _unknown() -> Made:
    svg = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    tar = b"a.png".ljust(257, b"\0") + b"ustar\x0000".ljust(255, b"\0")
    for name, file_name, data in (
        ("empty file", "a.png", b""),
        ("one byte", "a.png", b"\x89"),
        ("SVG drawing with a script, named PNG", "a.png", svg),
        ("SVG drawing without XML declaration", "a.svg", svg[22:]),
        ("XML with an entity bomb", "a.xml", b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aa">]><l>&a;</l>'),
        ("web page, named JPEG", "a.jpg", b"\xef\xbb\xbf  <!DOCTYPE html><script>alert(1)</script>"),
        ("web page in capitals", "a.html", b"<HTML><BODY onload=alert(1)>"),
        ("PDF document, named DICOM", "a.dcm", b"%PDF-1.7\n1 0 obj\n<< /OpenAction << /S /JavaScript >> >>"),
        ("PDF document behind a comment", "a.pdf", b"\n\n%PDF-1.4\n"),
        ("old Office document", "a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600),
        ("shell script, named PNG", "a.png", b"#!/bin/sh\nrm -rf /\n"),
        ("Python source", "a.py", b"import os\nos.remove('/')\n"),
        ("Windows program, named TIFF", "a.tif", b"MZ\x90\0" + b"\0" * 300),
        ("Linux program", "a", b"\x7fELF\x02\x01\x01" + b"\0" * 300),
        (
            "PostScript, which Pillow would hand to a program",
            "a.eps",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        ),
        ("7z archive", "a.7z", b"7z\xbc\xaf\x27\x1c\0\x04" + b"\0" * 60),
        ("RAR archive", "a.rar", b"Rar!\x1a\x07\x01\0" + b"\0" * 60),
        ("tar archive", "a.tar", tar),
        ("tar archive, packed, named NIfTI", "a.nii.gz", gzip.compress(tar, mtime=0)),
        ("pickled objects", "a.pkl", b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x02os\x94\x8c\x06system\x94\x93\x94."),
        ("NumPy array", "a.npy", b"\x93NUMPY\x01\0v\0{'descr': '|O'}"),
        ("JPEG 2000 image", "a.jp2", image("JPEG2000")),
        ("random bytes", "a.png", np.random.default_rng(3).bytes(5000)),
    ):
        yield "other", name, file_name, data, ERROR


def _png() -> Made:
    good = image("PNG")
    for name, data, expects in (
        ("only the first 8 bytes", good[:8], ERROR),
        ("cut off in the middle", good[: len(good) // 2], ERROR),
        ("a byte of the pixels changed", good[:60] + bytes((good[60] ^ 255,)) + good[61:], ERROR),
        ("60,000 x 60,000 pixels by its header", _png_of(60_000, 60_000), ERROR),
        ("2,147,483,647 x 2,147,483,647 pixels by its header", _png_of(2**31 - 1, 2**31 - 1), ERROR),
        ("5,000 x 5,000 pixels that are there", image("PNG", np.zeros((5000, 5000), np.uint8)), ERROR),
        ("8 x 2,097,152 pixels that are there", image("PNG", LONG.repeat(32, axis=0)), ERROR),
        ("8,193 x 200 pixels that are there", image("PNG", np.resize(NOISE, (200, 8193))), ERROR),
        ("20 x 1,281 pixels that are there", image("PNG", np.resize(NOISE, (1281, 20))), ERROR),
        ("0 x 0 pixels", _png_of(0, 0), ERROR),
        ("1 x 1 pixel", image("PNG", NOISE[:1, :1]), ERROR),
        ("every pixel the same", image("PNG", np.full((20, 20), 7, np.uint8)), ERROR),
        ("every 16-bit pixel the same", image("PNG", np.full((20, 20), 700, np.uint16)), ERROR),
        ("no pixels between header and end", good[:33] + chunk(b"IEND", b""), ERROR),
        ("a colour type that does not exist", good[:16] + good[16:24] + b"\x08\x09" + good[26:], ERROR),
        ("chunk of 4 GB by its length", good[:33] + b"\xff\xff\xff\xff" + good[37:], IMAGE),
        ("100,000 empty chunks", with_chunk(b"IDAT", b"", 100_000), ERROR),
        ("text that unpacks to 200 MB", with_chunk(b"zTXt", b"Comment\0\0" + BOMB), IMAGE),
        ("colour profile that unpacks to 200 MB", with_chunk(b"iCCP", b"a\0\0" + BOMB), IMAGE),
        ("pixels that unpack to 200 MB more than the header says", _png_bomb(), IMAGE),
        ("EXIF notes that ask for 2 GB", with_chunk(b"eXIf", _exif_bomb(4000, 500_000)), IMAGE),
        ("4,294,967,295 frames announced", with_chunk(b"acTL", b"\xff" * 8), IMAGE),
        ("ZIP file behind its end", good + archive({"../../evil.py": b"import os"}), IMAGE),
        ("web page behind its end", good + b"<html><script>alert(1)</script></html>", IMAGE),
        ("script in its text", with_chunk(b"tEXt", b"Title\0<script>alert(1)</script>"), IMAGE),
    ):
        yield "PNG", name, "a.png", data, expects
    yield "PNG", "named as an SVG drawing", "a.svg", good, IMAGE
    yield "PNG", "named as a web page", "<img src=x onerror=alert(1)>.html", good, IMAGE
    yield "PNG", "named as a program", "a.png.exe", good, IMAGE


def _jpeg() -> Made:
    good = image("JPEG")
    size = good.index(b"\xff\xc0") + 5
    scan = good.index(b"\xff\xda")
    progressive = image("JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    exif = b"Exif\0\0" + _exif_bomb(4500, 10_000)
    for name, data, expects in (
        ("only the first 3 bytes", good[:3], ERROR),
        ("cut off in the middle", good[: len(good) // 2], ERROR),
        ("65,500 x 65,500 pixels by its header", good[:size] + b"\xff\xdc\xff\xdc" + good[size + 4 :], ERROR),
        ("8 x 65,500 pixels that are there", image("JPEG", LONG[:65_500]), ERROR),
        ("0 x 0 pixels", good[:size] + b"\0\0\0\0" + good[size + 4 :], ERROR),
        ("no image between start and end", b"\xff\xd8\xff\xd9", ERROR),
        ("100,000 segments", good[:2] + b"\xff\xfe\0\x02" * 100_000 + good[2:], ERROR),
        ("1,000 scans over the same pixels", progressive[:-2] + progressive[last:-2] * 1000 + b"\xff\xd9", ERROR),
        ("tables cut out", good[:20] + good[scan:], ERROR),
        ("EXIF notes that ask for 45 MB", good[:2] + _segment(0xE1, exif) + good[2:], IMAGE),
        ("EXIF notes in 60 segments that ask for gigabytes", good[:2] + _segment(0xE1, exif) * 60 + good[2:], IMAGE),
        ("comment with a script", good[:2] + _segment(0xFE, b"<script>alert(1)</script>") + good[2:], IMAGE),
        ("ZIP file behind its end", good + archive({"a.png": image("PNG")}), IMAGE),
    ):
        yield "JPEG", name, "a.jpg", data, expects


def _tiff() -> Made:
    good = image("TIFF")
    nan = NOISE.astype(np.float32)
    nan[3, 4] = np.nan
    base = {256: 40, 257: 32, 258: 8, 259: 1, 262: 1, 277: 1, 278: 32, 279: 1280}
    loop = bytearray(good)
    place = struct.unpack("<L", good[4:8])[0]
    end = place + 2 + 12 * struct.unpack("<H", good[place : place + 2])[0]
    loop[end : end + 4] = good[4:8]
    shared = dict.fromkeys(range(40000, 40400), (1, 1000000))
    for name, data, expects in (
        ("cut off in the middle", good[: len(good) // 2], ERROR),
        ("a directory behind the end", b"II\x2a\0\xff\xff\xff\x7f" + b"\0" * 20, ERROR),
        ("100,000 x 100,000 pixels by its header", _tiff_of(base | {256: 100_000, 257: 100_000}), ERROR),
        ("8 x 1,000,000 pixels by its header", _tiff_of(base | {256: 8, 257: 1_000_000}), ERROR),
        ("8 x 65,536 pixels that are there", image("TIFF", LONG, compression="tiff_deflate"), ERROR),
        ("tiles of 16 x 1,000,000 pixels", _tiff_of(base | {259: 8, 322: 16, 323: 1_000_000, 324: 8}), ERROR),
        ("0 x 0 pixels", _tiff_of(base | {256: 0, 257: 0}), ERROR),
        ("2,147,483,647 strips by its header", _tiff_of(base | {273: (4, 2**31 - 1)}), ERROR),
        ("1,000,000 strips that are there", _tiff_of(base | {273: (4, 1_000_000)}, b"\0" * 4_000_000), ERROR),
        ("tiles of 60,000 x 60,000 pixels", _tiff_of(base | {259: 8, 322: 60_000, 323: 60_000, 324: 8}), ERROR),
        ("400 notes that share one megabyte", _tiff_of(base | {273: 8} | shared, ZERO[:1_100_000]), ERROR),
        ("directory of 65,535 entries", b"II\x2a\0\x08\0\0\0\xff\xff" + b"\0" * 12 * 65_535, ERROR),
        ("3,000 pages", _many_pages(3000), ERROR),
        ("a page that is its own next page", bytes(loop), IMAGE),
        ("packed by LZMA", _tiff_of(base | {259: 34925, 273: 8}), ERROR),
        ("65,535 channels", _tiff_of(base | {273: 8, 277: 65_535}), ERROR),
        ("BigTIFF", b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\0" * 40, ERROR),
        ("values that are no numbers", image("TIFF", nan), ERROR),
        ("only infinite values", image("TIFF", np.full((20, 20), np.inf, np.float32)), ERROR),
        ("every page the same grey", image("TIFF", np.full((20, 20), 9, np.uint8)), ERROR),
    ):
        yield "TIFF", name, "a.tif", data, expects


def _other_images() -> Made:
    gif, bitmap, webp = image("GIF"), image("BMP"), image("WEBP")
    frame = Image.fromarray(NOISE)
    file = io.BytesIO()
    frames = [Image.fromarray(np.roll(NOISE, number)) for number in range(300)]
    frame.save(file, "GIF", save_all=True, append_images=frames)
    lossless = b"\x2f" + struct.pack("<I", 16_383 << 14 | 16_383) + b"\0" * 20
    plain = struct.pack("<4sI4s4sI", b"RIFF", 12 + len(lossless), b"WEBP", b"VP8L", len(lossless)) + lossless
    canvas = struct.pack("<4sI4s4sI", b"RIFF", 22, b"WEBP", b"VP8X", 10) + b"\0\0\0\0" + b"\xfe\x3f\0" * 2
    for kind, name, data, expects in (
        ("GIF", "65,535 x 65,535 pixels by its header", gif[:6] + b"\xff\xff\xff\xff" + gif[10:], ERROR),
        ("GIF", "8 x 65,535 pixels that are there", image("GIF", LONG[:65_535]), ERROR),
        ("BMP", "8 x 65,536 pixels that are there", image("BMP", LONG), ERROR),
        ("WebP", "8 x 16,383 pixels that are there", image("WEBP", LONG[:16_383]), ERROR),
        ("GIF", "cut off in the middle", gif[: len(gif) // 2], ERROR),
        ("GIF", "301 frames", file.getvalue(), IMAGE),
        ("GIF", "a script for a comment", b"GIF89a/*" + b"\0" * 8 + b"*/=1;alert(1)", ERROR),
        ("BMP", "2,000,000,000 pixels wide", bitmap[:18] + struct.pack("<i", 2_000_000_000) + bitmap[22:], ERROR),
        ("BMP", "-2,147,483,648 pixels high", bitmap[:22] + struct.pack("<i", -(2**31)) + bitmap[26:], ERROR),
        ("BMP", "run lengths that paint 510 MB at once", _bitmap_runs(bitmap), ERROR),
        ("BMP", "cut off in the middle", bitmap[: len(bitmap) // 2], ERROR),
        ("WebP", "16,384 x 16,384 pixels by its header", plain, ERROR),
        ("WebP", "a canvas larger than its image", canvas + webp[12:], ERROR),
        ("WebP", "cut off in the middle", webp[: len(webp) // 2], ERROR),
        ("WebP", "only the first 12 bytes", webp[:12], ERROR),
    ):
        yield kind, name, f"a.{kind.lower()}", data, expects


def _dicom() -> Made:
    good = dicom()
    explicit = good[: good.index(b"\x08\0\x16\0UI")]  # preamble and file meta
    pixels = good.index(b"\xe0\x7f\x10\0OW")
    item, end = b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\x28\0\x10\0US\x02\0\x20\0"
    sequence = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff"
    deep = explicit + (sequence + item) * 50_000 + good[len(explicit) :]
    wide = explicit + sequence + (item + b"\xfe\xff\x0d\xe0\0\0\0\0") * 400_000
    names = b"\x08\0\x05\0UT\0\0" + struct.pack("<I", 4_000_000) + b"a\\" * 2_000_000
    inside = explicit + b"\xe0\x7f\x10\0UN\0\0\xff\xff\xff\xff" + item + names
    many = explicit + sequence + (item + b"\x08\0\x05\0UT\0\0\0\xff\0\0" + b"a\\" * 32_640) * 50
    charsets = explicit + names
    baseline = image("JPEG")
    large = image("JPEG", np.zeros((4000, 4000), np.uint8))
    header = explicit.replace(b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x16\x001.2.840.10008.1.2.1.99")
    runs = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x07" * 2_000_000
    for name, data in (
        ("nothing behind its mark", b"\0" * 128 + b"DICM"),
        ("cut off before the pixels", good[:pixels]),
        ("cut off in the pixels", good[:-600]),
        ("65,535 x 65,535 pixels by its header", dicom(Rows=65_535, Columns=65_535)),
        ("8 x 65,535 pixels that are there", dicom(LONG[:65_535].astype(np.uint16))),
        (
            "JPEG 2000 of 8 x 65,535 pixels",
            _packed(JPEG2000Lossless, image("JPEG2000", LONG[:65_535]), LONG[:65_535]),
        ),
        ("more rows than its pixels fill", dicom(Rows=400)),
        ("0 rows", dicom(Rows=0)),
        ("2,000,000,000 frames", dicom(NumberOfFrames=2_000_000_000)),
        ("-5 frames", dicom(NumberOfFrames=-5)),
        ("2,000 frames that are not there", dicom(NumberOfFrames=2000)),
        (
            "no word for the number of frames",
            good[:pixels].replace(b"\x28\0\x10\0US", b"\x28\0\x08\0IS\x04\0many\x28\0\x10\0US") + good[pixels:],
        ),
        ("255 bits for each pixel", dicom(BitsAllocated=255)),
        ("0 bits for each pixel", dicom(BitsAllocated=0, BitsStored=0)),
        ("65,535 channels", dicom(SamplesPerPixel=65_535)),
        ("a value of 4 GB by its length", explicit + b"\x08\0\x05\0UN\0\0\xf0\xff\xff\xff" + b"\0" * 100),
        ("pixels of 4 GB by their length", good[: pixels + 8] + b"\xf0\xff\xff\xff" + b"\0" * 100),
        ("sequence without an end", explicit + sequence + item + end * 10),
        ("50,000 sequences inside each other", deep),
        ("400,000 empty items in a sequence", wide),
        ("2,000,000 names of alphabets", charsets),
        ("2,000,000 names of alphabets inside its pixels", inside),
        ("1,600,000 names of alphabets in 50 items", many),
        ("packed as a whole, unpacks to 200 MB", header + BOMB[2:-4]),
        ("JPEG of 16,000,000 pixels in a frame of 1,280", _packed(JPEGBaseline8Bit, large)),
        (
            "JPEG with EXIF notes",
            _packed(JPEGBaseline8Bit, baseline[:2] + _segment(0xE1, b"Exif\0\0MM\0*") + baseline[2:]),
        ),
        ("JPEG 2000 that is broken", _packed(JPEG2000Lossless, b"\xff\x4f\xff\x51" + b"\0" * 60)),
        ("run lengths that unpack to 256 MB", _packed(RLELossless, runs)),
        ("a video", _packed(MPEG2MPML, b"\0\0\1\xb3" + b"\0" * 60)),
        ("500,000 fragments", _fragments(500_000)),
        ("an unknown way of storing", good.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0", 1)),
        ("a report without image", _without_pixels()),
        ("every pixel the same", dicom(np.full((20, 20), 7, np.uint16))),
        ("slope that overflows", dicom(RescaleSlope="1e308", RescaleIntercept="1e308")),
        ("7 x 7 pixels", dicom(RAMP[:7, :7].copy())),
        ("palette that is not there", dicom(PhotometricInterpretation="PALETTE COLOR")),
        ("values that are no numbers", _float_dicom(np.nan)),
        ("bare header without its mark", good[132:200]),
    ):
        yield "DICOM", name, "Doe^Jane.dcm", data, ERROR
    yield "DICOM", "window that shows nothing", "a.dcm", dicom(WindowCenter=-99999, WindowWidth=2), IMAGE
    yield "DICOM", "TIFF mark in its preamble", "a.dcm", b"II\x2a\0" + good[4:], IMAGE
    yield "DICOM", "script in the patient's name", "a.dcm", dicom(PatientName="<script>alert(1)</script>"), IMAGE


def _nifti() -> Made:
    good = volume(packed=False)
    numbers = np.arange(20 * 24 * 16, dtype=np.float32).reshape(20, 24, 16)
    name_bomb = b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"a" * 5_000_000
    for name, data, expects in (
        ("only NaN", volume(np.full((20, 24, 16), np.nan, np.float32)), ERROR),
        ("only infinite values", volume(np.full((20, 24, 16), np.inf, np.float32)), ERROR),
        ("every voxel the same", volume(np.full((20, 24, 16), 5, np.int16)), ERROR),
        ("unpacks to 1 GB", gzip.compress(_header(good, dim=(3, 900, 900, 700)) + ZERO * 5, 1, mtime=0), ERROR),
        ("unpacks to 500 MB more than its header says", gzip.compress(good + ZERO * 50, 1, mtime=0), IMAGE),
        ("32,767 x 32,767 x 32,767 voxels", _header(good, dim=(3, 32_767, 32_767, 32_767)), ERROR),
        ("-20 voxels", _header(good, dim=(3, -20, 24, 16)), ERROR),
        ("0 voxels", _header(good, dim=(3, 0, 24, 16)), ERROR),
        ("9 dimensions", _header(good, dim=(9, 20, 24, 16)), ERROR),
        ("voxels of no type", _header(good, datatype=0), ERROR),
        ("complex voxels", volume(numbers.astype(np.complex64)), ERROR),
        ("values before the header's end", _header(good, vox_offset=-100), ERROR),
        ("values 10^30 bytes behind the header", _header(good, vox_offset=1e30), ERROR),
        ("values at no place", _header(good, vox_offset=np.nan), ERROR),
        ("cut off in the values", good[:5000], ERROR),
        ("cut off in the header", good[:200], ERROR),
        ("packed and cut off", volume()[:3000], ERROR),
        ("packed, a byte changed", volume()[:400] + b"\xff\xff\xff\xff" + volume()[404:], ERROR),
        ("packed under a name of 5,000,000 letters", name_bomb, ERROR),
        ("packed text", gzip.compress(b"hello " * 1000, mtime=0), ERROR),
        ("packed twice", gzip.compress(volume(), mtime=0), ERROR),
        ("packed as nothing", b"\x1f\x8b", ERROR),
        ("header of a pair", good[:344] + b"ni1\0" + good[348:], ERROR),
        ("flat space", _header(good, sform_code=2, srow_x=(0,) * 4, srow_y=(0,) * 4, srow_z=(0,) * 4), IMAGE),
        ("space of no numbers", _header(good, sform_code=2, srow_x=(np.nan,) * 4), IMAGE),
        ("voxels 1,000,000 times as long as wide", volume(affine=np.diag((1e-3, 1, 1e3, 1))), IMAGE),
        ("slices of 4 x 4 voxels", volume(numbers[:4, :4, :4].copy()), ERROR),
        (
            "8 x 8 x 2,000 voxels of 1 x 1 x 15 mm",
            volume(np.resize(numbers, (8, 8, 2000)), affine=np.diag((1, 1, 15, 1))),
            IMAGE,
        ),
        ("2,000 x 8 x 1 voxels", volume(np.resize(numbers, (2000, 8, 1)).copy()), ERROR),
        ("values from -1e308 to 1e308", volume(np.where(numbers > 9, 1e308, -1e308)), ERROR),
        ("slope of no number", _header(good, scl_slope=np.nan), IMAGE),
        ("5 % of the values are NaN", volume(np.where(numbers % 20 == 0, np.nan, numbers)), IMAGE),
    ):
        yield "NIfTI", name, "a.nii.gz" if data[:2] == b"\x1f\x8b" else "a.nii", data, expects


def _zip() -> Made:
    png = image("PNG")
    good = archive({"glioma/a.png": png, "notumor/b.png": png})
    encrypted = bytearray(good)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = good.index(mark)
        encrypted[at + place] |= 1
    for name, data in (
        ("name that leads upwards", archive({"../../evil.png": png})),
        ("name that leads upwards inside", archive({"a/../../evil.png": png})),
        ("absolute name", archive({"/etc/evil.png": png})),
        ("name with backslashes", archive({"..\\..\\evil.png": png})),
        ("name with a drive", archive({"C:/evil.png": png})),
        ("name of a device", archive({"glioma/con.png": png})),
        ("name with NUL", archive({"a.pngXevil.py": png}).replace(b"X", b"\0")),
        ("name with a line break", archive({"a\nb.png": png})),
        ("name that turns its direction", archive({"a\u202egnp.exe.png": png})),
        ("name of 5,000 letters", archive({"a" * 5000 + ".png": png})),
        ("30 folders inside each other", archive({"a/" * 30 + "a.png": png})),
        ("the same name twice", _twice(png)),
        ("a file that is a folder too", archive({"a.png": png, "a.png/b.png": png})),
        ("symbolic link", _link()),
        ("encrypted", bytes(encrypted)),
        ("packed by LZMA", archive({"a.png": png}, zipfile.ZIP_LZMA)),
        ("unpacks to 500 times its size", archive({f"{n}.png": ZERO for n in range(3)})),
        ("unpacks to 560 MB by its directory", _declared(good, 280_000_000)),
        ("more in a member than its directory says", _declared(archive({"a.png": png}), 100)),
        ("many names for the same bytes", _overlapping(png, 2000)),
        ("20,001 members", _overlapping(png, 20_001)),
        ("directory of 5 MB", _overlapping(png, 80_000)),
        ("ZIP file inside", archive({"inner.png": archive({"a.png": png})})),
        ("Office document", archive({"[Content_Types].xml": b"<Types/>", "word/media/a.png": png})),
        ("cut off in the middle", good[: len(good) // 2]),
        ("a byte of a member changed", good[:80] + bytes((good[80] ^ 255,)) + good[81:]),
        ("empty", archive({})),
        ("only hidden files", archive({"__MACOSX/._a.png": png, ".DS_Store": b"x"})),
        ("no images", archive({"a.txt": b"hello", "b.html": b"<html>"})),
    ):
        yield "ZIP", name, "a.zip", data, ERROR


def _png_of(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def _png_bomb() -> bytes:
    """Its pixels are black but for the last rows."""
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    rows = zlib.compressobj(1)
    data = rows.compress((b"\0" + bytes(range(64))) * 64 + ZERO * 20) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _exif_bomb(entries: int, size: int) -> bytes:
    """Every entry is a text of the same `size` bytes (as far as the block goes)."""
    block = b"II\x2a\0\x08\0\0\0" + struct.pack("<H", entries)
    block += b"".join(struct.pack("<HHLL", 1 + tag, 2, size, 8) for tag in range(entries)) + b"\0\0\0\0"
    return block.ljust(min(size + 8, 60_000) if entries > 4400 else size + 8, b"\0")


def _segment(marker: int, data: bytes) -> bytes:
    """Of a JPEG file."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _tiff_of(tags: dict[int, int | tuple[int, int]], data: bytes = b"") -> bytes:
    """tags: tag -> a LONG, or (type, count) of values that stand behind the directory."""
    behind = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, value in sorted(tags.items()):
        kind, count, content = (4, 1, value) if isinstance(value, int) else (*value, behind)
        entries += struct.pack("<HHLL", tag, kind, count, content)
    return b"II\x2a\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + data.ljust(2000, b"\0")


def _many_pages(count: int) -> bytes:
    """One directory after the other, all of the same pixels."""
    size = 2 + 12 * 4 + 4
    data = b"II\x2a\0\x08\0\0\0"
    for number in range(count):
        entries = struct.pack("<HHLLHHLLHHLLHHLL", 256, 4, 1, 20, 257, 4, 1, 20, 273, 4, 1, 8, 279, 4, 1, 400)
        data += struct.pack("<H", 4) + entries + struct.pack("<L", 8 + size * (number + 1) if number + 1 < count else 0)
    return data


def _bitmap_runs(bitmap: bytes) -> bytes:
    header = bitmap[:18] + struct.pack("<ii", 2_000_000, 8) + bitmap[26:30] + struct.pack("<I", 1) + bitmap[34:]
    return header + b"\0\x02\xff\xff" * 1000


def _packed(syntax: str, frame: bytes, values: np.ndarray = NOISE) -> bytes:
    scan = dataset(values)
    scan.file_meta.TransferSyntaxUID = syntax
    scan.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    scan["PixelData"].VR = "OB"
    scan["PixelData"].is_undefined_length = True
    return written(scan)


def _fragments(count: int) -> bytes:
    one = _packed(JPEGBaseline8Bit, image("JPEG"))
    end = one.rindex(b"\xfe\xff\xdd\xe0")
    return one[:end] + b"\xfe\xff\x00\xe0\0\0\0\0" * count + one[end:]


def _without_pixels() -> bytes:
    scan = dataset()
    del scan.PixelData
    return written(scan)


def _float_dicom(value: float) -> bytes:
    scan = dataset()
    del scan.PixelData
    values = RAMP.astype(np.float32)
    values[3, 4] = value
    scan.FloatPixelData = values.tobytes()
    scan.BitsAllocated = 32
    return written(scan)


def _header(data: bytes, **changes: object) -> bytes:
    """A NIfTI file with another header."""
    header = nibabel.Nifti1Header(data[:348], check=False)
    for name, value in changes.items():
        if isinstance(value, tuple):
            header[name][: len(value)] = value
        else:
            header[name] = value
    return header.binaryblock + data[348:]


def _twice(png: bytes) -> bytes:
    return archive({"a.png": png, "B.png": png}).replace(b"B.png", b"A.png")


def _link() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        link = zipfile.ZipInfo("a.png")
        link.external_attr = 0o120777 << 16
        opened.writestr(link, "/etc/passwd")
    return file.getvalue()


def _declared(data: bytes, size: int) -> bytes:
    """An archive whose directory gives another size for each unpacked member."""
    changed, place = bytearray(data), data.find(b"PK\x01\x02")
    while place >= 0:
        changed[place + 24 : place + 28] = struct.pack("<I", size)
        place = data.find(b"PK\x01\x02", place + 4)
    return bytes(changed)


def _overlapping(png: bytes, count: int) -> bytes:
    """One member, which the directory names `count` times under different names; each is 1 MB by the directory."""
    one = archive({"000000.png": png + ZERO[:1_000_000]})
    start = one.index(b"PK\x01\x02")
    entry = one[start : one.index(b"PK\x05\x06")]
    entries = b"".join(entry.replace(b"000000.png", f"{number:06d}.png".encode()) for number in range(count))
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count % 65_536, count % 65_536, len(entries), start, 0)
    return one[:start] + entries + end


def answer(hostile: Hostile, folder: Path) -> tuple[str, str | None]:
    """What is said about it ("image" if it is drawn), and for a ZIP file what the audit says. folder: a new one."""
    if hostile.kind != "ZIP":
        try:
            upload = open_upload(hostile.path)
            for plane in upload.planes:
                upload.image(plane, upload.middle(plane))
        except UploadError as error:
            return str(error), None
        return IMAGE, None
    answers = [str(answer) for _, answer in open_many([hostile.path]) if isinstance(answer, UploadError)]
    try:
        unpack_dataset(hostile.path, folder)
    except UploadError as error:
        return (answers or [IMAGE])[0], str(error)
    return (answers or [IMAGE])[0], IMAGE


def page(answers: list[tuple[Hostile, str, str | None]]) -> str:
    """The page in Markdown, from what `answer` gave for each."""
    lines = [
        "# Hostile files and what each is answered",
        "",
        "Made by `python -m tests.io.hostile docs/hostile-inputs.md`; a test checks that it still holds.",
        "Each file is opened as the demo opens what a visitor uploads. Where the answer is an image, what is hostile",
        "about the file is passed over, and only the image is drawn. ZIP files are also given to the audit.",
        "",
        "| Kind | What is hostile about it | Answer |",
        "|---|---|---|",
    ]
    for hostile, said, audited in answers:
        audit = "listed as rejected." if audited == IMAGE else audited
        lines.append(
            f"| {hostile.kind} | {hostile.name} | {said}{'' if audited in (None, said) else f' Audit: {audit}'} |"
        )
    return "\n".join([*lines, *_bounds()]) + "\n"


def _bounds() -> list[str]:
    """What else is bounded, from the limits themselves."""
    bodies = BodyLimits()
    texts = [
        f"- An image: {LIMITS.pixels:,} pixels, {MAX_SIDE:,} on a side, {MAX_RATIO} times as long as wide. Of a "
        "volume, the planes whose slices are longer are not offered. Sides are bounded alike "
        "where a data set is prepared.",
        f"- A request: {megabytes(bodies.upload)} for an upload, which goes to disk as it comes, "
        f"{megabytes(bodies.tool)} for a tool (MCP), {megabytes(bodies.other)} for everything else, and "
        f"{megabytes(bodies.held)} for all together that are being read. A length that is "
        f"declared is enough for a refusal (413); what comes is counted anyhow. After {bodies.patience:.0f} seconds it "
        f"must come at {bodies.slowest // 1024} KB a second at least (408).",
        f"- A file by its address: {megabytes(LIMITS.archive_bytes)}, {SECONDS:.0f} seconds, {REDIRECTS} redirections, "
        "public IP addresses only.",
        f"- Sessions: {SESSIONS} are remembered, and each only as long as uploads are (`--keep`).",
        "",
        "Names of uploads stay with the visitor: on disk a file is called `upload`, with its suffix where that is a "
        "known one. Images inside a ZIP file are numbers on disk while it is audited, in the folders of their "
        "classes. What a server "
        "that was killed has "
        "left is deleted when the next one starts, but never that of one that runs. Errors are told in plain text; the "
        "log has their type and place alone.",
    ]
    lines = [
        line
        for text in texts
        for line in textwrap.wrap(text, 116, subsequent_indent="  " * text.startswith("-")) or [""]
    ]
    return ["", "## What is bounded before a file is looked at", "", *lines]


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = hostile_files(Path(folder, "files"))
        answers = [(one, *answer(one, Path(folder, "unpacked", str(number)))) for number, one in enumerate(found)]
    out.write_text(page(answers), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
