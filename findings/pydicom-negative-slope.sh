#!/usr/bin/env bash
# pydicom 3.0.2 (numpy 2.4.6) against highdicom 0.28.2: windowing of a picture with a negative Rescale Slope. Secondary
# Capture (PS3.3 A.8) may carry Rescale Slope and Intercept (C.11.1), and nothing there forbids a negative slope; -1 and
# 4095 invert a 12-bit picture. The window works on rescaled values, and by C.11.2.1.2.1 the smallest of them gets the
# lowest output and the largest the highest. A reader expects bright to stay bright, as highdicom gives it. pydicom's
# apply_windowing takes its output range from the ends of the stored range, each multiplied by the slope, so that its
# lowest output is larger than its highest: it returns the picture inverted, for LINEAR, LINEAR_EXACT and SIGMOID. No
# warning; its documentation does not mention the sign. apply_voi_lut takes the same path.
# Output seen on 2026-11-28: rescaled values 4095..255; highdicom 0.9995..0.0622; pydicom 0.0..3840.0, correlation -1.
# Lost for MRI: enhancement turns dark and fluid bright (or the reverse) in the pictures of one source only, and a
# classifier learns that source or fails on it.
# Do instead: window with highdicom, or clip and scale the rescaled values yourself.
# Exit: 0 behaves as described, 1 changed, 2 packages could not be installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pydicom==3.0.2 highdicom==0.28.2 numpy==2.4.6 || exit 2
venv/bin/python - <<'PY'
import sys
from importlib.metadata import version

import highdicom
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid


def write(path, slope, intercept):
    """A 12-bit picture whose values rise from 0 to 3840, with a window over the whole range."""
    ds = Dataset()
    for name in (
        *("AccessionNumber", "InstanceNumber", "Laterality", "PatientBirthDate", "PatientID", "PatientName", "PatientSex"),
        *("PatientOrientation", "ReferringPhysicianName", "SeriesNumber", "StudyDate", "StudyID", "StudyTime"),
    ):
        setattr(ds, name, None)
    ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.Modality, ds.ConversionType = "MR", "WSD"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 4, 4, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = slope, intercept, "US"
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    ds.PixelData = (np.arange(16) * 256).astype("<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)


def agreement(a, b):
    return round(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]), 6)


def ends(values):
    return [round(float(values[0, 0]), 4), round(float(values[-1, -1]), 4)]


for name in ("pydicom", "highdicom", "numpy"):
    print(name, version(name))
write("plus.dcm", 1, 0)
write("minus.dcm", -1, 4095)
found = {}
for path in ("plus.dcm", "minus.dcm"):
    ds = dcmread(path)
    rescaled = apply_modality_lut(ds.pixel_array, ds)
    ours = highdicom.imread(path).get_frame(1, apply_modality_transform=True, apply_voi_transform=True)
    print(f"{path}: first and last pixel, rescaled: {ends(rescaled)}")
    print("  highdicom (as expected):", ends(ours), "correlation with the rescaled values", agreement(rescaled, ours))
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        ds.VOILUTFunction = function
        theirs = apply_windowing(rescaled, ds)
        found[path, function] = agreement(rescaled, theirs)
        print(f"  pydicom, {function}:", ends(theirs), "correlation", found[path, function])
        found[path, "voi"] = np.array_equal(theirs, apply_voi_lut(rescaled, ds))
    found[path, "highdicom"] = agreement(rescaled, ours)
same = (
    found["plus.dcm", "highdicom"] == found["minus.dcm", "highdicom"] == 1
    and all(found["plus.dcm", f] > 0.98 for f in ("LINEAR", "LINEAR_EXACT", "SIGMOID"))
    and all(found["minus.dcm", f] < -0.98 for f in ("LINEAR", "LINEAR_EXACT", "SIGMOID"))
    and found["plus.dcm", "voi"]
    and found["minus.dcm", "voi"]
)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
