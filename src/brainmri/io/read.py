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

from brainmri.io.decode import RejectedImage, _check_finite, upright_8_bit
from brainmri.io.limits import MAX_BYTES, MAX_PIXELS, MAX_RATIO, MAX_SIDE, MIN_SIDE, is_too_long
from brainmri.io.sanitize import bare_jpeg
from brainmri.io.sniff import is_dicom

# What is opened, by content. Formats that Pillow hands to another program (EPS) are left out on purpose.
READ_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".jp2"}
)
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 2 to 8 are mirrors and turns
_opening = threading.Lock()  # warnings.catch_warnings is not safe between threads


@dataclass(frozen=True)
class CheckedImage:
    """An image that can be used.

    image: upright, mode "L" or "RGB", 8 bits per channel. encoded: the bytes to write, which decode to exactly `image`
    and hold nothing else: a JPEG file's coded pixels where they are such an image, else a PNG. suffix: ".jpg" or
    ".png", of `encoded`. format: of the file that was read ("JPEG", "DICOM", ...; "array"). size: its bytes.
    """

    image: Image.Image
    suffix: str
    encoded: bytes
    format: str
    size: int


def read_image(path: Path) -> CheckedImage:
    """Read an image file; its format is told by content, whatever the suffix says.

    Transparent parts are laid on black, which is the background of an MRI slice. Grey images of more than 8 bits and
    float images are scaled linearly from their own minimum..maximum to 0..255: MRI intensities have no unit, 12-bit
    values in a 16-bit file would be nearly black under a fixed scale, and percentiles would clip the brightest part,
    which may be the lesion. (Of 16-bit *colour* Pillow gives the upper 8 bits.) EXIF turns are applied. A DICOM file of
    one frame is drawn as the demo draws it, in its window; of the patient's data nothing is read.

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
    except RejectedImage:
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
        _check_finite(values)
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            raise RejectedImage(f"float values from {low:g} to {high:g}: expected 0..1 (or uint8)")
        values = np.round(values.astype(np.float64) * 255).astype(np.uint8)
    if values.dtype != np.uint8:
        raise RejectedImage(f"values of type {values.dtype}: expected uint8, or float from 0 to 1")
    image = Image.fromarray(np.ascontiguousarray(values))
    _check_not_blank(image)
    return CheckedImage(image, ".png", _png(image), "array", values.nbytes)


def _decode(data: bytes) -> CheckedImage:
    if is_dicom(data):
        return _decode_dicom(data)
    with _open(data) as file:
        _check_size(*file.size)
        frames = getattr(file, "n_frames", 1)  # formats of one image lack the attribute
        if frames > 1 and file.format != "MPO":  # MPO: a JPEG photograph first, then previews of it
            raise RejectedImage(f"{frames} frames or pages: save the one that is meant as a file of its own")
        name = file.format or ""
        upright = file.getexif().get(ORIENTATION, 1) not in range(2, 9)
        file.load()
        plain = upright and file.mode in ("L", "RGB") and not file.has_transparency_data
        image = upright_8_bit(file)
    image = Image.fromarray(np.array(image))  # without the notes of the file: profiles, texts, transparency
    _check_not_blank(image)
    bare = bare_jpeg(data, image) if plain and name in ("JPEG", "MPO") else None
    return CheckedImage(image, ".jpg" if bare else ".png", bare or _png(image), name, len(data))


def _decode_dicom(data: bytes) -> CheckedImage:
    from brainmri.io.dicom import open_dicom  # late: it imports pydicom, and this module
    from brainmri.io.limits import LIMITS, UploadError

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
    return str(error) or type(error).__name__


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
