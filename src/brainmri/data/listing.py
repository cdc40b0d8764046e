"""The files of a source folder, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"})


def list_files(folder: Path, closed: list[Path] | None = None) -> list[Path]:
    """All files below `folder`, links followed, hidden and system files passed over, in a fixed order.

    closed: gets the folders that cannot be read; without it the first of them raises an OSError.
    """
    return list(_walk(folder, (), closed))


def entries(folder: Path) -> list[Path]:
    """What is in a folder, by name, without hidden files and those that operating systems leave behind."""
    shown = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted((entry for entry in shown if entry.name.casefold() not in SYSTEM_FILES), key=lambda entry: entry.name)


def _walk(folder: Path, above: tuple[Path, ...], closed: list[Path] | None) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:
        return  # a link that leads back to a folder above it
    try:
        inside = entries(folder)
    except OSError:
        if closed is None:
            raise
        closed.append(folder)
        return
    for entry in inside:
        if entry.is_dir():
            yield from _walk(entry, (*above, here), closed)
        else:
            yield entry
