"""The files below a folder in which scans are looked for, those in its ZIP files among them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from brainmri.data.listing import list_files
from brainmri.io.archive import Archives
from brainmri.io.limits import LOCAL, UploadError
from brainmri.io.open import beginning, is_archive, read_file
from brainmri.io.scan import Read, natural

NO_FOLDER = "This folder cannot be read."
NO_FILES = "The ZIP file holds no files."


class SourceFile(NamedTuple):
    """A file that is not read yet.

    path: from the source on; a ZIP file is as a folder in it. read, first: all of its bytes, and those that tell its
    kind. size: in bytes.
    """

    path: str
    read: Read
    first: Callable[[], bytes]
    size: int


class SourceFiles:
    """The files below a folder, or of a ZIP file.

    Hidden files and what systems leave in folders are left out, as of `list_files`. As a context it closes the ZIP
    files at its end.

    Attributes:
        files: in the order of their paths. closed: path and reason of folders and ZIP files that cannot be opened.
    """

    def __init__(self, source: Path) -> None:
        """Look for them."""
        self.files: list[SourceFile] = []
        self.closed: list[tuple[str, str]] = []
        self._archives = Archives(LOCAL)
        closed: list[Path] = []
        for file in [source] if source.is_file() else list_files(source, closed):
            path = "" if file == source else file.relative_to(source).as_posix()
            if is_archive(file):
                self._look_into(file, path)
            else:
                self.files.append(local_file(source, path))
        self.closed.extend((folder.relative_to(source).as_posix(), NO_FOLDER) for folder in closed)
        self.files.sort(key=lambda one: natural(one.path))

    def __enter__(self) -> SourceFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._archives.close()

    def _look_into(self, file: Path, path: str) -> None:
        archives = self._archives
        try:
            members = archives.members(file)
        except UploadError as error:
            self.closed.append((path or file.name, str(error)))
            return
        if not members:
            self.closed.append((path or file.name, NO_FILES))
        for member in members:
            inside = (PurePosixPath(path) / member.path).as_posix()
            read, first = partial(archives.read, file, member), partial(archives.beginning, file, member)
            self.files.append(SourceFile(inside, read, first, member.info.file_size))


def local_file(source: Path, path: str) -> SourceFile:
    """A file below a folder."""
    file = source / path
    try:
        size = file.stat().st_size
    except OSError:
        size = 0
    return SourceFile(path, partial(read_file, file, LOCAL.file_bytes), partial(beginning, file), size)
