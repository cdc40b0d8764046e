"""A folder is made beside its final place and moved there when it is whole, so that nobody ever sees half of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from brainmri.data.dataset import OUTLINES, is_prepared
from brainmri.data.layouts import list_files

TABLES = ("dataset.json", "index.csv", "rejected.csv", "README.md")  # beside the pictures


def check_output(out: Path, overwrite: bool) -> None:
    """Refuse an `out` that must not be written.

    Raises:
        ValueError: if it is a file, if it exists and `overwrite` is not set, or if it holds something else than a
            prepared data set: all of it goes when it is replaced.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out} is a file: expected a folder that does not exist yet")
    if not overwrite:
        raise ValueError(f"{out} exists already: choose another folder, or replace it with --overwrite")
    if any(out.iterdir()) and not is_prepared(out):
        raise ValueError(f"{out} is not a prepared data set and is never replaced: choose another folder")
    if strangers := _strangers(out):
        raise ValueError(
            f"{out} holds {strangers[0]} ({len(strangers)} such files), which is no part of the prepared data set and "
            "would be lost: move it elsewhere, or choose another folder"
        )


def _strangers(out: Path) -> list[str]:
    """Files in a folder with `dataset.json` and `index.csv` that no preparation wrote, as far as the index tells."""
    if not any(out.iterdir()):
        return []
    try:
        names = pd.read_csv(out / "index.csv", dtype=str, keep_default_na=False)["file_name"]
    except (ValueError, KeyError):  # an index.csv of something else
        names = pd.Series(dtype=str)
    own = {*names, *TABLES, OUTLINES}
    found = (file.relative_to(out).as_posix() for file in list_files(out))
    return [name for name in found if name not in own]


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
