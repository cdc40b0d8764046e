"""How much of an untrusted file is read, and the one error that tells what is wrong with it."""

from __future__ import annotations

import io
import logging
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

MAY_BE_UPLOADED = "Use an image (PNG, JPEG, TIFF, BMP, WebP or GIF), a DICOM file or a NIfTI volume (.nii or .nii.gz)."


class UploadError(ValueError):
    """A file that cannot be used. The text is shown to the visitor: it says what is wrong and what to do, and never
    holds a path, a text of the file itself or the value of a DICOM tag."""


@dataclass(frozen=True)
class Limits:
    """What is checked before anything is decoded. Bytes are bytes, pixels are width times height."""

    file_bytes: int = 64 * 2**20  # of one file, and of one member of an archive
    pixels: int = 4096 * 4096  # of one image; times the channels for DICOM. Film scans are smaller
    slices: int = 2048  # pages of a TIFF, frames of a DICOM file, slices of a volume along each axis
    volume_bytes: int = 128 * 2**20  # of the first volume of a NIfTI file: 512 x 512 x 256 of 16 bits
    images: int = 1000  # that one upload of many files gives
    archive_bytes: int = 256 * 2**20  # of one ZIP file
    archive_members: int = 20_000  # folders included: the usual public set has 7,023 images
    archive_depth: int = 8  # folders inside each other
    unpacked_bytes: int = 512 * 2**20  # of all members together
    unpacked_ratio: int = 100  # unpacked bytes per packed byte; asked from `unchecked_bytes` on
    unchecked_bytes: int = 16 * 2**20  # an archive that unpacks to less may have any ratio


LIMITS = Limits()
# Of files that the user of a program has on a machine of their own: larger, and still bounded.
LOCAL = Limits(
    file_bytes=512 * 2**20,
    pixels=8192 * 8192,
    slices=8192,
    volume_bytes=512 * 2**20,
    images=10_000_000,
    archive_bytes=16 * 2**30,
    archive_members=200_000,
    archive_depth=32,
    unpacked_bytes=64 * 2**30,
)


def megabytes(count: int) -> str:
    return f"{max(1, round(count / 2**20)):,} MB"


# Four times a 4096x2048 film scan is still less; a slice has well under one million pixels. At 8 bytes per pixel (the
# scaling of 16-bit images) this bounds the memory of one file to about 320 MB.
MAX_PIXELS = 40_000_000
# An image of few pixels can still be so long that resizing it takes gigabytes: the weights of a resampling grow with
# one side, and a processor that brings the shorter side to 224 pixels makes the longer one that many times longer.
MAX_SIDE = 8192  # pixels of either side
MAX_RATIO = 64  # of the longer side to the shorter: eight rows of 512 pixels
MAX_BYTES = 256 * 2**20  # of one file: 40 million uncompressed 16-bit RGB pixels fit
MIN_SIDE = 8  # pixels; the networks and the thumbnails need something to look at


def is_too_long(width: int, height: int) -> bool:
    """Whether a side of an image, in pixels, is longer than `MAX_SIDE`, or than `MAX_RATIO` times the other."""
    longer, shorter = max(width, height), min(width, height)
    return longer > MAX_SIDE or longer > MAX_RATIO * max(shorter, MIN_SIDE)


NOT_ENOUGH_MEMORY = "This file needs more memory than there is. Make it smaller, or use a single slice."
READS = 300_000  # a PNG of 64 MB in chunks of 1 KB needs about 260,000
READ_OVER = 4  # how many times the whole file may be read: Pillow reads a TIFF's directory several times
CPU_SECONDS = 4.0  # of the thread that reads; good files take well under 0.1 s


# Pillow and pydicom log what stands in a file: a TIFF's tags at DEBUG, DICOM values that break a rule as warnings.
logging.getLogger("PIL").setLevel(logging.CRITICAL)


_one_at_a_time = threading.RLock()


class RationExceeded(Exception):  # noqa: N818 - an event, and seen only inside `reading`
    """The file makes its reader work more than any good file does."""


class RationedBytes(io.BytesIO):
    """Bytes in memory as a file whose reader may ask only so often, for so much and for so long.

    Readers loop over what a file says that it holds (chunks, directories, elements, and values that many entries
    share), and keep what they find; each turn of such a loop reads something.

    largest_read: the most bytes that one `read` may ask for (None: any number). reads: how often it may be asked.

    Raises (from each read):
        RationExceeded: after too many reads, bytes or seconds of processor time.
    """

    def __init__(self, data: bytes, largest_read: int | None = None, reads: int = READS):
        super().__init__(data)
        self.largest_read = largest_read
        self._reads = reads
        self._bytes = READ_OVER * len(data) + 2**20
        self._end = time.thread_time() + CPU_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        if self.largest_read is not None and (size is None or not 0 <= size <= self.largest_read):
            raise RationExceeded
        found = super().read(size)
        self._reads -= 1
        self._bytes -= len(found)
        if self._reads < 0 or self._bytes < 0 or time.thread_time() > self._end:
            raise RationExceeded
        return found

    def readinto(self, buffer: Any, /) -> int:
        target = memoryview(buffer).cast("B")  # an array, say
        found = self.read(len(target))
        target[: len(found)] = found
        return len(found)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Whatever a library raises becomes an `UploadError` that says `what`; its own words, which may quote the file, are
    dropped. Its warnings are silenced, for the same reason.

    One thread at a time: `warnings.catch_warnings` asks for that, and the memory of one file bounds that of all.
    """
    try:
        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UploadError:
        raise
    except MemoryError:
        raise UploadError(NOT_ENOUGH_MEMORY) from None
    except Exception:  # Pillow, pydicom and nibabel raise a dozen types for broken files, RecursionError among them
        raise UploadError(what) from None
