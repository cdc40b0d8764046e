"""ZIP files, looked at before anything is unpacked, and unpacked one member at a time, in memory."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from brainmri.demo.uploads.kinds import TELLING, is_zip, office_document
from brainmri.demo.uploads.limits import MAY_BE_UPLOADED, Limits, UploadError, megabytes
from brainmri.demo.uploads.names import is_ignored, safe_path
from brainmri.demo.uploads.rationing import reading

LARGEST_DIRECTORY = 4 * 2**20  # bytes; 20,000 members with names of 100 characters need 3 MB
BROKEN = "The ZIP file is broken. Pack it again."
BROKEN_MEMBER = "This file of the archive is broken. Pack the archive again."
SAME_NAME = "The ZIP file holds the same name twice. Give its files different names."
ENCRYPTED = 0x1
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _SmallReads(io.FileIO):
    """A file of which no more than `LARGEST_DIRECTORY` bytes are read at once: `zipfile` reads, and splits into
    objects, a whole directory whatever its size."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.length = self.seek(0, io.SEEK_END)

    def read(self, size: int | None = -1, /) -> bytes:
        asked = self.length - self.tell() if size is None or size < 0 else size
        if asked > LARGEST_DIRECTORY:
            raise zipfile.BadZipFile
        return super().read(asked) or b""


@dataclass(frozen=True)
class Member:
    """A file of an archive. path: safe to write below a folder."""

    path: PurePosixPath
    info: zipfile.ZipInfo


@dataclass(frozen=True)
class Archive:
    """An open ZIP file whose members have passed every check. Hidden files and folders are left out of `members`."""

    file: zipfile.ZipFile
    members: list[Member]

    def read(self, member: Member, limits: Limits) -> bytes:
        """The unpacked bytes of a member.

        Raises:
            UploadError: if it is broken, or larger than one file may be.
        """
        if member.info.file_size > limits.file_bytes:
            raise UploadError(f"This file of the archive is larger than {megabytes(limits.file_bytes)}. Leave it out.")
        with reading(BROKEN_MEMBER), self.file.open(member.info) as file:
            return file.read(limits.file_bytes)

    def begins_as_archive(self, member: Member) -> bool:
        """Whether a member is a ZIP file itself; a broken one is not."""
        try:
            with reading(BROKEN_MEMBER), self.file.open(member.info) as file:
                return is_zip(file.read(TELLING))
        except UploadError:
            return False


@contextmanager
def open_archive(path: Path, limits: Limits) -> Iterator[Archive]:
    """A ZIP file, as long as the context lasts.

    Raises:
        UploadError: if it is broken, an Office document, encrypted, or packed by another method than deflate; if it
            has too many members, or they are too large together or for what they are packed to; if a name is unsafe,
            stands there twice, or is a link or a device.
    """
    with reading(BROKEN):
        raw = _SmallReads(path)
    with raw:
        if raw.length > limits.archive_bytes:
            raise UploadError(f"The ZIP file is larger than {megabytes(limits.archive_bytes)}. Pack fewer files.")
        with reading(BROKEN):
            file = zipfile.ZipFile(raw)
        with file:
            infos = file.infolist()
            if office_document(" ".join(info.filename for info in infos).encode("utf-8", "surrogatepass")):
                raise UploadError(f"This is an Office document. {MAY_BE_UPLOADED}")
            _check_sizes(infos, raw.length, limits)
            yield Archive(file, _members(infos, limits))


def _check_sizes(infos: list[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    if not infos:
        raise UploadError("The ZIP file is empty. Pack the pictures again.")
    if len(infos) > limits.archive_members:
        raise UploadError(f"The ZIP file holds more than {limits.archive_members:,} files. Pack fewer.")
    unpacked = sum(info.file_size for info in infos)
    if unpacked > limits.unpacked_bytes:
        raise UploadError(
            f"The ZIP file unpacks to more than {megabytes(limits.unpacked_bytes)}. Pack fewer or smaller files."
        )
    if unpacked > limits.unchecked_bytes and unpacked > limits.unpacked_ratio * size:
        raise UploadError(
            f"The ZIP file unpacks to more than {limits.unpacked_ratio} times its size, which pictures do not. "
            "Pack pictures only."
        )


def _members(infos: list[zipfile.ZipInfo], limits: Limits) -> list[Member]:
    members, seen = [], set()
    for info in infos:
        if info.flag_bits & ENCRYPTED:
            raise UploadError("The ZIP file is encrypted. Pack it again without a password.")
        if info.compress_type not in METHODS:
            raise UploadError("The ZIP file is packed by a method that is not opened. Pack it again as a usual ZIP.")
        path = safe_path(info.orig_filename, limits)
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UploadError("The ZIP file holds a link or a device. Pack the files themselves.")
        key = path.as_posix().casefold()
        if key in seen:
            raise UploadError(SAME_NAME)
        seen.add(key)
        if not info.is_dir() and not is_ignored(path):
            members.append(Member(path, info))
    above = {folder.as_posix().casefold() for member in members for folder in member.path.parents}
    if any(member.path.as_posix().casefold() in above for member in members):
        raise UploadError(SAME_NAME)
    return members
