"""`dataset.json`: what a prepared data set is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from brainmri.schemas.base import Record


class DataSummary(Record):
    """What every figure on a data set must be read with.

    Attributes:
        name: of the data set, for readers.
        fingerprint: 16 hex digits that change with any name, label, split, group or byte of the images.
        layout: of the source, one of `brainmri.data.constants.LAYOUTS`.
        simulated: whether all images are simulated (the phantom set).
        origin: where the images come from, one of `brainmri.data.provenance.ORIGINS`; None where nobody said it.
        split: how images were dealt to the splits ("grouped", "patients", "source", "5 folds", ...).
        leaky: whether images of one group stand in more than one split.
        classes: the label names, in the order of their numbers.
        counts: images of each split and label.
        groups: number of groups (patients, as far as known) in all splits together.
    """

    name: str
    fingerprint: str
    layout: str
    simulated: bool = False
    origin: str | None = None
    split: str
    leaky: bool
    classes: list[str]
    counts: dict[str, dict[str, int]]
    groups: int


class ScanSettings(Record):
    """How slices were taken from DICOM series or NIfTI volumes, and what was seen in them.

    Attributes:
        plane: "acquired", "axial", "coronal" or "sagittal".
        slices: "all", "every:N", "mask" or "largest-lesion".
        masks: whether lesion masks labelled the slices.
        lesion_area_mm2: from which a slice counts as one of the lesion; None without masks.
        no_lesion_label: of slices without any lesion in scans with a mask; None: they were left out.
        site: what of a header became the site: "institution", "scanner" or "none".
        keyed: whether pseudonyms were made with a key that was given, so that other preparations agree with them.
        scans: series and volumes that slices were taken from.
        left_out_slices: slices to which a mask gave no label.
        burnt_in_scans: scans in whose pixels texts may stand, by their headers.
        burnt_in: the names of these scans, as in the column `source` of index.csv before the #.
        notes: what there is to say about scans (headers that cannot be true, say), and about how many.
    """

    plane: str
    slices: str
    masks: bool
    lesion_area_mm2: float | None
    no_lesion_label: str | None
    site: str
    keyed: bool
    scans: int
    left_out_slices: int
    burnt_in_scans: int
    burnt_in: list[str] = Field(default_factory=list)
    notes: dict[str, int]


class PrepareSettings(Record):
    """By what a preparation decided.

    Attributes:
        prepare_version: of the preparation; a set of an earlier one may be grouped, split or named in another way.
        groups_file: whether known groups (patients) were given.
        standardize: the steps that every image went through.
        excluded_images: number of images that were left out by hand; they stand in rejected.csv.
        images_with_given_group: number of images whose group was given.
        same_picture_correlation, same_picture_structure: likeness (-1..1) from which two files hold one image.
        same_group_structure: likeness (-1..1) from which two images count as neighbouring slices.
        max_pixels: of an image, at most. min_side: of an image in pixels, at least.
        scans: how scans were read; None where the source held images.
    """

    prepare_version: int = 0
    groups_file: bool
    standardize: list[str]
    excluded_images: int = 0
    images_with_given_group: int
    same_picture_correlation: float
    same_picture_structure: float
    same_group_structure: float
    max_pixels: int
    min_side: int
    scans: ScanSettings | None = None


class DatasetInfo(DataSummary):
    """`dataset.json` of a prepared folder.

    Attributes:
        split_seed: by which the splits were drawn.
        test_fold: the patient-wise fold (1..5) that tests; None for other splits.
        holdout: "site=NAME" where a site was held out for the test split.
        val, test: shares (0..1) asked for; None where the scheme has its own.
        largest_group: images of the largest group.
        distinct_images: number of images that differ in more than mirroring, contrast or encoding.
        contradictory_images: the source files of each image that has more than one label.
        groups_across_splits: number of groups that stand in more than one split.
        rejected: number of files of the source that could not be used.
        outlined: number of images with outlines of their tumours.
        known_as: the public set, and its revision, whose files are called as those of the source; None where none is.
        settings: by what it was prepared.
    """

    schema_version: Literal[2] = 2
    split_seed: int
    test_fold: int | None = None
    holdout: str | None
    val: float | None
    test: float | None
    largest_group: int
    distinct_images: int
    contradictory_images: list[list[str]]
    groups_across_splits: int
    rejected: int
    outlined: int
    known_as: str | None = None
    settings: PrepareSettings

    def summary(self) -> DataSummary:
        """The part that results repeat."""
        return DataSummary(**{name: getattr(self, name) for name in DataSummary.model_fields})
