"""DICOM files and volumes of blobs, made for these tests."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid


def volume(slices: int = 6, size: int = 40) -> np.ndarray:
    """(slices, size, size) uint16; the mean rises from slice to slice, and the first one is blank."""
    rng = np.random.default_rng(0)
    grid = np.linspace(-1, 1, size)
    disc = np.hypot(*np.meshgrid(grid, grid)) < 0.8
    return np.stack([disc * rng.integers(100 * k, 100 * k + 50, (size, size)) * (k > 0) for k in range(slices)]).astype(
        np.uint16
    )


def write_series(
    folder: Path,
    values: np.ndarray,
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    where: bool = True,
    uid: str = "",
    **tags: object,
) -> list[Path]:
    """One file for each slice, along the patient's left-right axis (sagittal), in a shuffled order of names.

    where: whether orientation and position are written; without, the number alone tells the order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid()
    order = np.random.default_rng(1).permutation(len(values))
    files = []
    for name, k in enumerate(order):
        dataset = Dataset()
        dataset.PatientName, dataset.PatientID = "Doe^Jane", "SECRET"
        dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", generate_uid()
        dataset.SeriesInstanceUID = uid
        dataset.Rows, dataset.Columns = values.shape[1:]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        dataset.WindowCenter, dataset.WindowWidth = 500, 1000
        dataset.PixelSpacing = list(spacing)
        if where:
            dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
            dataset.ImagePositionPatient = [-4.0 * float(k), 0, 0]  # the normal of this orientation points to the right
        else:
            dataset.InstanceNumber = int(k) + 1
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        dataset.PixelData = values[k].tobytes()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        files.append(folder / f"IM{name}")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files
