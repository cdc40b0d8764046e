"""PNG, JPEG, TIFF, BMP, WebP and GIF files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from brainmri.io.decode import is_blank, upright_8_bit
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
