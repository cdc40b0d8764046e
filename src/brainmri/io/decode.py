"""Image files of every kind become upright 8-bit images: the one place for prepare, predict, audit and the demo."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from brainmri.io.deep import Deep, range_of, read_deep
from brainmri.io.limits import MIN_SIDE, Limits, RationedBytes, UploadError, reading
from brainmri.io.sanitize import ORIENTATION, check_size, clean, count_pages, too_large
from brainmri.io.sniff import kind_of
from brainmri.io.tiff import PHOTOMETRIC, WHITE_IS_ZERO, page_of

KINDS = ("PNG", "JPEG", "TIFF", "BMP", "WebP", "GIF", "PPM", "JPEG 2000")
PILLOW_NAMES = {"WebP": "WEBP", "JPEG 2000": "JPEG2000"}
UNKNOWN_TIFF = "This TIFF file is broken, or stores its pixels in a way that is not opened. Save it again, as PNG."
PLANE = "slice"  # the one plane of what is no volume
BITMAP_RUN_LENGTHS = (1, 2)
TOO_SMALL = f"This image is too small: at least {MIN_SIDE} x {MIN_SIDE} pixels are needed. Use a larger one."
NO_NUMBERS = "This image holds values that are no numbers (NaN) or infinite. Replace them and save it again."
BLANK = "Every pixel of this image is the same. Use one that shows something."


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
    """The pages of a TIFF file, decoded when they are asked for; those of more than 8 bits all in one range."""

    data: bytes
    count: int
    limits: Limits

    @property
    def counts(self) -> dict[str, int]:
        return {PLANE: self.count}

    @cached_property
    def range(self) -> tuple[float, float]:
        """The values that are drawn black and white."""
        pages = (read_deep("TIFF", self.data, page, self.limits) for page in range(self.count))
        return range_of((page for page in pages if page is not None), self.count)

    def draw(self, plane: str, index: int) -> Image.Image:
        with reading(_broken("TIFF")):
            return read_image_file("TIFF", self.data, index, self.limits, lambda: self.range)


def open_image(
    kind: str, data: bytes, limits: Limits, shared: Callable[[], tuple[float, float]] | None = None
) -> Still | Pages:
    """`kind`: as `sniff.kind_of` gives it. Of a moving image, the first frame. shared: as of `read_image_file`.

    Raises:
        UploadError: if it is broken, too large, too small, or a single image that is blank.
    """
    count = count_pages(data, limits) if kind == "TIFF" else 1
    if count > 1:
        return Pages(data, count, limits)
    with reading(_broken(kind)):
        image = read_image_file(kind, data, 0, limits, shared)
    if is_blank(image):
        raise UploadError(BLANK)
    return Still(image)


def shared_range(files: Iterable[bytes], count: int, limits: Limits) -> tuple[float, float]:
    """The values that are drawn black and white of images of more than 8 bits, of which each is a slice of one scan.

    Args:
        files: `count` image files. Those that are broken, or have 8 bits, are left out.
    """

    def deep() -> Iterator[Deep]:
        for data in files:
            kind = kind_of(data)
            with suppress(UploadError), reading(_broken(kind)):
                if kind in KINDS and (found := read_deep(kind, clean(kind, data), 0, limits)):
                    yield found

    return range_of(deep(), count)


def check_image(kind: str, data: bytes, limits: Limits) -> None:
    """What can be told without decoding a pixel.

    Raises:
        UploadError: as `open_image`.
    """
    with reading(_broken(kind)):
        if kind == "TIFF":
            count_pages(data, limits)
            first = page_of(data, 0)
            _check_sides(first.width, first.length, limits)
        else:
            _open(kind, data, limits).close()


def read_image_file(
    kind: str, data: bytes, page: int, limits: Limits, shared: Callable[[], tuple[float, float]] | None = None
) -> Image.Image:
    """The one way from an image file to an upright 8-bit image, "L" or "RGB", transparent parts on black.

    More than 8 bits are scaled from the robust range of the image (`intensity`) to 0..255: MRI intensities have no
    unit, and 12-bit values in a 16-bit file would be nearly black under a fixed scale.

    Args:
        kind: as `sniff.kind_of` gives it.
        page: of a TIFF file that `sanitize.count_pages` has checked; else 0.
        shared: the values that are drawn black and white, of the pages that belong together.

    Raises:
        UploadError: if it is too large, too small, or stored in a way that is not opened.
        Exception: of a dozen types, from the libraries that decode, if it is broken.
    """
    data = clean(kind, data)
    if deep := read_deep(kind, data, page, limits):
        _check_sides(deep.values.shape[1], deep.values.shape[0], limits)
        if not np.isfinite(deep.seen()).all():
            raise UploadError(NO_NUMBERS)
        return deep.drawn(shared and shared())
    with _open(kind, data, limits) as file:
        if page:
            file.seek(page)
            _check_sides(*file.size, limits)
        file.load()
        return Image.fromarray(np.array(upright_8_bit(file)))  # without the file's own notes


def _open(kind: str, data: bytes, limits: Limits) -> Image.Image:
    """The header only."""
    try:
        file = Image.open(RationedBytes(data), formats=(PILLOW_NAMES.get(kind, kind),))
    except Image.DecompressionBombError:
        raise too_large(limits) from None
    except UnidentifiedImageError:
        if kind == "TIFF":  # its directories are in order
            raise UploadError(UNKNOWN_TIFF) from None
        raise
    if kind == "BMP" and file.info.get("compression") in BITMAP_RUN_LENGTHS:
        raise UploadError("This is a compressed BMP file, which is not opened. Save it as PNG.")
    _check_sides(*file.size, limits)
    return file


def _check_sides(width: int, height: int, limits: Limits) -> None:
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
    """An image of any mode, opened by Pillow, as `read_image_file` gives it.

    Of colours of 16 bits Pillow has kept the upper 8; `brainmri.read_scan` keeps all.

    Raises:
        RejectedImage: for an image of more than 8 bits that is blank or holds values that are no numbers.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise RejectedImage("holds values that are no numbers (NaN) or infinite")
        if values.min() == values.max():
            raise RejectedImage(f"blank: every pixel is {values.flat[0]:g}")
        inverted = getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO  # of a TIFF file
        if inverted:
            values = -values.astype(np.float64)
        return Deep(values, turn=image.getexif().get(ORIENTATION, 1), negated=inverted).drawn()
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        is_grey = image.mode in ("L", "LA", "La", "1")
        opaque = image.convert("RGBA")
        black = Image.new("RGBA", opaque.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, opaque).convert("L" if is_grey else "RGB")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def pixel_hash(image: Image.Image) -> str:
    """SHA-256 of size and pixels; a grey image has the same one whether it is kept as L or as RGB."""
    if image.mode == "RGB":
        red, green, blue = image.split()
        image = red if red.tobytes() == green.tobytes() == blue.tobytes() else image
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()
