"""Known origins of pictures: what is to be cited for them, and their licence.

Whoever prepares data names the origin (`prepare_data.py --origin`); it is written into `dataset.json` and travels into
every result. The layout of a folder tells nothing of it: anybody's pictures can lie in Training/ and Testing/.
"""

from __future__ import annotations

from dataclasses import dataclass

CHENG = (
    "Cheng J. Brain tumor dataset. figshare, doi:10.6084/m9.figshare.1512427 (CC BY 4.0; tumour slices)",
    "Cheng J, Huang W, Cao S, et al. Enhanced performance of brain tumor classification via tumor region augmentation "
    "and partition. PLoS ONE 10(10), 2015, doi:10.1371/journal.pone.0140381",
    "Cheng J, Yang W, Huang M, et al. Retrieval of brain tumors by adaptive spatial pooling and Fisher vector "
    "representation. PLoS ONE 11(6), 2016, doi:10.1371/journal.pone.0157112",
)


@dataclass(frozen=True)
class Origin:
    """citations: what is to be cited. licence: of the pictures, an identifier of the Hub; None: not known."""

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


def check_origin(name: str | None) -> None:
    """Raises ValueError for the name of an origin that is not known."""
    if name is not None and name not in ORIGINS:
        raise ValueError(f"unknown origin {name!r}: expected one of {', '.join(ORIGINS)}")
