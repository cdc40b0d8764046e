"""Where visitors' files lie: a folder of this process alone, and what killed processes left of theirs.

Nothing that a visitor uploads outlives its time, or the server. A server that is killed (SIGKILL, a crash, no power)
deletes nothing, so the next one that starts does it: each holds a lock on its folder, which ends with its process.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "brainmri-demo-"
LOCK = ".lock"
UPLOADS, WORK = (
    "uploads",
    "work",
)  # of Gradio, looked through for what is old; of what lasts as long as its answer takes
TRIES = 10  # at a folder; more than one is needed where two demos start in the same millisecond
OFTEN = 60  # seconds at most between two looks


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder with `UPLOADS` and `WORK` in it, until the `with` ends; what killed processes left is deleted first.

    Raises:
        OSError: if no folder can be made.
    """
    delete_abandoned()
    folder, lock = _locked()
    try:
        for name in (UPLOADS, WORK):
            (folder / name).mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release(force=True)


def delete_abandoned() -> None:
    """Delete the folders of demos that run no more. One of a demo that runs, or of another user, is left alone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if folder.is_symlink() or not folder.is_dir():
            continue
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            lock.release(force=True)


def _locked() -> tuple[Path, FileLock]:
    for _ in range(TRIES):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire()
        except FileNotFoundError:  # as below
            continue
        if (folder / LOCK).exists():  # else another demo that starts took it for abandoned, before it was locked
            return folder, lock
        lock.release(force=True)
    raise OSError("no folder for temporary files can be made: others delete it")


def forget_uploads(folder: Path, seconds: float) -> None:
    """Start a thread that deletes what comes into `folder` from now on, once it is older than `seconds`.

    Gradio's `delete_cache` deletes uploads, but neither the folders nor what it never put on its lists.
    """
    kept = set(folder.rglob("*"))

    def look() -> None:
        while True:
            time.sleep(min(OFTEN, seconds))
            delete_older(folder, seconds, kept)

    threading.Thread(target=look, name="forget uploads", daemon=True).start()


def delete_older(folder: Path, seconds: float, kept: set[Path]) -> None:
    """Delete the files below `folder` that are older than `seconds`, and then empty folders, but for `kept`."""
    limit = time.time() - seconds
    for path in sorted(folder.rglob("*"), reverse=True):  # what a folder holds comes before it
        try:
            if path in kept or path.lstat().st_ctime > limit:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        except OSError:  # gone already, or a folder that is not empty
            continue
