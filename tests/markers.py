"""Unique words planted in everything an image file can carry beside its image, and looked for in what was written.

`plant` makes a source whose every file holds such a word, in as many carriers as there are; `search` finds them in
folders, in the bytes of files, in what is packed in these, and in their names.
"""

from __future__ import annotations

import base64
import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

BEGINNING = "Zq7Vkw"  # of every marker
GLIOMA, NOTUMOR = "glioma", "notumor"
Packed = Callable[[np.ndarray, str], bytes]


def marker(number: int) -> str:
    return f"{BEGINNING}{number:03d}Yx"


# ---------------------------------------------------------------------- carriers
def _saved(values: np.ndarray, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, form, **options)
    return file.getvalue()


def _exif(word: str) -> bytes:
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x9C9D] = word, word, word.encode("utf-16-le")  # description, artist, Windows'
    return exif.tobytes()


def _png_text(packed: bool) -> Packed:
    def make(values: np.ndarray, word: str) -> bytes:
        info = PngInfo()
        info.add_text("Description", word * 3, zip=packed)
        return _saved(values, "PNG", pnginfo=info)

    return make


def _png_international(values: np.ndarray, word: str) -> bytes:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", word * 3, zip=True)
    return _saved(values, "PNG", pnginfo=info)


def _png_chunk(values: np.ndarray, word: str) -> bytes:
    """A private chunk before the pixels."""
    data = _saved(values, "PNG")
    chunk = b"prVt" + word.encode()
    return data[:33] + struct.pack(">I", len(word)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


def _png_in_the_pixel_stream(values: np.ndarray, word: str) -> bytes:
    """Behind the last row, in the same compressed stream."""
    height, width = values.shape
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    packed = chunk(b"IDAT", zlib.compress(rows, 0) + word.encode())
    return b"\x89PNG\r\n\x1a\n" + header + packed + chunk(b"IEND", b"")


def _jpeg_segment(number: int, beginning: bytes) -> Packed:
    def make(values: np.ndarray, word: str) -> bytes:
        data, content = _saved(values, "JPEG"), beginning + word.encode()
        return data[:2] + struct.pack(">BBH", 0xFF, number, len(content) + 2) + content + data[2:]

    return make


def _jpeg_preview(values: np.ndarray, word: str) -> bytes:
    """In the JFIF segment's own preview: 4 x 1 pixels of three bytes."""
    data, preview = _saved(values, "JPEG"), word.encode().ljust(12, b"!")[:12]
    head = b"JFIF\0\x01\x01\0\0\x01\0\x01\x04\x01" + preview
    (length,) = struct.unpack(">H", data[4:6])
    return data[:2] + struct.pack(">HH", 0xFFE0, len(head) + 2) + head + data[4 + length :]


def _jpeg_exif_preview(values: np.ndarray, word: str) -> bytes:
    inner = _jpeg_segment(0xFE, b"")(values, word)
    return _jpeg_segment(0xE1, _exif("") + inner[:200])(values, word)


def _jpeg_before_the_end(values: np.ndarray, word: str) -> bytes:
    data = _saved(values, "JPEG")
    return data[:-2] + word.encode() + data[-2:]


def _behind(form: str) -> Packed:
    return lambda values, word: _saved(values, form) + word.encode()


def _tiff(tag: int) -> Packed:
    return lambda values, word: _saved(values, "TIFF", tiffinfo={tag: word})


def _tiff_second_page(values: np.ndarray, word: str) -> bytes:
    file = io.BytesIO()
    pages = [Image.fromarray(values), Image.fromarray(values[::-1])]
    pages[1].encoderinfo = {"tiffinfo": {270: word}}  # type: ignore[attr-defined]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    return file.getvalue()


def _bitmap_gap(values: np.ndarray, word: str) -> bytes:
    """Between the colours and the pixels."""
    data = bytearray(_saved(values, "BMP"))
    (offset,) = struct.unpack_from("<L", data, 10)
    struct.pack_into("<L", data, 10, offset + len(word))
    return bytes(data[:offset]) + word.encode() + bytes(data[offset:])


def _dicom(**where: str) -> Packed:
    """where: attribute -> "" for the marker, or preamble, private."""

    def make(values: np.ndarray, word: str) -> bytes:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

        scan = Dataset()
        scan.file_meta = FileMetaDataset()
        scan.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        scan.file_meta.MediaStorageSOPClassUID = scan.SOPClassUID = MRImageStorage
        scan.file_meta.MediaStorageSOPInstanceUID = scan.SOPInstanceUID = generate_uid()
        scan.Rows, scan.Columns = values.shape
        scan.SamplesPerPixel, scan.PhotometricInterpretation = 1, "MONOCHROME1"
        scan.BitsAllocated = scan.BitsStored = 8
        scan.HighBit, scan.PixelRepresentation, scan.PixelData = 7, 0, values.tobytes()
        for name in where:
            if name == "private":
                scan.private_block(0x0009, "MAKER", create=True).add_new(1, "LO", word)
            elif name != "preamble":
                setattr(scan, name, word)
        file = io.BytesIO()
        scan.preamble = (b"II*\0" + word.encode()).ljust(128, b"\0") if "preamble" in where else bytes(128)
        scan.save_as(file, enforce_file_format=True)
        return file.getvalue()

    return make


def _cut_off(values: np.ndarray, word: str) -> bytes:
    data = _jpeg_segment(0xFE, b"")(values, word)
    return data[: len(data) - 60]


CARRIERS: dict[str, tuple[str, Packed]] = {  # name -> suffix and file of an image and a marker
    "PNG tEXt": (".png", _png_text(False)),
    "PNG zTXt": (".png", _png_text(True)),
    "PNG iTXt": (".png", _png_international),
    "PNG eXIf": (".png", lambda values, word: _saved(values, "PNG", exif=_exif(word))),
    "PNG iCCP": (".png", lambda values, word: _saved(values, "PNG", icc_profile=word.encode() * 4)),
    "PNG private chunk": (".png", _png_chunk),
    "PNG behind the rows": (".png", _png_in_the_pixel_stream),
    "PNG behind the end": (".png", _behind("PNG")),
    "JPEG comment": (".jpg", _jpeg_segment(0xFE, b"")),
    "JPEG EXIF": (".jpg", lambda values, word: _saved(values, "JPEG", exif=_exif(word))),
    "JPEG XMP": (".jpg", _jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0")),
    "JPEG IPTC": (".jpg", _jpeg_segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x20\x1c\x02\x78\0\x10")),
    "JPEG ICC": (".jpg", lambda values, word: _saved(values, "JPEG", icc_profile=word.encode() * 4)),
    "JPEG other segment": (".jpg", _jpeg_segment(0xEB, b"HDR_RI\0")),
    "JPEG preview": (".jpg", _jpeg_preview),
    "JPEG EXIF preview": (".jpg", _jpeg_exif_preview),
    "JPEG before the end": (".jpg", _jpeg_before_the_end),
    "JPEG behind the end": (".jpg", _behind("JPEG")),
    "JPEG cut off": (".jpg", _cut_off),
    "TIFF description": (".tif", _tiff(270)),
    "TIFF artist": (".tif", _tiff(315)),
    "TIFF private tag": (".tif", _tiff(65000)),
    "TIFF second page": (".tif", _tiff_second_page),
    "TIFF behind the end": (".tif", _behind("TIFF")),
    "BMP gap": (".bmp", _bitmap_gap),
    "BMP behind the end": (".bmp", _behind("BMP")),
    "WebP EXIF": (".webp", lambda values, word: _saved(values, "WEBP", exif=_exif(word))),
    "WebP XMP": (".webp", lambda values, word: _saved(values, "WEBP", xmp=word.encode())),
    "WebP ICC": (".webp", lambda values, word: _saved(values, "WEBP", icc_profile=word.encode() * 4)),
    "GIF comment": (".gif", lambda values, word: _saved(values, "GIF", comment=word.encode())),
    "GIF behind the end": (".gif", _behind("GIF")),
    "PPM comment": (".ppm", lambda values, word: _saved(values, "PPM").replace(b"P5\n", b"P5\n#%s\n" % word.encode())),
    "DICOM PatientName": (".png", _dicom(PatientName="")),
    "DICOM PatientID": (".dcm", _dicom(PatientID="")),
    "DICOM private tag": (".dcm", _dicom(private="")),
    "DICOM TIFF preamble": (".tif", _dicom(preamble="")),
}
FILE_NAME, FOLDER_NAME, GROUP_ID, ABOVE = "file name", "patient's folder", "given group id", "folder above the source"
PLACES = [*CARRIERS, FILE_NAME, FOLDER_NAME, GROUP_ID, ABOVE]
MARKERS = {name: marker(number) for number, name in enumerate(PLACES)}
REJECTED = {"JPEG cut off", "TIFF second page"}  # these files are no usable images


def plant(folder: Path, side: int = 32) -> tuple[Path, Path]:
    """A source of two classes below `folder`, with each carrier in both, and a table of groups for it."""
    source = folder / MARKERS[ABOVE] / "slices"
    groups = ["file_name,group_id"]
    for number, (name, (suffix, make)) in enumerate(CARRIERS.items()):
        for label in (GLIOMA, NOTUMOR):
            values = np.random.default_rng([number, label == GLIOMA]).integers(0, 256, (side, side), dtype=np.uint8)
            inner = MARKERS[FOLDER_NAME] if number else ""  # one beside the folder, by which the layout is known
            file = source / label / inner / f"{MARKERS[FILE_NAME]} {number:02d}{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(make(values, MARKERS[name]))
            assert any(forms_in(part) for part in unpacked(file.read_bytes())), name
            if name not in REJECTED:
                groups.append(f"{file.relative_to(source).as_posix()},{MARKERS[GROUP_ID]}-{label}-{number // 2}")
    table = folder / "groups.csv"
    table.write_text("\n".join(groups) + "\n", encoding="utf-8")
    return source, table


# ---------------------------------------------------------------------- the search
def search(places: dict[str, bytes], markers: Mapping[str, str] = MARKERS) -> dict[str, set[str]]:
    """Which markers (their names) stand in which of `places` (name -> content), in their names too."""
    found: dict[str, set[str]] = {}
    for name, content in places.items():
        for part in (name.encode(), *unpacked(content)):
            for word in forms_in(part, markers):
                found.setdefault(word, set()).add(name)
    return found


def files_below(*folders: Path) -> dict[str, bytes]:
    """Path -> content of all files in `folders`, hidden ones too."""
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file): file.read_bytes() for file in files}


def unpacked(content: bytes, depth: int = 4) -> Iterator[bytes]:
    """`content`, and what is packed in it: gzip, zip, Parquet, texts and profiles of PNG files, base64."""
    yield content
    if not depth:
        return
    inner: list[bytes] = []
    if content.startswith(b"\x1f\x8b"):
        inner.append(gzip.decompress(content))
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inner += [archive.read(member) for member in archive.namelist()]
    if content.startswith(b"PAR1"):
        inner += _cells(content)
    for chunk in re.finditer(rb"(zTXt|iTXt|iCCP)", content):
        for stream in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", content[chunk.start() : chunk.start() + 200]):
            try:
                inner.append(zlib.decompressobj().decompress(content[chunk.start() + stream.start() :]))
            except zlib.error:
                continue
    for encoded in re.finditer(rb"base64,([A-Za-z0-9+/=]{40,})", content):
        inner.append(base64.b64decode(encoded.group(1)))
    for part in inner:
        yield from unpacked(part, depth - 1)


def _cells(content: bytes) -> list[bytes]:
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(content))
    cells: list[bytes] = [str(table.schema).encode(), repr(table.schema.metadata).encode()]

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(key)
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        elif isinstance(value, bytes):
            cells.append(value)
        elif isinstance(value, str):
            cells.append(value.encode())

    walk(table.to_pylist())
    return cells


def forms_in(content: bytes, markers: Mapping[str, str] = MARKERS) -> set[str]:
    """The markers in some bytes: as ASCII (and UTF-8, Latin-1), UTF-16 of either order, hexadecimal and base64."""
    small = content.lower()
    words = {marker.lower().encode(): name for name, marker in markers.items()}
    found: set[str] = set()
    start = BEGINNING.lower()
    if start.encode() in small:
        found |= {name for word, name in words.items() if word in small}
    if start.encode("utf-16-le") in small:
        found |= {name for word, name in words.items() if word.decode().encode("utf-16-le") in small}
    if start.encode().hex().encode() in small:
        found |= {name for word, name in words.items() if word.hex().encode() in small}
    for shift in range(3):
        if _in_base64(BEGINNING, shift) in content:
            found |= {name for name, marker in markers.items() if _in_base64(marker, shift) in content}
    return found


def _in_base64(word: str, shift: int) -> bytes:
    """What a word always looks like in base64, `shift` bytes behind a multiple of three."""
    encoded = base64.b64encode(bytes(shift) + word.encode()).rstrip(b"=")
    whole = (shift + len(word)) * 8 // 6
    return encoded[-(-shift * 8 // 6) : whole]
