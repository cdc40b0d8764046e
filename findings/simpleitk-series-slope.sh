#!/usr/bin/env bash
# SimpleITK 2.5.7 (pydicom 3.0.2, numpy 2.4.6): one DICOM series, one Rescale Slope per slice. DICOM lets every slice
# have its own Rescale Slope: PS3.3 C.8.9.4 demands the element in each PET image (here the PET part of a PET/MR exam),
# and Philips MR scanners write it too. A reader expects stored value * slope in each slice. SimpleITK takes the pixel
# type of the whole volume from the first slice's slope alone. A first slice with slope 1 makes the volume uint16:
# fractions of later slices are cut off, and values over 65,535 wrap round. No error, no warning; each file read alone
# comes out right, and so does the series if a slice with a fractional slope stands first. SimpleITK's issue 1636 names
# the cut fractions; its documentation of ReadImage and of the series reader says neither.
# Output seen on 2026-11-28: slopes 1, 0.25, 40 -> uint16; one voxel of each expected 2000, 0.75, 80000; got 2000, 0,
# 14464.
# Lost for MRI: a quantitative slice turns all zero, a bright tumour darker than its surroundings, and which slice
# suffers depends on the slice that happens to come first.
# Do instead: name the type, sitk.ReadImage(files, sitk.sitkFloat64).
# Exit: 0 behaves as described, 1 changed, 2 packages could not be installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.4.6 || exit 2
venv/bin/python - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

EMPTY = """AccessionNumber AcquisitionDate AcquisitionTime ActualFrameDuration CollimatorType CorrectedImage Laterality
Manufacturer PatientBirthDate PatientID PatientName PatientSex PositionReferenceIndicator ReferringPhysicianName
StudyDate StudyID StudyTime""".split()
EMPTY_SEQUENCES = """PatientGantryRelationshipCodeSequence PatientOrientationCodeSequence
RadiopharmaceuticalInformationSequence""".split()
study, frame = generate_uid(), generate_uid()


def pet_slice(series, number, stored, slope):
    ds = Dataset()
    for name in EMPTY:
        setattr(ds, name, "")
    for name in EMPTY_SEQUENCES:
        setattr(ds, name, [])
    ds.SOPClassUID, ds.SOPInstanceUID = PositronEmissionTomographyImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.ImageIndex, ds.NumberOfSlices = "PT", 1, number, number, 3
    ds.SeriesDate, ds.SeriesTime, ds.FrameReferenceTime = "20261128", "120000", "0"
    ds.Units, ds.CountsSource, ds.SeriesType, ds.DecayCorrection = "BQML", "EMISSION", ["WHOLE BODY", "IMAGE"], "NONE"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PixelSpacing, ds.SliceThickness = [1, 1], 2
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 2 * number], [1, 0, 0, 0, 1, 0]
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.RescaleSlope, ds.RescaleIntercept = slope, 0
    ds.PixelData = stored.astype("<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = f"{ds.SOPInstanceUID}.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


def pet_series(slopes, peaks):
    """One series: slice by slice a Rescale Slope, and the stored value of its brightest voxel (the last one)."""
    series, ramp = generate_uid(), np.arange(16).reshape(4, 4)
    rows = zip(slopes, peaks, strict=True)
    return [pet_slice(series, n, ramp * peak // 15, slope) for n, (slope, peak) in enumerate(rows, start=1)]


def expected(paths):
    return np.stack([apply_modality_lut(d.pixel_array.astype(float), d) for d in map(dcmread, paths)])


def last(volume):
    return [float(v) for v in volume[:, -1, -1]]


def read(paths, *kind):
    return sitk.GetArrayFromImage(sitk.ReadImage(paths, *kind))


for name in ("SimpleITK", "pydicom", "numpy"):
    print(name, version(name))
files, turned = pet_series((1, 0.25, 40), (2000, 3, 2000)), pet_series((0.25, 1, 40), (3, 2000, 2000))
want, got = expected(files), read(files)
print("expected, last voxel of each slice:", last(want))
print("SimpleITK, whole series:           ", last(got), got.dtype)
alone = np.concatenate([read([f]).astype(float) for f in files])
print("SimpleITK, file by file:           ", last(alone))
print("SimpleITK, fractional slope first: ", last(read(turned)), "expected", last(expected(turned)))
right = read(files, sitk.sitkFloat64)
print("SimpleITK with sitkFloat64:        ", last(right))
same = (
    got.dtype == np.uint16
    and np.array_equal(got, np.floor(want) % 65536)
    and not np.array_equal(got, want)
    and np.array_equal(alone, want)
    and np.array_equal(read(turned), expected(turned))
    and np.array_equal(right, want)
)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
