"""Where images come from: known origins and their licences, and which images were simulated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from brainmri.schemas import SimulatedImages, write

CHENG = (
    "Cheng J. Brain tumor dataset. figshare, doi:10.6084/m9.figshare.1512427 (CC BY 4.0; tumour slices)",
    "Cheng J, Huang W, Cao S, et al. Enhanced performance of brain tumor classification via tumor region augmentation "
    "and partition. PLoS ONE 10(10), 2015, doi:10.1371/journal.pone.0140381",
    "Cheng J, Yang W, Huang M, et al. Retrieval of brain tumors by adaptive spatial pooling and Fisher vector "
    "representation. PLoS ONE 11(6), 2016, doi:10.1371/journal.pone.0157112",
)


@dataclass(frozen=True)
class Origin:
    """citations: what is to be cited. licence: of the images, an identifier of the Hub; None: not known."""

    citations: tuple[str, ...]
    licence: str | None = None


ORIGINS = {
    "figshare-cheng": Origin(CHENG, "cc-by-4.0"),
    "kaggle-nickparvar": Origin(
        ("Nickparvar M. Brain Tumor MRI Dataset. Kaggle, masoudnickparvar/brain-tumor-mri-dataset", *CHENG)
    ),
    "kaggle-murtozalikhon": Origin(
        ("Brain tumor multimodal image (CT and MRI). Kaggle, murtozalikhon/brain-tumor-multimodal-image-ct-and-mri",)
    ),
}


# SHA-256 of the sorted paths of all files, one a line, of revisions that were looked at -> origin, and their name.
REVISIONS = {
    "cd45807897b84ca9d53fb96486decb9196f373759a849a0f01de76fc11ef3e5e": (
        "kaggle-nickparvar",
        "Kaggle masoudnickparvar/brain-tumor-mri-dataset, the revision of 7,023 files",
    ),
}


def known_revision(paths: Iterable[str]) -> tuple[str, str] | None:
    """Origin and name of the public set whose files are called exactly so; None where none is.

    paths: of all files of a source, relative to it. Names are no proof of what stands in the files.
    """
    listing = "\n".join(sorted(paths))
    return REVISIONS.get(hashlib.sha256(listing.encode()).hexdigest())


def check_origin(name: str | None) -> None:
    """Raises ValueError for the name of an origin that is not known."""
    if name is not None and name not in ORIGINS:
        raise ValueError(f"unknown origin {name!r}: expected one of {', '.join(ORIGINS)}")


RECORD = "simulated.json"


def write_record(folder: Path, *, generator: str, version: int, seed: int, images: Mapping[str, str]) -> None:
    """Write `simulated.json` into the folder of a generator's images.

    Args:
        generator, version, seed: what made them.
        images: `brainmri.io.decode.pixel_hash` of every image, by its path in the folder.
    """
    record = SimulatedImages(generator=generator, version=version, seed=seed, images=dict(sorted(images.items())))
    write(record, folder / RECORD)


def all_simulated(folder: Path, pixels: Iterable[str]) -> bool:
    """Whether the record in `folder` holds every one of these images; False without a record.

    pixels: `brainmri.io.decode.pixel_hash` of each.

    Raises:
        ValueError: if `simulated.json` is not what `write_record` writes.
    """
    file = folder / RECORD
    if not file.is_file():
        return False
    try:
        made = set(SimulatedImages.model_validate_json(file.read_text(encoding="utf-8")).images.values())
    except ValueError as error:
        raise ValueError(f"{file} is no record of simulated images: remove it, or make the images again") from error
    return made.issuperset(pixels)
