"""Files that are whole or absent after a kill, and still there after a power cut."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def write_durably(path: Path, text: str) -> None:
    """Write `path` in one step: it holds the old text or the new one at any moment, and the disk has it in the end."""
    unfinished = path.with_name(f"{path.name}.tmp")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    windows = sys.platform == "win32"
    if windows and path.is_dir():  # which it cannot open
        return
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
