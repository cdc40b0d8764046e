#!/usr/bin/env bash
# pymatreader 1.3.2 against mat73 0.65 (hdf5storage 0.2.2, h5py 3.16.0, numpy 2.4.6): a logical array in MATLAB v7.3. A
# MATLAB v7.3 file stores a logical array as bytes and marks it MATLAB_class = "logical". A reader expects booleans, as
# mat73 gives them, since MATLAB's image(mask) becomes image[mask] in numpy. pymatreader returns uint8. numpy takes
# booleans as a choice of pixels, but whole numbers as a list of rows: image[mask] then means "row 0 for every 0, row 1
# for every 1". The line runs without an error or a warning and gives rows 0 and 1 of the picture in place of the
# tumour. pymatreader's documentation does not mention logical arrays.
# Output seen on 2026-11-28: mean inside the tumour expected 1000.0 (mat73 1000.0), pymatreader 10.0, the background.
# Lost for MRI: in a brain-tumour set published as .mat files the tumour's mask can be logical; means, crops and
# normalisation inside the mask are then of the picture's top edge, for every patient.
# Do instead: mask.astype(bool) at once, or mat73; check mask.dtype before you index.
# Exit: 0 behaves as described, 1 changed, 2 packages could not be installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  pymatreader==1.3.2 mat73==0.65 hdf5storage==0.2.2 h5py==3.16.0 numpy==2.4.6 || exit 2
venv/bin/python - <<'PY'
import sys
from importlib.metadata import version

import h5py
import hdf5storage
import mat73
import numpy as np
import pymatreader

image = np.full((16, 16), 10, np.int16)
mask = np.zeros((16, 16), bool)
mask[6:10, 5:9] = True
image[mask] = 1000
hdf5storage.savemat("case.mat", {"case": {"image": image, "mask": mask}}, format="7.3")
for name in ("pymatreader", "mat73", "hdf5storage", "h5py", "numpy"):
    print(name, version(name))
with h5py.File("case.mat") as f:
    mark = f["case/mask"].attrs["MATLAB_class"].decode()
print("the file marks the mask as:", mark)
one, other = mat73.loadmat("case.mat")["case"], pymatreader.read_mat("case.mat")["case"]
print("expected mean inside the mask:", image[mask].mean(), "- pixels", image[mask].size)
for name, case in (("mat73", one), ("pymatreader", other)):
    inside = case["image"][case["mask"]]
    print(f"{name}: mask is {case['mask'].dtype}, mean {inside.mean()}, shape {inside.shape}")
right = other["image"][other["mask"].astype(bool)].mean()
print("pymatreader after astype(bool):", right)
same = (
    mark == "logical"
    and one["mask"].dtype == bool
    and one["image"][one["mask"]].mean() == 1000
    and other["mask"].dtype == np.uint8
    and np.array_equal(other["mask"], mask)
    and other["image"][other["mask"]].mean() == 10
    and right == 1000
)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
