"""What there is to say of the slices of a scan by their places, and sentences counted over many scans."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

STUDY = "\0study "  # how a patient begins that is a study, for want of a PatientID, which holds no NUL
SAME_PLACE = 0.01  # mm
LEAST_MISSING = 0.05  # of the slices that a series should have, from which gaps in it are said
SEVERAL_AT_ONE_PLACE = "The series holds several images of a slice (time points, echoes, ...); all of them are used."
MISSING = (
    "Slices are missing ({missing} of {total}): gaps between the positions of the others show it. Nothing is known of "
    "what they would show: export the series anew."
)
COPIES = (
    "Slices are there twice ({copies} of {total}), as copies of a file in the same series are: each copy counts. Leave "
    "the copies out."
)
COUNTS = re.compile(r"\((\d+) of (\d+)\)")


def series_notes(along: Sequence[float], moments: Sequence[tuple[object, ...]]) -> tuple[str, ...]:
    """What is to be said of a series by the places of its slices.

    Args:
        along: where each lies (mm), in ascending order.
        moments: of each, in the same order: time, echo and number, which copies of one file share.
    """
    places = np.flatnonzero(np.diff(along, prepend=-np.inf) >= SAME_PLACE)
    at = np.searchsorted(places, np.arange(len(along)), side="right")
    copies = len(along) - len(set(zip(at.tolist(), moments, strict=True)))
    several = len(set(zip(at.tolist(), moments, strict=True))) > len(places)
    return (
        (SEVERAL_AT_ONE_PLACE,) * several
        + (COPIES.format(copies=copies, total=len(along)),) * bool(copies)
        + missing_notes(np.asarray(along)[places].tolist())
    )


def missing_notes(along: Sequence[float]) -> tuple[str, ...]:
    """What is to be said of gaps between slices, where many are missing. along: as of `series_notes`.

    The distance of neighbours is that of the nearest tenth: where many slices are missing, it is not the median. Slices
    that lie far nearer to each other are images of one, of a table that moved.
    """
    steps = np.diff(along)
    steps = steps[steps >= SAME_PLACE]
    if len(steps) < 2:
        return ()
    step = float(np.quantile(steps[steps >= np.quantile(steps, 0.75) / 4], 0.1))
    missing = int((np.round(steps / step) - 1).clip(0).sum())
    total = len(along) + missing
    return (MISSING.format(missing=missing, total=total),) if missing >= LEAST_MISSING * total else ()


class Notes:
    """Sentences about scans, each with the number of its scans; figures "(3 of 20)" in them are summed up."""

    def __init__(self) -> None:
        self._scans: Counter[str] = Counter()
        self._sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, notes: Iterable[str]) -> None:
        """Those of one scan."""
        for note in notes:
            bare = COUNTS.sub("({} of {})", note)
            self._scans[bare] += 1
            if figures := COUNTS.search(note):
                self._sums[bare] = [
                    one + int(more) for one, more in zip(self._sums[bare], figures.groups(), strict=True)
                ]

    def counted(self) -> dict[str, int]:
        """The sentences, those of the most scans first, and how many scans each is true of."""
        return {
            bare.format(*self._sums[bare]) if bare in self._sums else bare: scans
            for bare, scans in self._scans.most_common()
        }
