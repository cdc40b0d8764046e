"""One image file (or array) of a data set -> an upright 8-bit image, or the reason why it is rejected."""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from brainmri.io.decode import KINDS, RejectedImage, read_image_file
from brainmri.io.limits import MAX_BYTES, MAX_PIXELS, MAX_RATIO, MAX_SIDE, MIN_SIDE, Limits, UploadError, is_too_long
from brainmri.io.sanitize import ORIENTATION, bare_jpeg, count_pages
from brainmri.io.sniff import kind_of
from brainmri.io.tiff import page_of

# What is opened, by content. Formats that Pillow hands to another program (EPS) are left out on purpose.
READ_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".jp2"}
)
LONGEST_WORDS = 200  # of a library; some quote what they read
_opening = threading.Lock()  # warnings.catch_warnings is not safe between threads


@dataclass(frozen=True)
class CheckedImage:
    """An image that can be used.

    image: upright, mode "L" or "RGB", 8 bits per channel. encoded: the bytes to write, which decode to exactly `image`
    and hold nothing else: a JPEG file's coded pixels where they are such an image, else a PNG. suffix: ".jpg" or
    ".png", of `encoded`. format: kind of the file that was read ("JPEG", "DICOM", ...; "array"). size: its bytes.
    """

    image: Image.Image
    suffix: str
    encoded: bytes
    format: str
    size: int


def read_image(path: Path) -> CheckedImage:
    """Read an image file; its format is told by content, whatever the suffix says.

    It becomes the image that the demo and `brainmri predict` see too (`decode.read_image_file`): transparent parts on
    black, which is the background of an MRI slice, more than 8 bits scaled from their robust range, EXIF turns
    applied. A DICOM file of one frame is drawn in its window; of the patient's data nothing is read.

    Raises:
        RejectedImage: for a file that is missing, empty, no image, broken, cut off, animated or of several pages
            (which page is meant cannot be known), too large, too small, blank, or holds NaN or infinite values.
    """
    if not path.is_file():
        raise RejectedImage("no such file" if not path.exists() else "not a regular file")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise RejectedImage(f"too large: {size:,} bytes, at most {MAX_BYTES:,} are read")
        data = path.read_bytes()
    except OSError as error:
        raise RejectedImage(f"cannot be read: {error.strerror}") from error
    if not data:
        raise RejectedImage("empty file (zero bytes)")
    try:
        return _decode(data)
    except (RejectedImage, ImportError):  # a package is not installed as it should be
        raise
    except Exception as error:  # Pillow raises a dozen types for broken files, SyntaxError and struct.error among them
        raise RejectedImage(f"broken image file: {_words(error)}") from error


def prepared_image(path: Path, sha256: str | None = None) -> Image.Image:
    """An image of a prepared folder, "L" or "RGB". sha256: of the bytes that the file is known to hold, if it is.

    Raises:
        ValueError: if it cannot be read any more (cut off since it was prepared, say), or holds other bytes; names it.
    """
    try:
        data = path.read_bytes()
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError("it changed while it was read")
        with Image.open(io.BytesIO(data), formats=READ_FORMATS) as file:
            return file.convert("L" if file.mode == "L" else "RGB")
    except Exception as error:  # Pillow raises a dozen types for broken files
        raise ValueError(f"{path} cannot be read as an image ({_words(error)})") from error


def check_array(values: np.ndarray) -> CheckedImage:
    """An image from an array: shape (H, W), (H, W, 1) or (H, W, 3), uint8, or float in [0, 1] (times 255, rounded).

    Raises:
        RejectedImage: for other types and values, and for images that are too large, too small or blank.
    """
    _check_size(values.shape[1], values.shape[0])
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise RejectedImage("holds values that are no numbers (NaN) or infinite")
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            raise RejectedImage(f"float values from {low:g} to {high:g}: expected 0..1 (or uint8)")
        values = np.round(values.astype(np.float64) * 255).astype(np.uint8)
    if values.dtype != np.uint8:
        raise RejectedImage(f"values of type {values.dtype}: expected uint8, or float from 0 to 1")
    image = Image.fromarray(np.ascontiguousarray(values))
    _check_not_blank(image)
    return CheckedImage(image, ".png", _png(image), "array", values.nbytes)


def checked_png(image: Image.Image, form: str, size: int) -> CheckedImage:
    """An image that was drawn from a file of the kind `form` and of `size` bytes.

    Raises:
        RejectedImage: if it is too large, too small or blank.
    """
    _check_size(*image.size)
    _check_not_blank(image)
    return CheckedImage(image, ".png", _png(image), form, size)


def _decode(data: bytes) -> CheckedImage:
    try:
        kind = kind_of(data)
    except UploadError as error:
        raise RejectedImage(f"not an image that can be read ({', '.join(KINDS)})") from error
    if kind == "DICOM":
        return _decode_dicom(data)
    if kind not in KINDS:
        raise RejectedImage(f"a {kind} file, not an image ({', '.join(KINDS)})")
    limits = Limits(file_bytes=MAX_BYTES, pixels=MAX_PIXELS)
    plain = False
    try:
        if kind == "TIFF":
            frames = count_pages(data, limits)
            first = page_of(data, 0)
            _check_size(first.width, first.length)
        else:
            with _open(data) as file:
                _check_size(*file.size)
                # Formats of one image lack the attribute; MPO is a JPEG photograph first, then previews of it.
                frames = 1 if file.format == "MPO" else getattr(file, "n_frames", 1)
                plain = kind == "JPEG" and file.getexif().get(ORIENTATION, 1) not in range(2, 9)
                plain = plain and file.mode in ("L", "RGB")
        if frames > 1:
            raise RejectedImage(f"{frames} frames or pages: save the one that is meant as a file of its own")
        image = read_image_file(kind, data, 0, limits)
    except UploadError as error:
        raise RejectedImage(str(error)) from error
    _check_not_blank(image)
    bare = bare_jpeg(data, image) if plain else None
    return CheckedImage(image, ".jpg" if bare else ".png", bare or _png(image), kind, len(data))


def _decode_dicom(data: bytes) -> CheckedImage:
    from brainmri.io.dicom import open_dicom  # late: it imports pydicom, and this module
    from brainmri.io.limits import LIMITS
    from brainmri.io.patient_header import unsuited

    if why := unsuited(data):
        raise RejectedImage(why)
    try:
        frames = open_dicom(data, LIMITS)
        if frames.count > 1:
            raise RejectedImage(f"{frames.count} frames in a DICOM file: save the one that is meant as an image")
        (plane,) = frames.counts
        image = frames.draw(plane, 0)
    except UploadError as error:
        raise RejectedImage(str(error)) from error
    return CheckedImage(image, ".png", _png(image), "DICOM", len(data))


def _open(data: bytes) -> Image.Image:
    """The header only. Pillow's own warning about huge images is switched off, because `_check_size` follows."""
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            return Image.open(io.BytesIO(data), formats=READ_FORMATS)
        except Image.DecompressionBombError as error:
            raise RejectedImage(f"too large: more than {MAX_PIXELS:,} pixels") from error
        except UnidentifiedImageError as error:
            raise RejectedImage(
                "not an image that can be read (JPEG, PNG, TIFF, BMP, GIF, WebP, PPM, JPEG 2000)"
            ) from error


def _words(error: Exception) -> str:
    """What is wrong with a file, without the address of an object in memory."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no image"
    return str(error)[:LONGEST_WORDS] or type(error).__name__


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise RejectedImage(f"too large: {width}x{height} pixels, at most {MAX_PIXELS:,} are read")
    if is_too_long(width, height):
        raise RejectedImage(
            f"too long: {width}x{height} pixels, at most {MAX_SIDE:,} on a side and {MAX_RATIO} times as long as wide"
        )
    if min(width, height) < MIN_SIDE:
        raise RejectedImage(f"too small: {width}x{height} pixels, at least {MIN_SIDE}x{MIN_SIDE} are needed")


def _check_not_blank(image: Image.Image) -> None:
    extrema = np.array(image.getextrema()).reshape(-1, 2)
    if (extrema[:, 0] == extrema[:, 1]).all():
        raise RejectedImage(f"blank: every pixel is {image.getpixel((0, 0))}")


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
