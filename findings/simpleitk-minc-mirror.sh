#!/usr/bin/env bash
# SimpleITK 2.5.7 with nibabel 5.4.2 (h5py 3.16.0, numpy 2.4.6): a brain volume saved as MINC 2. SimpleITK counts x to
# the patient's left and y to the back; MINC and NIfTI count x to the right and y to the front (the MINC file that
# SimpleITK writes says so itself: "X increases from patient left to right"). A reader expects SimpleITK to change the
# signs on the way into MINC, as it does for NIfTI and NRRD. SimpleITK writes its own coordinates unchanged, and reads
# MINC back the same way, so that its round trip looks perfect while every other reader finds the head turned by 180
# degrees about the z axis. No warning. ITK's pull request 4864 names the fault; SimpleITK's documentation of its file
# formats does not.
# Output seen on 2026-11-28: lesion at (-30, 20, 10) mm in the NIfTI (left, front), at (30, -20, 10) mm in the MINC file
# (right, back), and back at (-30, 20, 10) mm when SimpleITK turns that MINC file into NIfTI again.
# Lost for MRI: the side of the tumour. Masks and atlases of the two files no longer meet, and a left/right label is
# wrong.
# Do instead: write NIfTI or NRRD; for a MINC file that SimpleITK reads, negate the first two rows of direction and
# origin, or read it with nibabel.
# Exit: 0 behaves as described, 1 changed, 2 packages could not be installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check SimpleITK==2.5.7 nibabel==5.4.2 h5py==3.16.0 numpy==2.4.6 || exit 2
venv/bin/python - <<'PY'
import sys
from importlib.metadata import version

import h5py
import nibabel as nib
import numpy as np
import SimpleITK as sitk

affine = np.diag([2.0, 2, 2, 1])
affine[:3, 3] = -60, -60, -40
data = np.zeros((61, 61, 41), np.int16)
data[15, 40, 25] = 1000
nib.save(nib.Nifti1Image(data, affine), "brain.nii.gz")
sitk.WriteImage(sitk.ReadImage("brain.nii.gz"), "brain.mnc")
sitk.WriteImage(sitk.ReadImage("brain.mnc"), "again.nii.gz")


def lesion(path):
    """Where the brightest voxel lies, in millimetres to the right, the front and the top, as nibabel reads the file."""
    image = nib.load(path)
    values = image.get_fdata()
    voxel = np.unravel_index(values.argmax(), values.shape)
    return [round(float(v), 3) for v in nib.affines.apply_affine(image.affine, voxel)]


for name in ("SimpleITK", "nibabel", "h5py", "numpy"):
    print(name, version(name))
with h5py.File("brain.mnc") as f:
    comment = f["minc-2.0/dimensions/xspace"].attrs["comments"].decode()
print("the MINC file says:        ", comment)
print("lesion in the NIfTI file:  ", lesion("brain.nii.gz"), "(left, front)")
print("expected in the MINC file: ", lesion("brain.nii.gz"))
print("found in the MINC file:    ", lesion("brain.mnc"), "(right, back)")
print("after MINC -> NIfTI:       ", lesion("again.nii.gz"))
same = (
    "left to right" in comment
    and lesion("brain.nii.gz") == [-30, 20, 10]
    and lesion("brain.mnc") == [30, -20, 10]
    and lesion("again.nii.gz") == [-30, 20, 10]
)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
