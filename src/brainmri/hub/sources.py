"""Where data and weights come from: licences that are known, and what is to be cited."""

from __future__ import annotations

from typing import Any

from brainmri.evaluation.results import is_simulated

OUR_LICENCE = "apache-2.0"
ICBM_LICENCE = {
    "license": "other",
    "license_name": "icbm-152",
    "license_link": "https://nist.mni.mcgill.ca/icbm-152-nonlinear-atlases-2009/",
}
# The notice that the template's makers ask to be kept; the package it comes in states no licence of it ("unknown").
ICBM_NOTICE = (
    "The head in every picture derives from the MNI152 template (ICBM 152 nonlinear symmetric 2009a), which its makers "
    "give to be used, copied, modified and distributed for any purpose and without fee, if their notice is kept: "
    "Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill "
    "University; provided “as is”, without express or implied warranty. What was simulated around it is under "
    f"{OUR_LICENCE}."
)
TEMPLATE = (
    "Fonov V, Evans AC, Botteron K, Almli CR, McKinstry RC, Collins DL, BDCG. Unbiased average age-appropriate atlases "
    "for pediatric studies. NeuroImage 54(1), 2011, doi:10.1016/j.neuroimage.2010.07.033 (the template of the head)",
    "Fonov VS, Evans AC, McKinstry RC, Almli CR, Collins DL. Unbiased nonlinear average age-appropriate brain "
    "templates from birth to adulthood. NeuroImage 47(1), S102, 2009, doi:10.1016/S1053-8119(09)70884-5",
)
FIGSHARE = (
    "Cheng J. Brain tumor dataset. figshare, doi:10.6084/m9.figshare.1512427 (CC BY 4.0; tumour slices)",
    "Cheng J, Huang W, Cao S, et al. Enhanced performance of brain tumor classification via tumor region augmentation "
    "and partition. PLoS ONE 10(10), 2015, doi:10.1371/journal.pone.0140381",
    "Cheng J, Yang W, Huang M, et al. Retrieval of brain tumors by adaptive spatial pooling and Fisher vector "
    "representation. PLoS ONE 11(6), 2016, doi:10.1371/journal.pone.0157112",
)
KAGGLE = (
    "Nickparvar M. Brain Tumor MRI Dataset. Kaggle, masoudnickparvar/brain-tumor-mri-dataset (known by its layout; "
    "another set of this layout has other sources)"
)


def known_licence(weights: str) -> str | None:
    """The licence of a network trained from `weights` (as in `result.json`), where those set none but ours.

    Random weights are our own, and those of the packages are under our licence; of any other the user knows.
    """
    from brainmri.models.packaged import PACKAGED_WEIGHTS

    packages = tuple(package.distribution for package in PACKAGED_WEIGHTS.values())
    return OUR_LICENCE if weights == "random" or weights.startswith(packages) else None


def citations(data: dict[str, Any]) -> tuple[str, ...]:
    """What to cite for a data set, from its name and layout; empty where its source is not known."""
    if is_simulated(data["name"]):
        return TEMPLATE
    return (KAGGLE, *FIGSHARE) if data["layout"] == "kaggle-4class" else ()
