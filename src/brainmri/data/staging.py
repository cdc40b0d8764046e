"""A folder is made beside its final place and moved there when it is whole, so that nobody ever sees half of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from brainmri.data.dataset import is_prepared


def check_output(out: Path, overwrite: bool) -> None:
    """Refuse an `out` that must not be written.

    Raises:
        ValueError: if it is a file, if it exists and `overwrite` is not set, or if it holds something else than a
            prepared data set.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out} is a file: expected a folder that does not exist yet")
    if not overwrite:
        raise ValueError(f"{out} exists already: choose another folder, or replace it with --overwrite")
    if any(out.iterdir()) and not is_prepared(out):
        raise ValueError(f"{out} is not a prepared data set and is never replaced: choose another folder")


@contextmanager
def workshop(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out`, gone at the end. What a killed run left there is cleaned up first.

    Raises:
        ValueError: if another process is working on the same `out`.
    """
    folder = out.with_name(f"{out.name}.brainmri-tmp")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"another run is preparing {out} at this moment: wait for it") from error
    try:
        _tidy(folder, out)
        yield folder
    finally:
        _tidy(folder, out)
        lock.release()
        (folder / "lock").unlink(missing_ok=True)
        with suppress(OSError):  # another run may have begun to work there since the release
            folder.rmdir()


def install(new: Path, out: Path, overwrite: bool) -> None:
    """Move the finished folder `new` (inside the workshop of `out`) to `out`, replacing an old one if `overwrite`."""
    check_output(out, overwrite)
    if out.exists():
        out.rename(new.with_name("old"))
    new.rename(out)


def _tidy(folder: Path, out: Path) -> None:
    """Remove what was made there, by name: nothing is deleted that this module did not make."""
    if (folder / "old").exists() and not out.exists():
        (folder / "old").rename(out)  # stopped between the two steps of `install`
    for name in ("new", "staged", "old"):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
