"""A data set in an uploaded ZIP file, unpacked for the audit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from brainmri.data.layouts import MRI_FOLDER, TUMOR_CLASSES
from brainmri.data.tables import SPLIT_NAMES
from brainmri.io.archive import Archive, Member, open_archive
from brainmri.io.decode import KINDS, check_image
from brainmri.io.limits import LIMITS, Limits, UploadError
from brainmri.io.open import NESTED, NOT_UPLOADED, is_archive
from brainmri.io.read import IMAGE_SUFFIXES
from brainmri.io.sanitize import clean
from brainmri.io.sniff import kind_of

BEGINNING = 512  # bytes kept of a file that is no usable image, enough for the audit to say so
UNNAMED_SET = "dataset"


@dataclass(frozen=True)
class Unpacked:
    """root: the folder of the images. name: of the data set, "" where the ZIP file has no folder for it.

    names: of each file below `root` (POSIX, relative to it), what it is called in the ZIP file.
    """

    root: Path
    name: str
    names: dict[str, str]


def unpack_dataset(path: Path, folder: Path, limits: Limits = LIMITS) -> Unpacked:
    """Unpack the images of a ZIP file below `folder`, in the folders of their splits and classes, under numbers.

    Names of files, and of folders inside a class, may be those of patients, and stay off the disk; the numbers keep
    their order. If everything lies in one folder that holds folders, that is the data set. An image is written without
    what it holds beside the image (`cleaning`); of one that is broken, too large or no image, only the beginning,
    so that the audit lists it. Whatever is not named as an image, and hidden files, are left out.

    Raises:
        UploadError: if the file is no ZIP file, fails a check of `archives.open_archive`, holds another ZIP file, or
            no image.
    """
    if not is_archive(path):
        raise UploadError("This is no ZIP file. Pack the folder with the images as a ZIP file and upload that.")
    with open_archive(path, limits) as archive:
        if any(archive.begins_as_archive(member) for member in archive.members):
            raise UploadError(NESTED)
        images = [member for member in archive.members if member.path.suffix.lower() in IMAGE_SUFFIXES]
        if not images:
            raise UploadError("The ZIP file holds no images. Pack a folder of PNG, JPEG or TIFF files.")
        tops = {member.path.parts[0] for member in images}
        stripped = len(tops) == 1 and all(len(member.path.parts) > 2 for member in images)
        root, names = folder / UNNAMED_SET, {}
        for number, member in enumerate(sorted(images, key=lambda member: member.path)):
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


def _usable(archive: Archive, member: Member, limits: Limits) -> bytes:
    """The bytes to write."""
    data = b""
    try:
        data = archive.read(member, limits)
        kind = kind_of(data)
        if kind in KINDS and kind not in NOT_UPLOADED:
            data = clean(kind, data)
            check_image(kind, data, limits)
            return data
    except UploadError:
        pass  # the audit lists it among the rejected files
    return data[:BEGINNING]


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError:
        raise UploadError("The images could not be unpacked here. Try again later, with fewer.") from None
