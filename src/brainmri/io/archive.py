"""ZIP files, looked at before anything is unpacked, then unpacked one member at a time; and the names in them."""

from __future__ import annotations

import io
import re
import stat
import threading
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from brainmri.io.limits import MAY_BE_UPLOADED, Limits, UploadError, megabytes, reading
from brainmri.io.sniff import TELLING, is_zip, office_document

KEPT_OPEN = 16  # ZIP files; systems let a program have some hundred files open
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
        return is_zip(self.beginning(member))

    def beginning(self, member: Member) -> bytes:
        """The first bytes of a member, by which its kind is told; none of a broken one."""
        try:
            with reading(BROKEN_MEMBER), self.file.open(member.info) as file:
                return file.read(TELLING)
        except UploadError:
            return b""


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


class Archives:
    """ZIP files of one's own that are opened when they are asked for, and kept open a few at a time.

    Each is checked whenever it is opened. Threads may share it.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[Path, tuple[Archive, ExitStack]] = {}  # the one that was asked for last is the last
        self._lock = threading.RLock()

    def __enter__(self) -> Archives:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """All that are open; they are opened again when they are asked for."""
        with self._lock:
            while self._open:
                self._close()

    def members(self, path: Path) -> list[Member]:
        """The files of an archive. Raises UploadError as `open_archive`."""
        with self._lock:
            return self._archive(path).members

    def read(self, path: Path, member: Member) -> bytes:
        """The unpacked bytes of a member. Raises UploadError as `Archive.read`."""
        with self._lock:
            return self._archive(path).read(member, self._limits)

    def beginning(self, path: Path, member: Member) -> bytes:
        """As `Archive.beginning`."""
        with self._lock:
            return self._archive(path).beginning(member)

    def _archive(self, path: Path) -> Archive:
        found = self._open.pop(path, None)
        if found is None:
            while len(self._open) >= KEPT_OPEN:
                self._close()
            opened = ExitStack()
            found = opened.enter_context(open_archive(path, self._limits)), opened
        self._open[path] = found
        return found[0]

    def _close(self) -> None:
        """The one that was asked for the longest time ago."""
        self._open.pop(next(iter(self._open)))[1].close()


def _check_sizes(infos: list[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    if not infos:
        raise UploadError("The ZIP file is empty. Pack the images again.")
    if len(infos) > limits.archive_members:
        raise UploadError(f"The ZIP file holds more than {limits.archive_members:,} files. Pack fewer.")
    unpacked = sum(info.file_size for info in infos)
    if unpacked > limits.unpacked_bytes:
        raise UploadError(
            f"The ZIP file unpacks to more than {megabytes(limits.unpacked_bytes)}. Pack fewer or smaller files."
        )
    if unpacked > limits.unchecked_bytes and unpacked > limits.unpacked_ratio * size:
        raise UploadError(
            f"The ZIP file unpacks to more than {limits.unpacked_ratio} times its size, which images do not. "
            "Pack images only."
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


SHOWN = 80  # characters
LONGEST_PART, LONGEST_NAME = 200, 800  # bytes; file systems take 255 for a part
DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})
UNSAFE = re.compile(r"""[<>"'`&|*?:\\\[\](){}$#!~^]""")  # what markup, Markdown, shells or Windows read as their own
IGNORED_FOLDERS = frozenset({"__MACOSX"})
IGNORED_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})


def shown_name(name: str) -> str:
    """A name as it may be shown or written into a table: printable, without markup, at most `SHOWN` characters."""
    plain = "".join(letter for letter in unicodedata.normalize("NFC", name) if letter.isprintable())
    plain = UNSAFE.sub("_", plain).strip() or "unnamed"
    if plain[0] in "=+-@":  # a spreadsheet would take it for a formula
        plain = f"_{plain}"
    half = SHOWN // 2
    return plain if len(plain) <= SHOWN else f"{plain[: half - 1]}…{plain[-half:]}"


def safe_path(name: str, limits: Limits) -> PurePosixPath:
    """The name of a member of an archive as a relative path that can be written below a folder, and nowhere else.

    Raises:
        UploadError: for an absolute name, one that leads upwards or to a device, one with a backslash, a colon or a
            character that cannot be printed, and one that is too long or too deep.
    """
    parts = name.removesuffix("/").split("/")
    if (
        "\\" in name
        or ":" in name
        or not name.isprintable()
        or any(part in ("", ".", "..") or part != part.strip() or part.endswith(".") for part in parts)
        or any(part.split(".")[0].strip().lower() in DEVICES for part in parts)
    ):
        raise UploadError(
            "The ZIP file holds a name that is not allowed (it leads out of the folder, names a device, or has "
            "characters that cannot be printed). Pack the folder again with a usual program."
        )
    encoded = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    if max(encoded) > LONGEST_PART or sum(encoded) > LONGEST_NAME:
        raise UploadError("The ZIP file holds a name that is too long. Give its files and folders shorter names.")
    if len(parts) > limits.archive_depth:
        raise UploadError(
            f"The ZIP file holds more than {limits.archive_depth} folders inside each other. Pack the inner ones."
        )
    return PurePosixPath(unicodedata.normalize("NFC", "/".join(parts)))


def is_ignored(path: PurePosixPath) -> bool:
    """Whether it is a hidden file, or what a system leaves in folders."""
    hidden = any(part.startswith(".") or part in IGNORED_FOLDERS for part in path.parts)
    return hidden or path.name.lower() in IGNORED_FILES
