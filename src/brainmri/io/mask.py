"""Lesion masks: NIfTI volumes of labels, laid slice by slice over the volume that they were drawn on."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass, field
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from brainmri.io.limits import LOCAL, Limits, RationedBytes, UploadError, megabytes, reading
from brainmri.io.nifti import AXES, BROKEN, LARGEST_OFFSET, _header, _orientation, _shape, _values

INSIDE = 0.5  # scaled values from here on are lesion: labels are 1 and up, and probabilities are cut in the middle
AWAY = 0.5  # voxels by which a mask may lie elsewhere than its volume, by their headers


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a NIfTI file lie. shape: of the first volume. affine: (4, 4), voxels to mm."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64] = field(repr=False)

    def fits(self, other: Grid) -> bool:
        """Whether two files have the same voxels, but for rounding."""
        if self.shape != other.shape:
            return False
        if np.array_equal(self.affine, other.affine, equal_nan=True):
            return True
        corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (*self.shape, 1)
        away = (corners @ (self.affine - other.affine).T)[:, :3]
        smallest = float(nibabel.affines.voxel_sizes(self.affine).min())
        return bool(np.abs(away).max() <= AWAY * smallest)


@dataclass(frozen=True)
class Mask:
    """A mask whose axes run to the right, the front and the top. voxels: bool (X, Y, Z). sizes: of a voxel, in mm."""

    voxels: NDArray[np.bool_] = field(repr=False)
    sizes: tuple[float, float, float]

    def slice(self, plane: str, index: int) -> NDArray[np.bool_]:
        """Which voxels of a slice are lesion: (H, W), turned as `Scan.slice` is; the voxels need not be square."""
        return np.moveaxis(self.voxels, AXES[plane], 0)[index, ::-1, ::-1].T

    def areas(self, plane: str) -> NDArray[np.float64]:
        """The area of the lesion in each slice of a plane, in mm²."""
        inside = [axis for axis in range(3) if axis != AXES[plane]]
        one = self.sizes[inside[0]] * self.sizes[inside[1]]
        return self.voxels.sum(axis=tuple(inside)) * one


def read_grid(data: bytes) -> Grid:
    """The grid of a NIfTI file, packed by gzip or not; of its voxels nothing is unpacked.

    Raises:
        UploadError: if it is something else, or broken.
    """
    with reading(BROKEN):
        header = _header(_opened(data))
        return Grid(_shape(header), np.asarray(header.get_best_affine(), np.float64))


def read_mask(data: bytes, limits: Limits = LOCAL) -> Mask:
    """The mask in a NIfTI file; of several volumes, the first. A mask without any lesion is one too.

    Raises:
        UploadError: if it is something else, broken or too large.
    """
    packed = data.startswith(b"\x1f\x8b")
    with reading(BROKEN):
        file = _opened(data)
        header = _header(file)
        shape, kind, offset = _shape(header), header.get_data_dtype(), int(header["vox_offset"])
        slope, intercept = header.get_slope_inter()
        order, sizes, *_ = _orientation(header, shape)
    count = int(np.prod(shape))
    if kind.kind not in "iuf" or kind.itemsize > 8:
        raise UploadError("This mask holds colours or complex numbers. Use one that holds labels.")
    if count * kind.itemsize > limits.volume_bytes:
        raise UploadError(f"This mask is larger than {megabytes(limits.volume_bytes)} when unpacked. Save it as uint8.")
    if not header.sizeof_hdr <= offset <= LARGEST_OFFSET:
        raise UploadError(BROKEN)
    with reading(BROKEN):
        flat = _values(file, data, packed, offset - file.tell() if packed else offset, kind, count)
        inside = _inside(flat, slope or 1.0, intercept or 0.0).reshape(shape, order="F")
        voxels = nibabel.orientations.apply_orientation(inside, order)
    return Mask(voxels, sizes)


def _opened(data: bytes) -> Any:
    return gzip.GzipFile(fileobj=RationedBytes(data)) if data.startswith(b"\x1f\x8b") else io.BytesIO(data)


def _inside(flat: np.ndarray, slope: float, intercept: float) -> NDArray[np.bool_]:
    """Part by part, so that no copy of the volume in float64 is made."""
    inside = np.empty(len(flat), np.bool_)
    part = 2**20
    with np.errstate(invalid="ignore"):
        for start in range(0, len(flat), part):
            inside[start : start + part] = flat[start : start + part].astype(np.float64) * slope + intercept >= INSIDE
    return inside
