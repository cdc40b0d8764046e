"""How the layouts `dicom` and `nifti` are read: which slices of which plane, and where labels and patients stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainmri.data.constants import SITES
from brainmri.io.geometry import PLANES

EVERY = re.compile(r"every:([1-9]\d*)")
SLICES = ("all", "mask", "largest-lesion")
STEM = "{stem}"  # in --masks: the name of the scan's file without .nii or .nii.gz


@dataclass(frozen=True)
class ScanOptions:
    """What `prepare` takes for these layouts beyond the others.

    Attributes:
        plane: "acquired" or one of `PLANES`.
        slices: "all", "every:N", "mask" (those that a lesion mask labels) or "largest-lesion".
        series: a pattern (`*T1*`) of the series to take, by description (DICOM) or file name (NIfTI); all if None.
        labels: a CSV of labels, by `file_name`, `path` or `patient`.
        label_level: which folder below the source names the class, 1 for the first; 0: none does; None: 1 unless labels
            come from elsewhere.
        patient_level: which folder names the patient; None: PatientID (DICOM), the folder below the class (NIfTI).
        patient_pattern: a regular expression whose first group, or match, in a path is the patient.
        masks: where the lesion masks lie: "{stem}_Mask.nii.gz", or a pattern of file names beside the scans.
        lesion_area: mm² of lesion from which a slice is labelled by it.
        lesion_label: of slices with a lesion; that of the scan if None.
        no_lesion_label: of slices without any lesion in scans with a mask; they are left out if None.
        site: "institution", "scanner" or "none": what of a DICOM header becomes the site.
        id_key: a file with the secret by which identifiers are hashed; a new random one if None.
        linkage: a CSV to write that says which file and patient stands behind each pseudonym; none if None.
    """

    plane: str = "acquired"
    slices: str = "all"
    series: str | None = None
    labels: Path | None = None
    label_level: int | None = None
    patient_level: int | None = None
    patient_pattern: str | None = None
    masks: str | None = None
    lesion_area: float = 50.0
    lesion_label: str | None = None
    no_lesion_label: str | None = None
    site: str = SITES[0]
    id_key: Path | None = None
    linkage: Path | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for values that cannot be meant, alone or together."""
        if self.plane not in ("acquired", *PLANES):
            raise ValueError(f"--plane {self.plane}: expected acquired, {', '.join(PLANES)}")
        if self.slices not in SLICES and not EVERY.fullmatch(self.slices):
            raise ValueError(f"--slices {self.slices}: expected all, every:N (such as every:4), mask or largest-lesion")
        if self.site not in SITES:
            raise ValueError(f"--site {self.site}: expected {', '.join(SITES)}")
        if self.slices in ("mask", "largest-lesion") and self.masks is None:
            raise ValueError(f"--slices {self.slices} needs lesion masks: say with --masks where they lie")
        for name in ("lesion_label", "no_lesion_label"):
            if getattr(self, name) is not None and self.masks is None:
                raise ValueError(f"--{name} is for scans with lesion masks: say with --masks where they lie")
        if not self.lesion_area >= 0:
            raise ValueError(f"--lesion_area {self.lesion_area}: an area in mm², 0 or more, is expected")
        for name in ("label_level", "patient_level"):
            level = getattr(self, name)
            if level is not None and level < (name == "patient_level"):
                raise ValueError(f"--{name} {level}: folders below the source are counted from 1")
        if self.patient_pattern is not None:
            if self.patient_level is not None:
                raise ValueError("--patient_level and --patient_pattern say the same: give one of them")
            try:
                re.compile(self.patient_pattern)
            except re.error as error:
                raise ValueError(f"--patient_pattern: no regular expression ({error})") from error

    @property
    def class_level(self) -> int:
        """The folder that names the class, from 1; 0 where none does."""
        if self.label_level is not None:
            return self.label_level
        return 0 if self.labels is not None or self.lesion_label is not None else 1

    @property
    def step(self) -> int:
        """Every how many-th slice is taken."""
        found = EVERY.fullmatch(self.slices)
        return int(found[1]) if found else 1


def scan_options(**given: Any) -> ScanOptions | None:
    """The options that were given (those that are not None), as paths where they name files; None if none was.

    Raises:
        ValueError: see `ScanOptions`.
    """
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    values |= {name: Path(values[name]) for name in ("labels", "id_key", "linkage") if name in values}
    return ScanOptions(**values) if values else None


def spread(count: int, step: int) -> range:
    """Every `step`-th of so many slices, the same number of them left over before and behind."""
    return range((count - 1) % step // 2, count, step)
