"""How slices lie in the patient: their plane, how they are turned for display, and how their pixels become square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

PLANES = ("sagittal", "coronal", "axial")  # across the axes that run to the patient's right, front and top
LARGEST_RATIO = 20  # of the sides of a pixel; a file that states more is wrong
TO_RAS = np.array([-1.0, -1.0, 1.0])  # DICOM's axes run to the left, the back and the top
ALIKE = 0.01  # of the components of two directions


@dataclass(frozen=True)
class View:
    """How slices of one orientation are shown: as radiologists look at them, as `nifti.Volume.draw` shows a volume.

    Attributes:
        plane: one of `PLANES`, the nearest.
        transposed: whether rows and columns change places, before the mirroring.
        mirrored: whether columns, and whether rows, are mirrored.
        step: unit vector from slice to slice, in DICOM's axes: to the patient's right, front or top.
    """

    plane: str
    transposed: bool
    mirrored: tuple[bool, bool]
    step: tuple[float, ...]

    def turn(self, values: np.ndarray) -> np.ndarray:
        """values: (H, W) or (H, W, C)."""
        if self.transposed:
            values = values.swapaxes(0, 1)
        columns, rows = self.mirrored
        return values[:: -1 if rows else 1, :: -1 if columns else 1]

    def along(self, position: Sequence[float]) -> float:
        """Where a slice lies (mm) in the order of the slices."""
        return float(np.dot(self.step, position))


@lru_cache(4096)
def view_of(orientation: tuple[float, ...]) -> View | None:
    """orientation: along a row, and along a column (ImageOrientationPatient); None if these are no two directions."""
    import nibabel  # late: images that are no scans do not wait for it

    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    if not 0.5 < float(np.linalg.norm(normal)) < 2:
        return None
    normal /= np.linalg.norm(normal)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([TO_RAS * row, TO_RAS * column, TO_RAS * normal])
    found = nibabel.io_orientation(affine)
    if np.isnan(found).any():
        return None
    (across, right), (down, front), (through, step) = found
    transposed = bool(across > down)
    mirrored = (front > 0, right > 0) if transposed else (right > 0, front > 0)
    return View(
        PLANES[int(through)],
        transposed,
        (bool(mirrored[0]), bool(mirrored[1])),
        tuple(float(one) for one in normal * step),
    )


def square_size(columns: int, rows: int, between_columns: float, between_rows: float) -> tuple[int, int]:
    """Columns and rows of a slice whose pixels are made square by stretching the coarser side."""
    fine = min(between_columns, between_rows)
    return max(1, round(columns * between_columns / fine)), max(1, round(rows * between_rows / fine))


def same_direction(one: Sequence[float] | None, other: Sequence[float] | None) -> bool:
    return one is not None and other is not None and all(abs(a - b) < ALIKE for a, b in zip(one, other, strict=True))


def is_plausible(spacing: Sequence[float] | None) -> bool:
    """Whether the sides of a pixel can be true."""
    return (
        spacing is not None
        and all(math.isfinite(side) and side > 0 for side in spacing)
        and max(spacing) <= LARGEST_RATIO * min(spacing)
    )
