"""Where caches live, and large files on a disk that may be full: room is taken before anything is written into them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import DTypeLike

UNKNOWN_HERE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # what a file system says that cannot allocate
ZEROS = bytes(2**20)
SET_CACHE = "set BRAINMRI_CACHE"  # what helps where the disk of the caches is full


def cache_folder() -> Path:
    """Where caches live: `$BRAINMRI_CACHE`, else `~/.cache/brainmri`."""
    return Path(os.environ.get("BRAINMRI_CACHE", "~/.cache/brainmri")).expanduser()


def allocated_memmap(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """A new .npy file of zeros, mapped for writing, whose blocks on the disk are all taken.

    Without that a mapped file is sparse, and a disk that fills up while it is written ends the process by SIGBUS.

    Raises:
        OSError: (ENOSPC) if there is no room; nothing of the file is left then. See `brainmri.errors.writing`.
    """
    try:
        created = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
        start = int(created.offset)
        del created
        _allocate(path, start, prod(shape) * np.dtype(dtype).itemsize)
        return np.lib.format.open_memmap(path, "r+")
    except OSError:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def alone(lock: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file `lock`, which a killed process lets go; prints `waiting` if another one has it."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        print(waiting, flush=True)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def _allocate(path: Path, start: int, size: int) -> None:
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), start, size)
                return
            except OSError as error:
                if error.errno not in UNKNOWN_HERE:
                    raise
        file.seek(start)
        for written in range(0, size, len(ZEROS)):
            file.write(ZEROS[: size - written])
        file.flush()
        os.fsync(file.fileno())  # where blocks are taken late, a full disk is told here
