"""NIfTI volumes, drawn as a radiologist looks at them: the patient's left on the right-hand side."""

from __future__ import annotations

import gzip
import io
import math
from dataclasses import dataclass, replace
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from brainmri.io.decode import finite_range
from brainmri.io.intensity import grey
from brainmri.io.limits import (
    MAY_BE_UPLOADED,
    MIN_SIDE,
    Limits,
    RationedBytes,
    UploadError,
    is_too_long,
    megabytes,
    reading,
)
from brainmri.io.sanitize import TOO_LONG, too_large
from brainmri.io.sniff import NIFTI_2_SIZES, NIFTI_SIZES

AXES = {"axial": 2, "coronal": 1, "sagittal": 0}  # of a volume whose axes run to the right, front and top
BRIGHTEST, DARKEST = 99.9, 0.1  # percentiles of the volume that become white and black
SAMPLE = 2_000_000  # voxels that the percentiles are taken from
LARGEST_OFFSET = 16 * 2**20  # bytes between header and values, where extensions stand
LARGEST_RATIO = 20  # of the voxel's sides: 10 mm slices of 0.5 mm pixels
STEP = 2**20
BROKEN = "This NIfTI file is broken or cut off. Save it again as .nii.gz."
NO_PLACE = (
    "This NIfTI file does not say how it lies in space (its affine or its voxel sizes make no sense). "
    "Save it again with a program that writes them."
)


@dataclass(frozen=True)
class Volume:
    """voxels: (X, Y, Z), axes to the right, front and top; as stored. sizes: mm. low, high: scaled values."""

    voxels: np.ndarray
    sizes: tuple[float, float, float]
    slope: float
    intercept: float
    low: float
    high: float
    planes: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        return {plane: self.voxels.shape[AXES[plane]] for plane in self.planes}

    def draw(self, plane: str, index: int) -> Image.Image:
        """With the patient's right on the left (sagittal: the front on the left), the front or top upwards.

        Pixels are square: the coarser side is stretched.
        """
        axis = AXES[plane]
        values = np.moveaxis(self.voxels, axis, 0)[index, ::-1, ::-1].T.astype(np.float64)  # `take` copies the volume
        with np.errstate(all="ignore"):
            image = grey(values * self.slope + self.intercept, self.low, self.high)
        sides = self.square(plane)
        return image if sides == image.size else image.resize(sides, Image.Resampling.BILINEAR)

    def square(self, plane: str) -> tuple[int, int]:
        """Columns and rows of the image of a slice, its pixels as large as the voxel's finer side."""
        inside = [axis for axis in range(3) if axis != AXES[plane]]
        fine = min(self.sizes[axis] for axis in inside)
        columns, rows = (max(1, round(self.voxels.shape[axis] * self.sizes[axis] / fine)) for axis in inside)
        return columns, rows


def open_volume(data: bytes, limits: Limits) -> Volume:
    """A NIfTI file (1 or 2, packed by gzip or not); of several volumes, the first.

    Only the header is unpacked at first, and then no more than it declares.

    Raises:
        UploadError: if it is something else, broken, too large, blank, of colour or complex numbers.
    """
    packed = data.startswith(b"\x1f\x8b")
    with reading(BROKEN):
        file: Any = gzip.GzipFile(fileobj=RationedBytes(data)) if packed else io.BytesIO(data)
        header = _header(file)
        shape, kind = _shape(header), header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
        offset = int(header["vox_offset"])
        affine = header.get_best_affine()
    if kind.kind not in "iuf" or kind.itemsize > 8:
        raise UploadError("This NIfTI file holds colours or complex numbers. Use one that holds plain intensities.")
    count = math.prod(shape)
    size = count * kind.itemsize
    if size > limits.volume_bytes:
        raise UploadError(
            f"This volume is too large: more than {megabytes(limits.volume_bytes)} when unpacked. "
            "Save it with 16 bits, or crop or resample it."
        )
    if max(shape) > limits.slices:
        raise UploadError(f"This volume has more than {limits.slices:,} slices along one axis. Crop it.")
    if not header.sizeof_hdr <= offset <= LARGEST_OFFSET:
        raise UploadError(BROKEN)
    order, sizes = _orientation(affine)
    with reading(BROKEN):
        flat = _values(file, data, packed, offset - file.tell() if packed else offset, kind, count)
        voxels = nibabel.orientations.apply_orientation(flat.reshape(shape, order="F"), order)
        low, high = _levels(flat, slope or 1.0, intercept or 0.0)
    planes = tuple(plane for plane, axis in AXES.items() if min(np.delete(voxels.shape, axis)) >= MIN_SIDE)
    if not planes:
        raise UploadError(
            f"This volume is too small: slices of {MIN_SIDE} x {MIN_SIDE} voxels are needed. Use a larger one."
        )
    volume = Volume(voxels, sizes, slope or 1.0, intercept or 0.0, low, high, planes)
    if any(math.prod(volume.square(plane)) > limits.pixels for plane in planes):
        raise too_large(limits)
    drawn = tuple(plane for plane in planes if not is_too_long(*volume.square(plane)))
    if not drawn:
        raise UploadError(TOO_LONG)
    return replace(volume, planes=drawn)


def _header(file: Any) -> Any:
    start = file.read(4)
    if start in NIFTI_SIZES:
        start += file.read(344)
        if start[344:] == b"ni1\0":
            raise UploadError("This is one half of a NIfTI pair (.hdr and .img). Save both as a single .nii.gz file.")
        if start[344:] == b"n+1\0":
            return nibabel.Nifti1Header(start, check=False)
    elif start in NIFTI_2_SIZES:
        start += file.read(536)
        if start[4:8] == b"n+2\0":
            return nibabel.Nifti2Header(start, check=False)
    raise UploadError(f"This is neither a NIfTI file nor anything else that is known here. {MAY_BE_UPLOADED}")


def _shape(header: Any) -> tuple[int, int, int]:
    """Of the first volume."""
    shape = tuple(int(side) for side in header.get_data_shape())
    if not 2 <= len(shape) <= 7 or min(shape) < 1:
        raise UploadError(BROKEN)
    columns, rows, slices, *_ = (*shape, 1)
    return columns, rows, slices


def _orientation(affine: np.ndarray) -> tuple[np.ndarray, tuple[float, float, float]]:
    """How to turn the axes to the right, front and top, and the voxel's sides (mm) after that."""
    with reading(NO_PLACE):
        sizes = nibabel.affines.voxel_sizes(affine)
        order = nibabel.io_orientation(affine)
        turned = [float(sizes[axis]) for axis in np.argsort(order[:, 0])]
        if np.isnan(order).any() or not 0 < max(turned) <= LARGEST_RATIO * min(turned) < math.inf:
            raise UploadError(NO_PLACE)
    return order, (turned[0], turned[1], turned[2])


def _values(file: Any, data: bytes, packed: bool, skip: int, kind: np.dtype, count: int) -> np.ndarray:
    """The first volume (count,); not copied where the file is not packed."""
    if not packed:
        return np.frombuffer(data, kind, count, skip)
    while skip > 0:
        skip -= len(_some(file, skip))
    values = np.empty(count, kind)
    room = values.view(np.uint8)
    filled = 0
    while filled < len(room):
        part = _some(file, len(room) - filled)
        room[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
        filled += len(part)
    return values


def _some(file: Any, most: int) -> bytes:
    found: bytes = file.read(min(most, STEP))
    if not found:
        raise EOFError
    return found


def _levels(flat: np.ndarray, slope: float, intercept: float) -> tuple[float, float]:
    """The scaled values that are drawn black and white: robust percentiles, or the extremes where they are equal."""
    sample = flat[:: 1 + len(flat) // SAMPLE].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    found = tuple(np.percentile(sample, (DARKEST, BRIGHTEST))) if sample.size else None
    if found is None or found[0] == found[1]:
        found = finite_range(flat)
    if found is None:
        raise UploadError("This volume holds no numbers at all (only NaN or infinite values). Use another one.")
    if found[0] == found[1]:
        raise UploadError("Every voxel of this volume is the same. Use one that shows something.")
    low, high = sorted(float(value) * slope + intercept for value in found)
    if not math.isfinite(255 / (high - low)) or not math.isfinite(high - low):
        raise UploadError("The values of this volume are too far apart, or too close, to be drawn. Rescale them.")
    return low, high
