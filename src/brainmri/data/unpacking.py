"""A ZIP file of images as a folder, for as long as it is prepared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from brainmri.data.constants import SCANS
from brainmri.data.scan_files import kinds_below
from brainmri.io.archive import Archives
from brainmri.io.limits import LOCAL, UploadError
from brainmri.io.open import is_archive


def is_archive_of_images(source: Path) -> bool:
    """Whether it is a ZIP file without DICOM and NIfTI files, which would be read where they are."""
    return source.is_file() and is_archive(source) and not set(kinds_below(source)) & set(SCANS)


@contextmanager
def unpacked(source: Path, out: Path) -> Iterator[Path]:
    """A folder beside `out`, called like the ZIP file `source`, with its files. It is gone at the end.

    What a killed run left there is cleaned up first. A file of the archive that is broken is there, and empty.

    Raises:
        ValueError: if the archive cannot be opened, or is not safe to; see `open_archive`.
    """
    above = out.with_name(f"{out.name}.brainmri-unpacked")
    shutil.rmtree(above, ignore_errors=True)
    try:
        with Archives(LOCAL) as archives:
            folder = above / source.stem
            for member in tqdm(archives.members(source), desc="unpacking", unit="file", disable=None):
                file = folder / member.path
                file.parent.mkdir(parents=True, exist_ok=True)
                try:
                    file.write_bytes(archives.read(source, member))
                except UploadError:
                    file.touch()
            folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except UploadError as error:
        raise ValueError(f"{source}: {error}") from error
    finally:
        shutil.rmtree(above, ignore_errors=True)
