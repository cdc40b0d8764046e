"""What a file is, told by its first bytes and never by its name."""

from __future__ import annotations

import re
from collections.abc import Container

from brainmri.io.limits import MAY_BE_UPLOADED, UploadError

# The sizes of the second header of a Windows bitmap; "BM" alone begins many a text.
BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
NIFTI_SIZES = (b"\x5c\x01\0\0", b"\0\0\x01\x5c")  # 348
NIFTI_2_SIZES = (b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # 540
# DICOM without its preamble: the first tag is of group 2 or 8, followed by two capitals or a small length.
BARE_DICOM = re.compile(rb"[\x02\x08]\0.\0(?:[A-Z]{2}|..\0\0)|\0[\x02\x08]\0.(?:[A-Z]{2}|\0\0..)", re.DOTALL)
# At 128, whatever stands in the preamble before it: DICOM files may begin as a TIFF file does, and pass for one.
DICOM_PREFIX = b"DICM"
TELLING = 132  # bytes by which DICOM and ZIP files are told
JPEG_2000_STARTS = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
PAIR = "(.hdr and .img). Convert both to a single .nii.gz file."  # what two files together are
ANALYZE = f"This is the header of an Analyze 7.5 image, which does not say where left is {PAIR}"
HALF = f"This is the image half of a NIfTI or Analyze pair {PAIR}"
NETPBM = re.compile(rb"P[1-6][\s#]")
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
OTHER_ARCHIVE = "an archive of a kind that is not opened; a ZIP file is"
REFUSED = (
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"),
    (b"{\\rtf", "a text document"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"#!", "a script"),
    (b"7z\xbc\xaf\x27\x1c", OTHER_ARCHIVE),
    (b"Rar!\x1a\x07", OTHER_ARCHIVE),
    (b"\xfd7zXZ\0", OTHER_ARCHIVE),
    (b"BZh", OTHER_ARCHIVE),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\x01\0", "an icon"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
)
MARKUP = (
    (b"<svg", "an SVG drawing"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<script", "a script"),
)


def kind_of(data: bytes) -> str:
    """One of "PNG", "JPEG", "GIF", "WebP", "TIFF", "BMP", "PPM", "JPEG 2000", "DICOM", "NIfTI", "gzip" and "ZIP".

    Raises:
        UploadError: for an empty file and for every other kind; says what may be uploaded.
    """
    if not data:
        raise UploadError("The file is empty. Use another one.")
    if is_dicom(data):
        return "DICOM"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if is_zip(data):
        return "ZIP"
    if data.startswith(b"\x1f\x8b"):
        return "gzip"
    if data.startswith((b"II\x2a\0", b"MM\0\x2a")):
        return "TIFF"
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in BITMAP_HEADERS:
        return "BMP"
    if NETPBM.match(data):
        return "PPM"
    if data.startswith(JPEG_2000_STARTS):
        return "JPEG 2000"
    if data.startswith(NIFTI_SIZES + NIFTI_2_SIZES):
        return "NIfTI"
    if refused := _refused(data):
        raise UploadError(refused)
    raise UploadError(f"This is no kind of file that is known here. {MAY_BE_UPLOADED}")


def is_half(name: str, names: Container[str]) -> bool:
    """Whether a file is the image half of a pair, which nothing in it tells. names: of all files, without case."""
    path = name.casefold()
    return path.endswith(".img") and f"{path.removesuffix('.img')}.hdr" in names


def is_dicom(data: bytes) -> bool:
    """Whether a file is DICOM, with its preamble or without."""
    return data[128:132] == DICOM_PREFIX or bool(BARE_DICOM.match(data))


def is_zip(beginning: bytes) -> bool:
    """Whether a file begins as a ZIP file does. beginning: its first `TELLING` bytes at least, or all of it."""
    return beginning.startswith(ZIP_STARTS) and not is_dicom(beginning)


def office_document(data: bytes) -> bool:
    """Whether a ZIP file (or the names in it) is a document of an office program, all of which hold one of these."""
    return any(name in data for name in (b"[Content_Types].xml", b"META-INF/"))


def _refused(data: bytes) -> str:
    """What is said to a file that is known and not opened; "" for another."""
    if data.startswith((b"II\x2b\0", b"MM\0\x2b")):
        return "This is a BigTIFF file, which is not opened. Save it as a usual TIFF or as PNG."
    text = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    names = [name for magic, name in REFUSED if data.startswith(magic)]
    names += [name for magic, name in MARKUP if text.startswith(magic)]
    if text.startswith(b"<?xml"):
        names.append("an SVG drawing" if b"<svg" in text else "an XML document")
    if b"%pdf-" in text:
        names.append("a PDF document")
    if data[257:262] == b"ustar":
        names.append(OTHER_ARCHIVE)
    return f"This is {names[0]}. {MAY_BE_UPLOADED}" if names else ""
