"""`audit.json`: what was found in a data set before anything is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from brainmri.schemas.base import Record
from brainmri.schemas.figures import Share


class AuditThresholds(Record):
    """Likeness (-1..1) from which two files hold one image, or two images are neighbouring slices."""

    same_picture_correlation: float
    same_picture_structure: float
    neighbour_structure: float


class SharedImages(Record):
    """How many images (`images`, `of` all) of one part of the data have one in another part.

    Attributes:
        part: a split, or the second data set. within: the other part (the key in the file is `in`).
    """

    part: str
    within: str = Field(alias="in")
    images: int
    of: int


class Repetitions(Record):
    """What repeats in one way.

    Attributes:
        kind: "exact", "same_picture" or "neighbour".
        images: number of images that share it with another one. sets: of such images. largest: images of the largest.
        contradictory: file names of each set with more than one label.
        across: for each ordered pair of parts.
    """

    kind: str
    images: int
    sets: int
    largest: int
    contradictory: list[list[str]]
    across: list[SharedImages]


class TraitAccuracy(Record):
    """Share (0..1) of the labels that are told from one trait."""

    trait: str
    accuracy: Share


class Shortcuts(Record):
    """What tells the class without looking at the brain.

    Attributes:
        folds: of the cross-validation by group. majority: share of the most frequent label. traits: the best first.
    """

    folds: int
    majority: Share
    traits: list[TraitAccuracy]


class ChangeRecall(Record):
    """Of how many images (`images`) the changed one was `found` to be the same image, or (`wrong`) as another one."""

    change: str
    images: int
    found: int
    wrong: int


class ThresholdGroups(Record):
    """What groups a threshold of likeness gives.

    Attributes:
        groups: their number. largest: images of the largest. mixed: images in groups of several labels.
        next, distant: pairs with neighbouring and with distant numbers that stand in one group, of `next_of` and
            `distant_of`.
    """

    threshold: float
    groups: int
    largest: int
    mixed: int
    next: int
    next_of: int
    distant: int
    distant_of: int


class SelfTest(Record):
    """What the audit itself finds of images that were changed on purpose, and what each threshold would give."""

    changes: list[ChangeRecall]
    thresholds: list[ThresholdGroups]


class LabelCheck(Record):
    """How the labels were checked, and what of labels that were changed on purpose that finds.

    Attributes:
        images: distinct ones that were judged. listed: in labels.csv. by_network: whether by what an ImageNet network
            sees in them; else by their thumbnails.
        changed: labels that were changed on purpose. named: images that would be listed then, of which `found` are
            among the changed ones.
    """

    images: int
    listed: int
    by_network: bool
    changed: int
    named: int
    found: int


class RejectedFile(Record):
    """A file that is no image, and why."""

    file_name: str
    reason: str


class AuditReport(Record):
    """`audit.json`.

    Attributes:
        name: of the data set. against: of a second one, in which its images were looked for.
        images: number of images of both. parts: by part (split or second set). classes: by label.
        kinds: from the strictest to the loosest.
        external: number of images of `against` that neither are nor look like one of the data set; None without it.
        shortcuts: None with one label only, or too few groups.
        calibration: the self-test; None unless it was asked for.
        labels: how the labels were checked; None where there are too few images, groups or labels.
    """

    schema_version: Literal[3] = 3
    name: str
    against: str | None
    images: int
    parts: dict[str, int]
    classes: dict[str, int]
    thresholds: AuditThresholds
    kinds: list[Repetitions]
    external: int | None
    shortcuts: Shortcuts | None
    calibration: SelfTest | None
    labels: LabelCheck | None = None  # of an audit before 2026-11-29
    rejected: list[RejectedFile]

    def same_image(self) -> Repetitions:
        """The kind `same_picture`."""
        return next(kind for kind in self.kinds if kind.kind == "same_picture")
