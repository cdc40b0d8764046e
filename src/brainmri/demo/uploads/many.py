"""Many files at once: for the table of answers, and a data set to audit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from PIL import Image

from brainmri.data.images import PICTURE_SUFFIXES
from brainmri.data.layouts import MRI_FOLDER, TUMOR_CLASSES
from brainmri.data.tables import SPLIT_NAMES
from brainmri.demo.uploads.archives import Archive, Member, open_archive
from brainmri.demo.uploads.cleaning import clean
from brainmri.demo.uploads.kinds import TELLING, is_zip, kind_of, office_document
from brainmri.demo.uploads.limits import LIMITS, Limits, UploadError
from brainmri.demo.uploads.names import is_ignored, shown_name
from brainmri.demo.uploads.opening import Upload, open_bytes, open_upload
from brainmri.demo.uploads.pictures import KINDS, check_picture

NESTED = "A ZIP file inside a ZIP file is not opened. Upload it on its own."
BEGINNING = 512  # bytes kept of a file that is no usable picture, enough for the audit to say so
UNNAMED_SET = "dataset"

Answer = tuple[str, Image.Image | UploadError]


def open_many(paths: Sequence[Path], limits: Limits = LIMITS, names: Sequence[str] | None = None) -> Iterator[Answer]:
    """Files, folders and ZIP files -> a name to show and its picture, or what is wrong with it, one after the other.

    Of a volume, of frames and pages: the middle slice, axial where there is a choice. Only one file is in memory at a
    time, and nothing is written to disk. After `limits.pictures` a last answer says that no more are read.

    Args:
        names: to show in the place of those of `paths`, one for each.
    """
    for number, answer in enumerate(_answers(paths, names, limits)):
        if number == limits.pictures:
            yield answer[0], UploadError(f"Only the first {number:,} files are read. Upload this and the rest later.")
            return
        yield answer


@dataclass(frozen=True)
class Unpacked:
    """root: the folder of the pictures. name: of the data set, "" where the ZIP file has no folder for it.

    names: of each file below `root` (POSIX, relative to it), what it is called in the ZIP file.
    """

    root: Path
    name: str
    names: dict[str, str]


def unpack_dataset(path: Path, folder: Path, limits: Limits = LIMITS) -> Unpacked:
    """Unpack the pictures of a ZIP file below `folder`, in the folders of their splits and classes, under numbers.

    Names of files, and of folders inside a class, may be those of patients, and stay off the disk; the numbers keep
    their order. If everything lies in one folder that holds folders, that is the data set. A picture is written without
    what it holds beside the picture (`cleaning`); of one that is broken, too large or no picture, only the beginning,
    so that the audit lists it. Whatever is not named as a picture, and hidden files, are left out.

    Raises:
        UploadError: if the file is no ZIP file, fails a check of `archives.open_archive`, holds another ZIP file, or
            no picture.
    """
    if not is_archive(path):
        raise UploadError("This is no ZIP file. Pack the folder with the pictures as a ZIP file and upload that.")
    with open_archive(path, limits) as archive:
        if any(archive.begins_as_archive(member) for member in archive.members):
            raise UploadError(NESTED)
        pictures = [member for member in archive.members if member.path.suffix.lower() in PICTURE_SUFFIXES]
        if not pictures:
            raise UploadError("The ZIP file holds no pictures. Pack a folder of PNG, JPEG or TIFF files.")
        tops = {member.path.parts[0] for member in pictures}
        stripped = len(tops) == 1 and all(len(member.path.parts) > 2 for member in pictures)
        root, names = folder / UNNAMED_SET, {}
        for number, member in enumerate(sorted(pictures, key=lambda member: member.path)):
            inner = PurePosixPath(*member.path.parts[stripped:])
            place = _numbered(inner, number)
            names[place.as_posix()] = inner.as_posix()
            _write(root / place, _usable(archive, member, limits))
    return Unpacked(root, tops.pop() if stripped else "", names)


def _numbered(path: PurePosixPath, number: int) -> PurePosixPath:
    """`path` with the folders of split and class, and of its own name what one layout reads the class from."""
    folders = path.parts[:-1]
    outer = bool(folders) and folders[0].casefold() in {*SPLIT_NAMES, MRI_FOLDER.casefold()}
    told = "".join(f"_{name}" for name in TUMOR_CLASSES if name in path.name.lower())
    return PurePosixPath(*folders[: 1 + outer], f"{number:05d}{told}{path.suffix.lower()}")


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
                raise UploadError("The ZIP file holds no files. Pack the pictures again.")
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
    for folder, inner, names in os.walk(path):
        inner.sort()
        for inner_name in sorted(names):
            file = Path(folder, inner_name)
            shown = PurePosixPath(file.relative_to(path).as_posix())
            if file.is_file() and not file.is_symlink() and not is_ignored(shown):
                yield file, str(shown)


def is_archive(path: Path) -> bool:
    """Whether a file begins as a ZIP file does."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return is_zip(file.read(TELLING))
    except (OSError, ValueError):
        return False


def _open(archive: Archive, member: Member, limits: Limits) -> Upload:
    data = archive.read(member, limits)
    if is_zip(data) and not office_document(data):
        raise UploadError(NESTED)
    return open_bytes(data, limits)


def _answer(open_one: Callable[[], Upload]) -> Image.Image | UploadError:
    try:
        upload = open_one()
        plane = upload.planes[0]
        return upload.picture(plane, upload.middle(plane))
    except UploadError as error:
        return error


def _usable(archive: Archive, member: Member, limits: Limits) -> bytes:
    """The bytes to write."""
    data = b""
    try:
        data = archive.read(member, limits)
        kind = kind_of(data)
        if kind in KINDS:
            data = clean(kind, data)
            check_picture(kind, data, limits)
            return data
    except UploadError:
        pass  # the audit lists it among the rejected files
    return data[:BEGINNING]


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError:
        raise UploadError("The pictures could not be unpacked here. Try again later, with fewer.") from None
