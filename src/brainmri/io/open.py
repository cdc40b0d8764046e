"""Untrusted files, one or many -> 8-bit images. Nothing is written to disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

from PIL import Image

from brainmri.io.archive import Archive, Member, is_ignored, open_archive, shown_name
from brainmri.io.limits import LIMITS, MAY_BE_UPLOADED, Limits, UploadError, megabytes
from brainmri.io.sniff import TELLING, is_zip, kind_of, office_document

# Kinds that are read from files of one's own only: what strangers send meets as few decoders as will do.
NOT_UPLOADED = ("PPM", "JPEG 2000")


class Slices(Protocol):
    """What is drawn from: one object for each way of storing slices."""

    @property
    def counts(self) -> dict[str, int]:
        """Plane -> number of slices, the plane shown first in front."""

    def draw(self, plane: str, index: int) -> Image.Image: ...


@dataclass(frozen=True)
class Upload:
    """A file that can be drawn. kind: "PNG", "JPEG", "TIFF", "BMP", "WebP", "GIF", "DICOM" or "NIfTI"."""

    kind: str
    source: Slices

    @property
    def sequence(self) -> str:
        """By the header (`sequence.SEQUENCES`); "" where it does not tell it, and for images that have none."""
        return str(getattr(self.source, "sequence", ""))

    @property
    def planes(self) -> tuple[str, ...]:
        """("slice", for images, pages and frames; those of "axial", "coronal" and "sagittal" that a volume has."""
        return tuple(self.source.counts)

    def slices(self, plane: str) -> int:
        """How many there are."""
        return self.source.counts[plane] if plane in self.planes else 0

    def middle(self, plane: str) -> int:
        """The index of the middle slice."""
        return self.slices(plane) // 2

    def image(self, plane: str, index: int) -> Image.Image:
        """A slice (index from 0) as an image of mode "L" or "RGB", upright, with square pixels.

        Raises:
            UploadError: if there is no such slice, or it is broken.
        """
        if not 0 <= index < self.slices(plane):
            raise UploadError("This file has no such slice. Choose another one.")
        return self.source.draw(plane, index)


def open_upload(path: Path, limits: Limits = LIMITS) -> Upload:
    """Open an image, a DICOM file or a NIfTI volume; its kind is told by content, whatever the name says.

    Everything that limits ask is checked before a pixel is decoded; the middle slice is drawn once, so that a broken
    file is told here. At most one file is decoded at a time.

    Raises:
        UploadError: for every file that cannot be drawn; says what is wrong and what to do.
    """
    return open_bytes(read_file(path, limits.file_bytes), limits)


def open_bytes(data: bytes, limits: Limits = LIMITS) -> Upload:
    """As `open_upload`, for a file in memory."""
    kind = kind_of(data)
    if kind == "ZIP":
        if office_document(data):
            raise UploadError(f"This is an Office document. {MAY_BE_UPLOADED}")
        raise UploadError("This is a ZIP file. Open it where many files are taken, or use one of its images.")
    if kind in NOT_UPLOADED:
        raise UploadError(f"This is a {kind} image. {MAY_BE_UPLOADED}")
    upload = Upload("NIfTI" if kind == "gzip" else kind, source_of(kind, data, limits))
    plane = upload.planes[0]
    upload.image(plane, upload.middle(plane))
    return upload


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        UploadError: if it is none, or holds more than `most` bytes.
    """
    try:
        if not path.is_file():  # a pipe or a device would be read for ever
            raise FileNotFoundError
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError):  # ValueError: a name with a NUL
        raise UploadError("The file could not be read. Try again, or use another one.") from None
    if len(data) > most:
        raise UploadError(f"The file is larger than {megabytes(most)}. Use a smaller one, or a single slice.")
    return data


def source_of(
    kind: str, data: bytes, limits: Limits, shared: Callable[[], tuple[float, float]] | None = None
) -> Slices:
    """What draws the slices of a file of this kind (`kind_of`); see `open_bytes`, which draws one of them too.

    shared: the values that are drawn black and white in the images of one scan, as of `decode.read_image_file`.
    """
    if kind == "DICOM":
        from brainmri.io.dicom import open_dicom

        return open_dicom(data, limits)
    if kind in ("NIfTI", "gzip"):
        from brainmri.io.nifti import open_volume

        return open_volume(data, limits)
    from brainmri.io.decode import open_image

    return open_image(kind, data, limits, shared)


NESTED = "A ZIP file inside a ZIP file is not opened. Use it on its own."
Answer = tuple[str, Image.Image | UploadError]


def open_many(paths: Sequence[Path], limits: Limits = LIMITS, names: Sequence[str] | None = None) -> Iterator[Answer]:
    """Files, folders and ZIP files -> a name to show and its image, or what is wrong with it, one after the other.

    Of a volume, of frames and pages: the middle slice, axial where there is a choice. Only one file is in memory at a
    time, and nothing is written to disk. After `limits.images` a last answer says that no more are read.

    Args:
        names: to show in the place of those of `paths`, one for each.
    """
    for number, answer in enumerate(_answers(paths, names, limits)):
        if number == limits.images:
            yield answer[0], UploadError(f"Only the first {number:,} files are read. Give this and the rest later.")
            return
        yield answer


def _answers(paths: Sequence[Path], names: Sequence[str] | None, limits: Limits) -> Iterator[Answer]:
    for path, shown in zip(paths, names or [path.name for path in paths], strict=True):
        for file, name in _files(path, shown):
            if is_archive(file):
                yield from _archive_answers(file, name, limits)
            else:
                yield shown_name(name), _answer(partial(open_upload, file, limits))


def _archive_answers(path: Path, name: str, limits: Limits) -> Iterator[Answer]:
    try:
        with open_archive(path, limits) as archive:
            if not archive.members:
                raise UploadError("The ZIP file holds no files. Pack the images again.")
            for member in archive.members:
                yield shown_name(member.path.as_posix()), _answer(partial(_open, archive, member, limits))
    except UploadError as error:
        yield shown_name(name), error


def _files(path: Path, name: str) -> Iterator[tuple[Path, str]]:
    """A file, which is called `name`, or the files of a folder, each with the name to show.

    Links and hidden files in a folder are left out.
    """
    if not path.is_dir():
        yield path, name
        return
    for file, below in files_below(path):
        if file.is_file() and not file.is_symlink():
            yield file, str(below)


def files_below(folder: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Everything in a folder that is no folder, in the order of the names, each with its path below it.

    Hidden files and what systems leave in folders are left out.
    """
    for inside, inner, names in os.walk(folder):
        inner.sort()
        for name in sorted(names):
            file = Path(inside, name)
            below = PurePosixPath(file.relative_to(folder).as_posix())
            if not is_ignored(below):
                yield file, below


def is_archive(path: Path) -> bool:
    """Whether a file begins as a ZIP file does."""
    return is_zip(beginning(path))


def beginning(path: Path) -> bytes:
    """The bytes of a regular file that tell its kind; none of what cannot be read, as `read_file` says why."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return b""
        with path.open("rb") as file:
            return file.read(TELLING)
    except (OSError, ValueError):
        return b""


def _open(archive: Archive, member: Member, limits: Limits) -> Upload:
    data = archive.read(member, limits)
    if is_zip(data) and not office_document(data):
        raise UploadError(NESTED)
    return open_bytes(data, limits)


def _answer(open_one: Callable[[], Upload]) -> Image.Image | UploadError:
    try:
        upload = open_one()
        plane = upload.planes[0]
        return upload.image(plane, upload.middle(plane))
    except UploadError as error:
        return error
