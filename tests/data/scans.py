"""DICOM series and NIfTI volumes of heads that look like nobody's, made on the fly, for the tests of their layouts."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

SIDE = 40


def head(seed: int, slices: int = 3) -> np.ndarray:
    """(slices, SIDE, SIDE) int16, from the neck to the top: an ellipsoid with a texture of its own."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(-1, 1, SIDE)
    y, x = np.meshgrid(grid, grid, indexing="ij")
    texture = rng.integers(200, 900, (slices, SIDE // 4, SIDE // 4)).repeat(4, 1).repeat(4, 2)
    height = np.linspace(-0.6, 0.8, slices)[:, None, None]
    inside = x**2 / 0.6 + y**2 / 0.8 + height**2 < 1
    return (texture * inside + rng.integers(0, 20, texture.shape)).astype(np.int16)


def write_series(
    folder: Path,
    values: np.ndarray,
    *,
    patient: str,
    series: str = "",
    name: str = "IM{:03d}",
    change: Callable[[Dataset, int], None] | None = None,
    **tags: object,
) -> list[Path]:
    """A file for each slice, axial, 5 mm apart, the top one first. change: does something to each file's dataset."""
    folder.mkdir(parents=True, exist_ok=True)
    series = series or generate_uid()
    files = []
    for place, k in enumerate(reversed(range(len(values)))):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, generate_uid()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PatientID, dataset.SeriesInstanceUID, dataset.InstanceNumber = patient, series, place + 1
        dataset.Modality, dataset.StudyInstanceUID = "MR", generate_uid()
        dataset.Rows, dataset.Columns = values.shape[1:]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.PixelSpacing, dataset.ImageOrientationPatient = [4, 4], [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [-80, -80, 5 * k]
        dataset.PixelData = values[k].tobytes()
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        if change is not None:
            change(dataset, k)
        files.append(folder / name.format(place))
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


def affine(spacing: tuple[float, float, float] = (4, 4, 5)) -> np.ndarray:
    return np.diag([*spacing, 1.0])


def write_volume(file: Path, values: np.ndarray, spacing: tuple[float, float, float] = (4, 4, 5)) -> Path:
    """values: (Z, Y, X) as of `head`, in display order: stored with axes to the right, the front and the top."""
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values[:, ::-1, ::-1].T.copy(), affine(spacing)), file)
    return file


def lesion(slices: int, places: dict[int, int]) -> np.ndarray:
    """A mask of (slices, SIDE, SIDE) uint8, in display order. places: slice -> side of its square of lesion."""
    mask = np.zeros((slices, SIDE, SIDE), np.uint8)
    for k, side in places.items():
        mask[k, 10 : 10 + side, 22 : 22 + side] = 1
    return mask


def dicom_source(root: Path, patients: int = 4, slices: int = 3) -> Path:
    """Two classes of so many patients each, one series each, from two hospitals."""
    for number in range(2 * patients):
        label = ("glioma", "notumor")[number % 2]
        folder = root / label / f"person{number}" / "t1"
        hospital = ("North", "South")[number // 2 % 2 if number else 1]
        write_series(folder, head(number, slices), patient=f"MRN-{number}", InstitutionName=hospital)
    return root


def nifti_source(root: Path, patients: int = 4, slices: int = 8) -> Path:
    """glioma/ID/T1.nii.gz with T1_Mask.nii.gz (lesions in slices 3, 4 and a little one in 5), healthy/ID/T1.nii.gz."""
    for number in range(patients):
        folder = root / "glioma" / f"g{number}"
        write_volume(folder / "T1.nii.gz", head(number, slices), (4, 4, 16))
        write_volume(folder / "T1_Mask.nii.gz", lesion(slices, {3: 4, 4: 6, 5: 1}), (4, 4, 16))
        write_volume(root / "healthy" / f"h{number}" / "T1.nii.gz", head(100 + number, slices), (4, 4, 16))
    return root
