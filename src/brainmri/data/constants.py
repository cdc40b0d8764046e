"""What the command lines of prepare_data.py and train.py offer, apart from the code for it: --help waits for none."""

from __future__ import annotations

from collections.abc import Mapping

LAYOUTS = ("kaggle-4class", "kaggle-multimodal", "imagefolder", "npz", "csv", "figshare-mat", "dicom", "nifti")
SCANS = ("dicom", "nifti")  # layouts whose files are series and volumes of many slices
SITES = ("institution", "scanner", "none")  # what of a DICOM header becomes the site
# What each scheme does, in the words of the data card.
SCHEMES: Mapping[str, str] = {
    "grouped": "by group, stratified by class: no group stands in two splits",
    "patients": "by the patient-wise folds that come with the package: one fold tests, the next one validates",
    "source": "the source's own test split; validation is a part of its training split, by group",
    "source_halved": "the source's training split; its test split halved into validation and test, stratified by class",
    "oversample_then_split": "every class drawn with replacement up to the largest, then split, stratified by class",
    "npz": "the source's own test split; validation is a part of its training split, by image, stratified by class",
}
STEPS = ("crop", "levels")  # of --standardize, see brainmri.data.standardize
HUB = "hf://datasets/"  # how --data_dir names a data set of the Hub
