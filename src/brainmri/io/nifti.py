"""NIfTI volumes, drawn as a radiologist looks at them: the patient's left on the right-hand side."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from brainmri.io.geometry import PLANES, square_size
from brainmri.io.intensity import background_edge, grey, head_range
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
from brainmri.io.sequence import of_description
from brainmri.io.sniff import ANALYZE, NIFTI_2_SIZES, NIFTI_SIZES, PAIR

AXES = {"axial": 2, "coronal": 1, "sagittal": 0}  # of a volume whose axes run to the right, front and top
LARGEST_OFFSET = 16 * 2**20  # bytes between header and values, where extensions stand
LARGEST_RATIO = 100  # of the voxel's sides: slices of 10 mm with pixels of 0.1 mm
UNLIKE = 1.1  # ratio of voxel sides from which one of them is called the coarsest
THIN, WHOLE_HEAD = 60.0, 150.0  # mm: a stack that is so thin in one direction and so wide in both others
# Of the largest cross-section of the head, in the smallest: through a slab it hardly changes, through a head it does.
TAPERED = 0.6
STEP = 2**20
BROKEN = "This NIfTI file is broken or cut off. Save it again as .nii.gz."
BLANK = "Every voxel of this volume is the same. Use one that shows something."
NO_NUMBERS = "This volume holds no numbers at all (only NaN or infinite values). Use another one."
TOO_FAR = "The values of this volume are too far apart, or too close, to be drawn. Rescale them."
# What is said about a volume that can be drawn.
NO_SIZES = "The file does not say how large its voxels are; sides that are missing are taken as the smallest other one."
NO_DIRECTIONS = "The file does not say which side is left; it is drawn as its voxels are stored."
FALSE_SIZES = (
    "The distance between slices that the file states cannot be true: so few slices at this distance do not span the "
    "head that they show. They are drawn in the proportions of a head."
)
SEVERAL_VOLUMES = "The file holds several volumes; the first of them is used."
LABELS = 12  # different whole numbers that a mask of labels holds, at most
LIKE_A_MASK = "The volume holds a few whole numbers only, as a mask of lesions does, and no scan."
SAMPLE = 2_000_000  # voxels that are looked at
BLANK_VOLUMES = (
    "The file holds several volumes, of which the first are blank; the first one that shows something is used."
)


@dataclass(frozen=True)
class Volume:
    """A volume whose axes run to the right, front and top.

    Attributes:
        voxels: (X, Y, Z), as stored. sizes: of a voxel, mm. known: whether each of them is.
        low, high: scaled values that are drawn black and white.
        planes: those that can be drawn, the acquired one first. notes: what there is to say about the file.
        sequence: one of `sequence.SEQUENCES`, by the description in the header; "" where that does not tell it.
    """

    voxels: np.ndarray
    sizes: tuple[float, float, float]
    slope: float
    intercept: float
    low: float
    high: float
    planes: tuple[str, ...]
    known: tuple[bool, bool, bool] = (True, True, True)
    notes: tuple[str, ...] = ()
    sequence: str = ""

    @property
    def spacing(self) -> tuple[float, float, float | None] | None:
        """Distances (mm) between columns, rows and slices of the first plane, as far as the file says the truth."""
        through = AXES[self.planes[0]]
        across, down = (axis for axis in range(3) if axis != through)
        if not (self.known[across] and self.known[down]):
            return None
        return self.sizes[across], self.sizes[down], self.sizes[through] if self.known[through] else None

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
        across, down = (axis for axis in range(3) if axis != AXES[plane])
        shape = self.voxels.shape
        return square_size(shape[across], shape[down], self.sizes[across], self.sizes[down])


def open_volume(data: bytes, limits: Limits) -> Volume:
    """A NIfTI file (1 or 2, packed by gzip or not); of several volumes, the first one that is not blank.

    Only the header is unpacked at first, and then no more than it declares.

    Raises:
        UploadError: if it is something else, broken, too large, blank, of colour or complex numbers.
    """
    packed = data.startswith(b"\x1f\x8b")
    with reading(BROKEN):
        file: Any = gzip.GzipFile(fileobj=RationedBytes(data)) if packed else io.BytesIO(data)
        header = _header(file)
        shape, kind = _shape(header), header.get_data_dtype()
        several = math.prod(int(side) for side in header.get_data_shape()[3:])
        slope, intercept = header.get_slope_inter()
        offset = int(header["vox_offset"])
        order, sizes, known, notes = _orientation(header, shape)
        sequence = of_description(bytes(header["descrip"]).decode("latin-1"))
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
    slope, intercept = slope or 1.0, intercept or 0.0
    skip = offset - file.tell() if packed else offset
    with reading(BROKEN):
        for number in range(min(several, max(1, limits.volume_bytes // size))):
            flat = _values(file, data, packed, skip if not packed or number == 0 else 0, kind, count)
            skip += size
            if found := _levels(flat, slope, intercept):
                break
        else:
            raise UploadError(BLANK)
        notes += (BLANK_VOLUMES,) * (number > 0) + (SEVERAL_VOLUMES,) * (several > 1 and number == 0)
        notes += (LIKE_A_MASK,) * _is_like_a_mask(flat)
        voxels = nibabel.orientations.apply_orientation(flat.reshape(shape, order="F"), order)
        true = _true_sizes(voxels, sizes)
        if true != sizes:
            through = next(axis for axis in range(3) if true[axis] != sizes[axis])
            sizes, notes = true, (*notes, FALSE_SIZES)
            known = (known[0] and through != 0, known[1] and through != 1, known[2] and through != 2)
    planes = [plane for plane, axis in AXES.items() if min(np.delete(voxels.shape, axis)) >= MIN_SIDE]
    if not planes:
        raise UploadError(
            f"This volume is too small: slices of {MIN_SIDE} x {MIN_SIDE} voxels are needed. Use a larger one."
        )
    # Where one size alone is missing, it is that between slices.
    first = PLANES[known.index(False)] if known.count(False) == 1 else acquired(sizes, voxels.shape)
    planes.sort(key=lambda plane: plane != first)
    volume = Volume(voxels, sizes, slope, intercept, *found, tuple(planes), known, notes, sequence)
    drawn = tuple(plane for plane in planes if not is_too_long(*volume.square(plane)))
    if not drawn:
        raise UploadError(TOO_LONG)
    if any(math.prod(volume.square(plane)) > limits.pixels for plane in drawn):
        raise too_large(limits)
    return replace(volume, planes=drawn)


def _is_like_a_mask(flat: np.ndarray) -> bool:
    """Whether the values are a few whole numbers only."""
    for step in (1 + len(flat) // 10_000, 1 + len(flat) // SAMPLE):  # a scan is told by the first
        values = np.unique(flat[::step])
        if len(values) > LABELS or not np.isfinite(values).all() or (values != np.round(values)).any():
            return False
    return True


HEADER = 348  # bytes of a header of Analyze and NIfTI 1; the number of axes stands at 40


def _header(file: Any) -> Any:
    start = file.read(4)
    if start in NIFTI_SIZES:
        start += file.read(344)
        if start[344:] == b"ni1\0":
            raise UploadError(f"This is one half of a NIfTI pair {PAIR}")
        if start[344:] == b"n+1\0":
            return nibabel.Nifti1Header(start, check=False)
        if len(start) == HEADER and int.from_bytes(start[40:42], "big" if start[0] == 0 else "little") in range(1, 8):
            raise UploadError(ANALYZE)
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


Orientation = tuple[np.ndarray, tuple[float, float, float], tuple[bool, bool, bool], tuple[str, ...]]


def _orientation(header: Any, shape: tuple[int, int, int]) -> Orientation:
    """How to turn the axes to the right, front and top; the voxel's sides (mm) after that, and whether each is known.

    By the sform, else by the qform, else by the sizes alone: the first of them that can be true. Sizes that are missing
    become those of the others.
    """
    header = header.copy()
    stated = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    good = np.isfinite(stated) & (stated > 0)
    header["pixdim"][1:4] = np.where(good, stated, stated[good].min() if good.any() else 1.0)
    # A slice has no thickness that matters.
    missing = np.array([not good[axis] and shape[axis] > 1 for axis in range(3)])
    codes = int(header["sform_code"]), int(header["qform_code"])
    if codes[1] < 0 or not np.isfinite([float(header[f"quatern_{part}"]) for part in "bcd"]).all():
        codes = codes[0], 0
    for affine, lacks, notes in (
        (header.get_sform() if codes[0] > 0 else None, np.zeros(3, bool), ()),
        (header.get_qform() if codes[1] > 0 else None, missing, ()),
        (header.get_base_affine(), missing, (NO_DIRECTIONS,)),
    ):
        if affine is not None and (found := _turn(affine)):
            order, sizes = found
            known = ~lacks[np.argsort(order[:, 0])]
            return (
                order,
                sizes,
                (bool(known[0]), bool(known[1]), bool(known[2])),
                (*notes, *((NO_SIZES,) if lacks.any() else ())),
            )
    order = nibabel.io_orientation(np.eye(4))
    return order, (1.0, 1.0, 1.0), (False, False, False), (NO_DIRECTIONS, NO_SIZES)


def _turn(affine: np.ndarray) -> tuple[np.ndarray, tuple[float, float, float]] | None:
    """How to turn the axes, and the voxel's sides after that; None if they cannot be true."""
    if not np.isfinite(affine).all():
        return None
    sizes = nibabel.affines.voxel_sizes(affine)
    if not 0 < max(sizes) <= LARGEST_RATIO * min(sizes) < math.inf:
        return None
    order = nibabel.io_orientation(affine)
    if np.isnan(order).any():
        return None
    turned = [float(sizes[axis]) for axis in np.argsort(order[:, 0])]
    return order, (turned[0], turned[1], turned[2])


def acquired(sizes: Sequence[float], shape: Sequence[int]) -> str:
    """The plane in which a volume was acquired, most likely.

    It lies across the voxels' longest side. Where they are (nearly) cubes, it is the one with less than half as many
    slices as the others have; else axial.

    Args:
        sizes: of a voxel, to the right, front and top. shape: voxels in these directions.
    """
    for values, most in ((sizes, UNLIKE), ([1 / count for count in shape], 2)):
        longest = int(np.argmax(values))
        if values[longest] >= most * sorted(values)[1]:
            return PLANES[longest]
    return "axial"


def _true_sizes(voxels: np.ndarray, sizes: tuple[float, float, float]) -> tuple[float, float, float]:
    """The sides of a voxel, one of them changed where it cannot be true.

    Few slices that are as thin as their pixels are small, and yet go from one end of a head towards the other: then the
    head is taken as long in that direction as it is in the others.
    """
    extents = [size * count for size, count in zip(sizes, voxels.shape, strict=True)]
    through = int(np.argmin(extents))
    others = [axis for axis in range(3) if axis != through]
    is_cube = max(sizes) < 1.5 * min(sizes)
    if not is_cube or extents[through] > THIN or min(extents[axis] for axis in others) < WHOLE_HEAD:
        return sizes
    if voxels.shape[through] < MIN_SIDE:
        return sizes
    steps = tuple(slice(None) if axis == through else slice(None, None, 2) for axis in range(3))
    values = np.nan_to_num(voxels[steps].astype(np.float32))
    head = values > background_edge(values)
    areas = head.sum(axis=tuple(others))
    if areas[[0, -1]].min() > TAPERED * areas.max():
        return sizes
    lengths = [2 * sizes[axis] * head.any(axis=tuple({0, 1, 2} - {axis})).sum() for axis in others]
    shown = max(1, int((areas > 0.02 * areas.max()).sum()))
    changed = list(sizes)
    changed[through] = float(np.mean(lengths)) / shown
    return changed[0], changed[1], changed[2]


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


def _levels(flat: np.ndarray, slope: float, intercept: float) -> tuple[float, float] | None:
    """The scaled values that are drawn black and white; None if all are the same."""
    found = head_range(flat if slope > 0 else -flat.astype(np.float64))
    if found is None:
        if flat.dtype.kind == "f" and not np.isfinite(flat).any():
            raise UploadError(NO_NUMBERS)
        return None
    low, high = (value * abs(slope) + intercept for value in found)
    if not math.isfinite(high - low) or not math.isfinite(255 / (high - low)):
        raise UploadError(TOO_FAR)
    return low, high
