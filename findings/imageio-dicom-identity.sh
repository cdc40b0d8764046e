#!/usr/bin/env bash
# imageio 2.38.1 against pydicom 3.0.2 and SimpleITK 2.5.7 (numpy 2.4.6): an MR slice with Rescale Slope 1 and Rescale
# Intercept 0 (DICOM PS3.3 C.11.1). Both together are the identity, so that a reader expects the stored values, with or
# without the two elements. imageio.v3.imread("slice.dcm") takes the smallest type that holds the values, but a signed one
# sized for unsigned numbers: int8 up to 255, int16 up to 65535. Values of 128..255 and of 32768..65535 come negative.
# volread gives the whole volume the type of its first slice: where that one is dim, the other slices come modulo 256.
# Nothing warns; the plugin's DeprecationWarning, hidden by default, says only that it will go one day. imageio's issue 348
# (2018, open) asks about the types in the code; the documentation does not mention them.
# Output seen on 2026-11-30: 0, 100, 200, 250 without the two elements, 0, 100, -56, -6 with them; a brain slice of 3000
# after a dim first slice: -72.
# Lost for MRI: the brightest tissue turns darker than air, only in the files that carry the two elements, and a
# dim top or bottom slice ruins the series.
# Do instead: imread(path, plugin="pydicom") or pydicom with apply_modality_lut; SimpleITK for a series.
# Exit: 0 behaves as described, 1 changed, 2 packages could not be installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  imageio==2.38.1 pydicom==3.0.2 SimpleITK==2.5.7 numpy==2.4.6 || exit 2
venv/bin/python - <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path

import imageio.v2 as iio2
import imageio.v3 as iio
import numpy as np
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

study, series, frame = generate_uid(), generate_uid(), generate_uid()


def write(path, values, rescale, number=1):
    """An axial MR slice of 4 pixels, 3 mm above the one before; with Slope 1 and Intercept 0 if rescale is true."""
    ds = Dataset()
    for name in (
        *("AccessionNumber", "PatientBirthDate", "PatientID", "PatientName", "PatientSex", "PositionReferenceIndicator"),
        *("EchoTime", "EchoTrainLength", "ReferringPhysicianName", "RepetitionTime", "SeriesNumber", "StudyDate"),
        *("ScanOptions", "StudyID", "StudyTime"),
    ):
        setattr(ds, name, None)
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
    ds.Modality, ds.ImageType, ds.InstanceNumber = "MR", ["ORIGINAL", "PRIMARY", "OTHER"], number
    ds.ScanningSequence, ds.SequenceVariant, ds.MRAcquisitionType = "SE", "NONE", "2D"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 3 * number], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [1, 1], 3
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 2, 2, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    if rescale:
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, 0, "US"
    ds.PixelData = np.array(values).astype("<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)


def whole(array):
    return [int(v) for v in np.ravel(array)]


for name in ("imageio", "pydicom", "SimpleITK", "numpy"):
    print(name, version(name))
dim, brain, high = [0, 100, 200, 250], [0, 1000, 2000, 3000], [0, 100, 40000, 65535]
found, others = {}, []
for i, values in enumerate((dim, brain, high)):
    for rescale in (False, True):
        path = Path(f"{i}{rescale}", "slice.dcm")
        path.parent.mkdir()
        write(path, values, rescale)
        ds = dcmread(path)
        got = iio.imread(path, progress=False)
        found[i, rescale] = whole(got)
        others.append(whole(apply_modality_lut(ds.pixel_array, ds)) == values)
        others.append(whole(sitk.GetArrayFromImage(sitk.ReadImage(path))) == values)
        print("slope 1, intercept 0:" if rescale else "no rescale elements: ", "expected", values)
        print(f"  pydicom and SimpleITK: {'as expected' if all(others[-2:]) else 'DIFFERENT'}")
        print(f"  imageio: {whole(got)}, {got.dtype}")
Path("volume").mkdir()
for number, values in enumerate((dim, brain, brain), 1):
    write(f"volume/{number}.dcm", values, True, number)
volume = iio2.volread("volume", "DICOM", progress=False)
reader = sitk.ImageSeriesReader()
reader.SetFileNames(reader.GetGDCMSeriesFileNames("volume"))
right = sitk.GetArrayFromImage(reader.Execute())
print("volume whose first slice is dim, its second slice: SimpleITK", whole(right[1]))
print(f"  imageio: {whole(volume[1])}, {volume.dtype}")
plugin = whole(iio.imread("0True/slice.dcm", plugin="pydicom"))
print("imageio with plugin='pydicom', the dim slice:", plugin)
same = (
    all(others)
    and [found[i, False] for i in range(3)] == [dim, brain, high]
    and [found[i, True] for i in range(3)] == [[0, 100, -56, -6], brain, [0, 100, -25536, -1]]
    and whole(right) == dim + brain + brain
    and whole(volume[1]) == whole(volume[2]) == [0, -24, -48, -72]
    and plugin == dim
)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
