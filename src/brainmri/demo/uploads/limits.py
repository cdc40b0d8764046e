"""How much of a visitor's file is read, and the one error that tells him what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

MAY_BE_UPLOADED = (
    "Upload a picture (PNG, JPEG, TIFF, BMP, WebP or GIF), a DICOM file or a NIfTI volume (.nii or .nii.gz)."
)


class UploadError(ValueError):
    """A file that cannot be used. The text is shown to the visitor: it says what is wrong and what to do, and never
    holds a path, a text of the file itself or the value of a DICOM tag."""


@dataclass(frozen=True)
class Limits:
    """What is checked before anything is decoded. Bytes are bytes, pixels are width times height."""

    file_bytes: int = 64 * 2**20  # of one file, and of one member of an archive
    pixels: int = 4096 * 4096  # of one picture; times the channels for DICOM. Film scans are smaller
    slices: int = 2048  # pages of a TIFF, frames of a DICOM file, slices of a volume along each axis
    volume_bytes: int = 128 * 2**20  # of the first volume of a NIfTI file: 512 x 512 x 256 of 16 bits
    pictures: int = 1000  # that one upload of many files gives
    archive_bytes: int = 256 * 2**20  # of one ZIP file
    archive_members: int = 20_000  # folders included: the usual public set has 7,023 pictures
    archive_depth: int = 8  # folders inside each other
    unpacked_bytes: int = 512 * 2**20  # of all members together
    unpacked_ratio: int = 100  # unpacked bytes per packed byte; asked from `unchecked_bytes` on
    unchecked_bytes: int = 16 * 2**20  # an archive that unpacks to less may have any ratio


LIMITS = Limits()


def megabytes(count: int) -> str:
    return f"{max(1, round(count / 2**20)):,} MB"
