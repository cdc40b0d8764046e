"""Groups of the slices of scans: one for each patient, and one for patients who have a scan in common.

Slices of one scan look like each other, and nearly empty slices look alike in all patients. So neither single slices
nor chains of them join anything here (as they do in `brainmri.data.duplicates.grouping`): two patients become one group
where at least half of the slices of a scan of the one are also slices of a scan of the other, as where one person was
exported under two ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from brainmri.data.duplicates.grouping import LOOKS_ALIKE, SAME_IMAGE, SAME_STRUCTURE
from brainmri.data.duplicates.index import candidate_blocks
from brainmri.data.duplicates.similarity import best_correlation, symmetry_components, whitened_descriptors

SHARED = 0.5  # of the slices of a scan
MOST = 64  # slices of a scan that are compared, spread over it: time grows with the square of their number


def group_patients(thumbnails: NDArray[np.uint8], patients: Sequence[str], scans: Sequence[str]) -> list[str]:
    """The group of each slice: its patient, or the first (by name) of the patients who have a scan in common with it.

    Args:
        thumbnails: uint8 (N, 64, 64). patients, scans: N names; a scan is of one patient.
    """
    names, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    scan_names, scan = np.unique(np.asarray(scans, dtype=str), return_inverse=True)
    patient_of = np.empty(len(scan_names), np.int64)
    patient_of[scan] = patient
    compared = np.concatenate([_spread(np.flatnonzero(scan == one)) for one in range(len(scan_names))])
    parts, structure = symmetry_components(thumbnails[compared]), whitened_descriptors(thumbnails[compared])
    seen, of = scan[compared], patient[compared]
    count = len(scan_names)
    alike = np.empty(0, np.int64)  # slice times count, plus a scan of another patient that holds the same image
    for first, second in candidate_blocks(parts, LOOKS_ALIKE):
        others = of[first] != of[second]
        first, second = first[others], second[others]
        same = best_correlation(parts, first, second) >= SAME_IMAGE
        same |= best_correlation(structure, first, second) >= SAME_STRUCTURE
        first, second = first[same], second[same]
        alike = np.union1d(alike, np.concatenate([first * count + seen[second], second * count + seen[first]]))
    slices, other = np.divmod(alike, count)
    both, shared = np.unique(seen[slices] * count + other, return_counts=True)
    one, another = np.divmod(both, count)
    joined = shared >= SHARED * np.bincount(seen, minlength=count)[one]
    links = coo_array(
        (np.ones(int(joined.sum()), bool), (patient_of[one[joined]], patient_of[another[joined]])),
        shape=(len(names), len(names)),
    )
    component = connected_components(links, directed=False)[1]
    first_of = {int(number): str(names[np.flatnonzero(component == number)[0]]) for number in np.unique(component)}
    return [first_of[int(component[one])] for one in patient]


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most `MOST` of these rows, from the first to the last."""
    return rows if len(rows) <= MOST else rows[np.linspace(0, len(rows) - 1, MOST).round().astype(np.int64)]
