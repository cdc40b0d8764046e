"""What the training images of a run were: sequence, plane and site; part of `result.json` and `uncertainty.json`."""

from __future__ import annotations

from brainmri.schemas.base import Interval, Record
from brainmri.schemas.pooling import Share


class KindCount(Record):
    """Attributes:
    sequence: one of `brainmri.io.sequence.SEQUENCES`. plane: "axial", "coronal", "sagittal" or "unknown".
    counts: number of training images by class.
    """

    sequence: str
    plane: str
    counts: dict[str, int]


class TypeEvidence(Record):
    """Whether the type of a tumour holds on images of sites that training lacked, by the run's own test split.

    Attributes:
        sites: those of the test split that neither training nor validation had.
        n, groups: tumours from there that were called a tumour of some type, and their groups.
        right: share of them that were given the right type, with its interval.
        proven: whether the interval's lower end reaches `needed`, so that types count there.
    """

    sites: list[str]
    n: int
    groups: int
    right: Share
    right_ci95: Interval | None
    needed: Share
    proven: bool


class TrainingKinds(Record):
    """What a run was trained on, as far as it matters to an image from elsewhere.

    Attributes:
        images: training images whose sequence and plane were estimated from their pixels, of `of` in all.
        kinds: how many look like each sequence and plane; those that none does are left out.
        sites: that training images come from; empty where that is not known.
        types: None where the test split has no tumour of another site, so that nothing is known.
    """

    images: int
    of: int
    kinds: list[KindCount]
    sites: list[str]
    types: TypeEvidence | None
