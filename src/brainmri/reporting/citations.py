"""Where data and weights come from: licences that are known, and what is to be cited."""

from __future__ import annotations

import re

from brainmri.data.provenance import ORIGINS
from brainmri.schemas import DataSummary

OUR_LICENCE = "apache-2.0"
ICBM_LICENCE = {
    "license": "other",
    "license_name": "icbm-152",
    "license_link": "https://nist.mni.mcgill.ca/icbm-152-nonlinear-atlases-2009/",
}
# The notice that the template's makers ask to be kept; the package it comes in states no licence of it ("unknown").
ICBM_NOTICE = (
    "The head in every image derives from the MNI152 template (ICBM 152 nonlinear symmetric 2009a), which its makers "
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
# How `result.json` tells the content of weights, by which their licence is known: a name can be anybody's.
DIGEST = re.compile(r", sha256 ([0-9a-f]{16})$")


def known_licence(weights: str) -> str | None:
    """The licence of a network trained from `weights` (as in `result.json`), where those set none but ours.

    Random weights are our own, those of a package are known by their content; of any other the user knows.
    """
    from brainmri.models.weights import PACKAGED_WEIGHTS

    if weights == "random":
        return OUR_LICENCE
    digest = DIGEST.search(weights)
    packaged = {package.sha256[:16] for package in PACKAGED_WEIGHTS.values()}
    return OUR_LICENCE if digest and digest[1] in packaged else None


def citations(data: DataSummary) -> tuple[str, ...]:
    """What to cite for a data set, by what is on record of it (`simulated`, `origin`); empty where nothing is."""
    if data.simulated:
        return TEMPLATE
    return ORIGINS[data.origin].citations if data.origin in ORIGINS else ()


def data_licence(data: DataSummary) -> str | None:
    """The licence of the images of the recorded origin, where it is known."""
    return ORIGINS[data.origin].licence if data.origin in ORIGINS else None
