"""One volume, one picture: the same pixels whether it comes as NIfTI, as a DICOM series or as one DICOM file."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from brainmri.io.inputs import read_scan

from .good import dataset, written

SIZES = (1.0, 1.5, 4.0)  # mm, to the right, front and top


def head() -> np.ndarray:
    """(X, Y, Z) int16, axes to the right, front and top: an ellipsoid of 300..1000 with a bright spot, in noise."""
    right, front, top = np.mgrid[-1:1:30j, -1:1:34j, -1:1:12j]
    random = np.random.default_rng(0)
    values = random.integers(0, 20, right.shape)
    inside = right**2 + front**2 + top**2 < 0.8
    values[inside] = 400 + 300 * (right + front)[inside] / 2 + random.integers(0, 200, inside.sum())
    values[20:23, 24:27, 6:8] = 1500
    values[3, 3, 3] = 30_000
    return values.astype(np.int16)


# Of each plane: which axis the slices follow, and which the columns and rows, in DICOM's axes (left, back, top).
AXES = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}
TURNS = [(False, 1, 1, 1), (True, 1, -1, 1), (False, -1, 1, -1), (True, -1, -1, -1)]


def frames_of(plane: str, turn: tuple[bool, int, int, int]) -> list[tuple[np.ndarray, list[float], list[float]]]:
    """Of each slice: pixels, orientation, position and spacing. turn: transposed; signs of columns, rows and slices."""
    swap, across, down, order = turn
    values = head()[::-1, ::-1]  # axes to the left, the back and the top
    through, column, row = AXES[plane]
    if swap:
        column, row = row, column
    # The first voxel stands at 0.
    found = []
    stack = np.moveaxis(values, (through, row, column), (0, 1, 2))[:, ::down, ::across]
    directions = np.zeros((2, 3))
    directions[0, column], directions[1, row] = across, down
    for number, pixels in enumerate(stack):
        position = np.zeros(3)
        position[through] = number * SIZES[through]
        position[column] = 0 if across > 0 else (values.shape[column] - 1) * SIZES[column]
        position[row] = 0 if down > 0 else (values.shape[row] - 1) * SIZES[row]
        spacing = [SIZES[row], SIZES[column]]
        found.append((np.ascontiguousarray(pixels), [*directions.ravel().tolist()], [*position.tolist(), *spacing]))
    return found[::order]


def write_series(folder: Path, plane: str, turn: tuple[bool, int, int, int], slope: float) -> Path:
    folder.mkdir()
    series = generate_uid()
    for number, (pixels, orientation, place) in enumerate(frames_of(plane, turn)):
        one = dataset(pixels, SeriesInstanceUID=series, InstanceNumber=number + 1, RescaleSlope=slope)
        one.RescaleIntercept = 0
        one.ImageOrientationPatient, one.ImagePositionPatient, one.PixelSpacing = orientation, place[:3], place[3:]
        (folder / f"{number}.dcm").write_bytes(written(one))
    return folder


def group(**values: object) -> Sequence:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return Sequence([item])


def write_enhanced(path: Path, plane: str, turn: tuple[bool, int, int, int], slope: float) -> Path:
    frames = frames_of(plane, turn)
    file = dataset(np.stack([pixels for pixels, _, _ in frames]), frames=len(frames))
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = EnhancedMRImageStorage
    shared, own = Dataset(), []
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=frames[0][1])
    shared.PixelMeasuresSequence = group(PixelSpacing=frames[0][2][3:])
    for _, _, place in frames:
        item = Dataset()
        item.PlanePositionSequence = group(ImagePositionPatient=place[:3])
        item.PixelValueTransformationSequence = group(RescaleSlope=slope, RescaleIntercept=0)
        own.append(item)
    file.SharedFunctionalGroupsSequence = Sequence([shared])
    file.PerFrameFunctionalGroupsSequence = Sequence(own)
    path.write_bytes(written(file))
    return path


def write_nifti(path: Path, codes: str, slope: float) -> Path:
    image = nibabel.Nifti1Image(head(), np.diag([*SIZES, 1]))
    image.header.set_slope_inter(slope, 0)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(np.eye(4)), nibabel.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(turn)
    turned.header.set_slope_inter(slope, 0)
    data = bytearray(turned.to_bytes())
    data[112:120] = np.array([slope, 0], "<f4").tobytes()
    path.write_bytes(data)
    return path


@pytest.mark.integration
@pytest.mark.parametrize("plane", AXES)
@pytest.mark.parametrize("turn", TURNS)
def test_the_same_slices_in_the_same_order(tmp_path, plane, turn):
    slope = 0.37
    volume = read_scan(write_nifti(tmp_path / "head.nii", "RAS", slope))
    series = read_scan(write_series(tmp_path / "series", plane, turn, slope))
    enhanced = read_scan(write_enhanced(tmp_path / "enhanced.dcm", plane, turn, slope))
    assert series.planes == enhanced.planes == (plane,)
    assert len(series) == len(enhanced) == volume.count(plane)
    for index in range(len(series)):
        expected = volume.slice(plane, index)
        assert np.array_equal(series.slice(plane, index), expected)
        assert np.array_equal(enhanced.slice(plane, index), expected)
    assert expected.dtype == np.uint8 and max(volume.slice(plane, k).max() for k in range(len(series))) == 255
    across, down = (axis for axis in range(3) if axis != AXES[plane][0])
    wanted = (SIZES[across], SIZES[down], SIZES[AXES[plane][0]])
    assert series.spacing == pytest.approx(wanted) and enhanced.spacing == pytest.approx(wanted)
    assert series.notes == enhanced.notes == volume.notes == ()


@pytest.mark.parametrize("codes", ["LPS", "ASR", "SPL"])
def test_a_volume_stored_along_other_axes(tmp_path, codes):
    first, other = (read_scan(write_nifti(tmp_path / f"{name}.nii", name, 1.0)) for name in ("RAS", codes))
    for plane in first.planes:
        for index in (0, first.count(plane) // 2):
            assert np.array_equal(first.slice(plane, index), other.slice(plane, index))
