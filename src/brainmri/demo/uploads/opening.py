"""An untrusted file -> 8-bit pictures. Nothing is written to disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from brainmri.demo.uploads.kinds import kind_of, office_document
from brainmri.demo.uploads.limits import LIMITS, MAY_BE_UPLOADED, Limits, UploadError, megabytes


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
    def planes(self) -> tuple[str, ...]:
        """("slice",) for pictures, pages and frames; those of "axial", "coronal" and "sagittal" that a volume has."""
        return tuple(self.source.counts)

    def slices(self, plane: str) -> int:
        """How many there are."""
        return self.source.counts[plane] if plane in self.planes else 0

    def middle(self, plane: str) -> int:
        """The index of the middle slice."""
        return self.slices(plane) // 2

    def picture(self, plane: str, index: int) -> Image.Image:
        """A slice (index from 0) as a picture of mode "L" or "RGB", upright, with square pixels.

        Raises:
            UploadError: if there is no such slice, or it is broken.
        """
        if not 0 <= index < self.slices(plane):
            raise UploadError("This file has no such slice. Choose another one.")
        return self.source.draw(plane, index)


def open_upload(path: Path, limits: Limits = LIMITS) -> Upload:
    """Open a picture, a DICOM file or a NIfTI volume; its kind is told by content, whatever the name says.

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
        raise UploadError("This is a ZIP file. Open it where many files are taken, or upload one of its pictures.")
    upload = Upload("NIfTI" if kind == "gzip" else kind, _source(kind, data, limits))
    plane = upload.planes[0]
    upload.picture(plane, upload.middle(plane))
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
        raise UploadError("The file could not be read. Upload it again.") from None
    if len(data) > most:
        raise UploadError(f"The file is larger than {megabytes(most)}. Upload a smaller one, or a single slice.")
    return data


def _source(kind: str, data: bytes, limits: Limits) -> Slices:
    if kind == "DICOM":
        from brainmri.demo.uploads.dicom import open_dicom

        return open_dicom(data, limits)
    if kind in ("NIfTI", "gzip"):
        from brainmri.demo.uploads.nifti import open_volume

        return open_volume(data, limits)
    from brainmri.demo.uploads.pictures import open_picture

    return open_picture(kind, data, limits)
