"""How the libraries that read files are called: quietly, one at a time, and with a ration of work."""

from __future__ import annotations

import io
import logging
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from brainmri.demo.uploads.limits import UploadError

NOT_ENOUGH_MEMORY = "This file needs more memory than there is. Make it smaller, or upload a single slice."
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
        found = self.read(len(buffer))
        buffer[: len(found)] = found
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
