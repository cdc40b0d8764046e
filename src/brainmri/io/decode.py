"""PNG, JPEG, TIFF, BMP, WebP and GIF files, and decoded values, become 8-bit images of one mode and size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from brainmri.io.limits import MIN_SIDE, Limits, RationedBytes, UploadError, reading
from brainmri.io.sanitize import check_size, clean, count_pages, too_large

KINDS = ("PNG", "JPEG", "TIFF", "BMP", "WebP", "GIF")
PLANE = "slice"  # the one plane of what is no volume
BITMAP_RUN_LENGTHS = (1, 2)
TOO_SMALL = f"This image is too small: at least {MIN_SIDE} x {MIN_SIDE} pixels are needed. Use a larger one."
BLANK = "Every pixel of this image is the same. Use one that shows something."
NO_NUMBERS = "This image holds values that are no numbers (NaN) or infinite. Replace them and save it again."


@dataclass(frozen=True)
class Still:
    """One image."""

    image: Image.Image

    @property
    def counts(self) -> dict[str, int]:
        return {PLANE: 1}

    def draw(self, plane: str, index: int) -> Image.Image:
        return self.image.copy()


@dataclass(frozen=True)
class Pages:
    """The pages of a TIFF file, decoded when they are asked for."""

    data: bytes
    count: int
    limits: Limits

    @property
    def counts(self) -> dict[str, int]:
        return {PLANE: self.count}

    def draw(self, plane: str, index: int) -> Image.Image:
        return _decode("TIFF", self.data, index, self.limits)


def open_image(kind: str, data: bytes, limits: Limits) -> Still | Pages:
    """`kind`: as `kinds.kind_of` gives it. Of a moving image, the first frame.

    Raises:
        UploadError: if it is broken, too large, too small, or a single image that is blank.
    """
    count = count_pages(data, limits) if kind == "TIFF" else 1
    if count > 1:
        return Pages(data, count, limits)
    image = _decode(kind, clean(kind, data), 0, limits)
    if is_blank(image):
        raise UploadError(BLANK)
    return Still(image)


def check_image(kind: str, data: bytes, limits: Limits) -> None:
    """What can be told without decoding a pixel.

    Raises:
        UploadError: as `open_image`.
    """
    if kind == "TIFF":
        count_pages(data, limits)
    with reading(_broken(kind)):
        _open(kind, data, limits).close()


def _decode(kind: str, data: bytes, page: int, limits: Limits) -> Image.Image:
    with reading(_broken(kind)), _open(kind, data, limits) as file:
        if page:
            file.seek(page)
            _check_size(file, limits)
        file.load()
        if file.mode in ("I", "F") or file.mode.startswith("I;16"):
            values = np.asarray(file)
            if not np.isfinite(values).all():
                raise UploadError(NO_NUMBERS)
            if values.min() == values.max():
                return Image.new("L", file.size)
        image = upright_8_bit(file)
        return Image.fromarray(np.array(image))  # without the file's own notes


def _open(kind: str, data: bytes, limits: Limits) -> Image.Image:
    """The header only."""
    try:
        file = Image.open(RationedBytes(data), formats=(kind.upper(),))
    except Image.DecompressionBombError:
        raise too_large(limits) from None
    if kind == "BMP" and file.info.get("compression") in BITMAP_RUN_LENGTHS:
        raise UploadError("This is a compressed BMP file, which is not opened. Save it as PNG.")
    _check_size(file, limits)
    return file


def _check_size(file: Image.Image, limits: Limits) -> None:
    width, height = file.size
    check_size(width, height, limits)
    if min(width, height) < MIN_SIDE:
        raise UploadError(TOO_SMALL)


def _broken(kind: str) -> str:
    return f"This {kind} file is broken or cut off. Save it again, as PNG."


def finite_range(values: np.ndarray) -> tuple[float, float] | None:
    """Smallest and largest finite value; None if there is none."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def is_blank(image: Image.Image) -> bool:
    """Whether all pixels of an "L" or "RGB" image are the same."""
    extrema = np.array(image.getextrema()).reshape(-1, 2)
    return bool((extrema[:, 0] == extrema[:, 1]).all())


def resized(image: Image.Image, size: int) -> np.ndarray:
    """uint8 (1, size, size) where every channel of the result is equal, else (3, size, size).

    By torchvision's antialiased bilinear resize on uint8 tensors, the same that the saved image processor does, so that
    a published pipeline sees the pixels that the model was trained on.
    """
    from torchvision.transforms.v2 import functional

    tensor = functional.pil_to_tensor(image.convert("L" if image.mode == "L" else "RGB"))
    pixels = functional.resize(tensor, [size, size], antialias=True).numpy()
    return pixels if (pixels != pixels[0]).any() else pixels[:1]


class RejectedImage(ValueError):  # noqa: N818 - the name says what happens to the file
    """A file that cannot serve as an image; the message is the reason shown to the user."""


def upright_8_bit(image: Image.Image) -> Image.Image:
    """An image of any mode as `read_image` gives it: upright, "L" or "RGB", transparent parts on black.

    Raises:
        RejectedImage: for an image of more than 8 bits that is blank or holds values that are no numbers.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return stretched(np.asarray(image))
    if image.has_transparency_data:
        grey = image.mode in ("L", "LA", "La", "1")
        opaque = image.convert("RGBA")
        black = Image.new("RGBA", opaque.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, opaque).convert("L" if grey else "RGB")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def stretched(values: np.ndarray) -> Image.Image:
    """Values (H, W) as a grey image, linearly from their own minimum..maximum to 0..255.

    Raises:
        RejectedImage: if all are equal, or some are no finite numbers.
    """
    _check_finite(values)
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise RejectedImage(f"blank: every pixel is {low:g}")
    scaled = values.astype(np.float64)  # and in place from here on: 8 bytes per pixel, once
    scaled -= low
    scaled *= 255 / (high - low)
    return Image.fromarray(np.round(scaled, out=scaled).astype(np.uint8))


def pixel_hash(image: Image.Image) -> str:
    """SHA-256 of size and pixels; a grey image has the same one whether it is kept as L or as RGB."""
    if image.mode == "RGB":
        red, green, blue = image.split()
        image = red if red.tobytes() == green.tobytes() == blue.tobytes() else image
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()


def _check_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise RejectedImage("holds values that are no numbers (NaN) or infinite")
