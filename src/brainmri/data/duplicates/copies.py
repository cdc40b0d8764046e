"""Copies of an image that grouping does not see: turned by 90 or 270 degrees, inverted, or cut inside the head.

Grouping compares images in four poses (see brainmri.data.duplicates.similarity). A turn by 90 degrees exchanges rows
and columns, an inversion changes the sign of a correlation: both give further poses, in which two images must be the
same image; slices of one patient are not looked for in them. Cut images: brainmri.data.duplicates.crops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainmri.data.duplicates.crops import find_crops
from brainmri.data.duplicates.grouping import SAME_IMAGE, SAME_STRUCTURE
from brainmri.data.duplicates.index import turned_blocks
from brainmri.data.duplicates.similarity import SIGNS, symmetry_components, turned_components, whitened_descriptors

TURNED, INVERTED, BOTH, CUT = "turned by 90 degrees", "inverted", "turned and inverted", "cut"
CANDIDATE = 0.95  # correlation from which two images are compared by their fine structure
LEAST_CONTRAST = (
    2.0  # grey levels (standard deviation): an image with less is blank, and inverted or turned still blank
)


@dataclass(frozen=True)
class Copies:
    """Pairs of one image in two forms.

    Attributes:
        first, second: int64 (M,), rows of the thumbnails.
        form: what was done to one of them, for each pair. similarity: float32 (M,), -1..1, once that is undone.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    form: list[str]
    similarity: NDArray[np.float32]


def find_copies(thumbnails: NDArray[np.uint8], image: NDArray[np.int64]) -> Copies:
    """The copies among images of which one was turned by 90 degrees, inverted or cut.

    Args:
        thumbnails: uint8, shape (N, 64, 64).
        image: (N,), equal where two are known to be the same image: only the first of them is looked at.
    """
    kept = np.sort(np.unique(image, return_index=True)[1])
    kept = kept[thumbnails[kept].std(axis=(1, 2), dtype=np.float32) >= LEAST_CONTRAST]
    turned = _turned(thumbnails[kept])
    crops = find_crops(thumbnails[kept])
    return Copies(
        first=kept[np.concatenate([turned.first, crops.whole])],
        second=kept[np.concatenate([turned.second, crops.part])],
        form=[*turned.form, *[CUT] * len(crops.whole)],
        similarity=np.concatenate([turned.similarity, crops.similarity]),
    )


def _turned(thumbnails: NDArray[np.uint8]) -> Copies:
    parts = symmetry_components(thumbnails)
    found: list[tuple[int, int, str, float]] = []
    for first, second in turned_blocks(parts, CANDIDATE):
        upright = np.einsum("nkp,nkp->nk", parts[first], parts[second]) @ SIGNS.T
        turned = np.einsum("nkp,nkp->nk", turned_components(parts[first]), parts[second]) @ SIGNS.T
        best = np.stack([turned.max(axis=1), (-upright).max(axis=1), (-turned).max(axis=1)])
        form, correlation = best.argmax(axis=0), best.max(axis=0)
        for row in np.flatnonzero(correlation >= CANDIDATE):
            one, other, name = int(first[row]), int(second[row]), (TURNED, INVERTED, BOTH)[form[row]]
            structure = _structure(thumbnails[one], thumbnails[other], name)
            if correlation[row] >= SAME_IMAGE or structure >= SAME_STRUCTURE:
                found.append((one, other, name, max(float(correlation[row]), structure)))
    return Copies(
        first=np.array([row[0] for row in found], np.int64),
        second=np.array([row[1] for row in found], np.int64),
        form=[row[2] for row in found],
        similarity=np.array([row[3] for row in found], np.float32),
    )


def _structure(one: NDArray[np.uint8], other: NDArray[np.uint8], form: str) -> float:
    changed = one.T if form != INVERTED else one
    changed = 255 - changed if form != TURNED else changed
    parts = whitened_descriptors(np.stack([changed, other]))
    return float((np.einsum("kp,kp->k", parts[0], parts[1]) @ SIGNS.T).max())
