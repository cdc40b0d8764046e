"""What the files of a data set hold now, whatever its `dataset.json` says; what is derived from them is kept by it.

A file is read whole the first time. Afterwards a quick look is enough: size, time of change (mtime and, which no
program can set, ctime) and inode, all in nanoseconds where the file system has them. Only files whose quick look
differs are read again. A digest is remembered only of a file that had not changed for `SETTLED_NS` when it was read,
since two changes within one tick of the file system's clock leave one time. Systems without a ctime (Windows) have no
quick look that can be trusted: there every file is read each time.

The table of quick looks is in the cache folder, one for each folder of files, and holds no file names.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from brainmri.data.dataset import PreparedData
from brainmri.data.storage import cache_folder

SETTLED_NS = 2 * 10**9  # the coarsest clock of a usual file system ticks every two seconds (FAT)
LOOK = np.dtype(
    [("size", "<i8"), ("mtime_ns", "<i8"), ("ctime_ns", "<i8"), ("inode", "<u8"), ("sha256", np.uint8, (32,))]
)
QUICK = os.name == "posix"
CHUNK = 2**20  # bytes read at once
MANY = 500  # files to read, from which on progress is shown
Look = tuple[int, int, int, int]


def content_fingerprint(data: PreparedData) -> str:
    """32 hex digits of the classes and of file name, label, split, group and bytes of every image as it is now.

    Unlike `dataset.json`'s fingerprint, which tells what was prepared, it changes when a file is edited in place.

    Raises:
        ValueError: if a file of the index is missing or cannot be read.
    """
    columns = [data.index[name].tolist() for name in ("file_name", "label", "split", "group_id")]
    rows = sorted(zip(*columns, file_digests(data.root, columns[0]), strict=True))
    return hashlib.sha256(json.dumps([data.classes, rows], ensure_ascii=False).encode()).hexdigest()[:32]


def file_digests(root: Path, names: Sequence[str]) -> list[str]:
    """SHA-256 (64 hex digits) of the bytes that each file of `root` holds now; see the module for what is read again.

    Raises:
        ValueError: if a file is missing or cannot be read.
    """
    table = cache_folder() / "contents" / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:32]}.npy"
    known = _known(table)
    looks = [_look(root / name) for name in names]
    unread = [place for place, look in enumerate(looks) if look not in known]
    found = {place: known[look].hex() for place, look in enumerate(looks) if look in known}
    settled = {look: known[look] for look in looks if look in known}
    hidden = len(unread) < MANY or None  # None: shown in a terminal
    for place in tqdm(unread, desc="reading the files", unit="file", disable=hidden):
        digest, remembered = _read(root / names[place], looks[place])
        found[place] = digest.hex()
        if remembered:
            settled[looks[place]] = digest
    if settled.keys() != known.keys():
        _remember(table, settled)
    return [found[place] for place in range(len(names))]


def _look(path: Path) -> Look:
    try:
        stat = path.stat()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): prepare the data again") from error
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _read(path: Path, before: Look) -> tuple[bytes, bool]:
    """The digest of a file, and whether the quick look `before` stands for it from now on."""
    try:
        start = time.time_ns()
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): prepare the data again") from error
    return digest.digest(), QUICK and before[2] < start - SETTLED_NS and _look(path) == before


def _known(table: Path) -> dict[Look, bytes]:
    if not QUICK:
        return {}
    try:
        rows = np.load(table, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # none yet, or one that is damaged: every file is read
        return {}
    return dict(_entries(rows)) if rows.dtype == LOOK else {}


def _entries(rows: np.ndarray) -> Iterator[tuple[Look, bytes]]:
    columns = [rows[name].tolist() for name in ("size", "mtime_ns", "ctime_ns", "inode")]
    for *look, digest in zip(*columns, rows["sha256"], strict=True):
        yield tuple(look), digest.tobytes()


def _remember(table: Path, known: dict[Look, bytes]) -> None:
    rows = np.empty(len(known), LOOK)
    for number, (look, digest) in enumerate(known.items()):
        rows[number] = (*look, np.frombuffer(digest, np.uint8))
    unfinished = table.with_suffix(f".{os.getpid()}.tmp")  # another process may be at it too
    with suppress(OSError):  # a full disk, or one that is only read: the files are read again the next time
        try:
            table.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                np.save(file, rows)
            unfinished.replace(table)
        finally:
            unfinished.unlink(missing_ok=True)
