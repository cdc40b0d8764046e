#!/usr/bin/env bash
# tifffile 2026.3.3 with Pillow 13.0.0 (numpy 2.4.6): a boolean mask in a TIFF. tifffile.imwrite stores a boolean array
# as it is (True = 1), but labels the file WhiteIsZero: by TIFF 6.0 (section 8, tag 262, value 0) a 1 is black there.
# tifffile.imread leaves such files uninverted, and says so; Pillow inverts. imwrite's text does not say that boolean
# arrays get this label. A reader expects one mask from both libraries. Pillow returns the exact complement: every True
# is False and every False is True. Each library's own round trip is right, so that no test within one of them shows it;
# no warning.
# Output seen on 2026-11-28: 12 tumour pixels of 64 in; tifffile reads 12, Pillow reads 52, none of them in common.
# Lost for MRI: a pipeline that writes masks with one library and crops or blanks with the other keeps the background
# and blanks the tumour; a small mask still looks like a plausible large one.
# Do instead: save masks as uint8 0/255, or pass photometric="minisblack" for boolean arrays (this script checks both).
# Exit: 0 behaves as described, 1 changed, 2 packages could not be installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tifffile==2026.3.3 Pillow==13.0.0 numpy==2.4.6 || exit 2
venv/bin/python - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
import tifffile
from PIL import Image

mask = np.zeros((8, 8), bool)
mask[2:5, 1:5] = True
for name in ("tifffile", "Pillow", "numpy"):
    print(name, version(name))


def pillow(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(bool)


tifffile.imwrite("mask.tif", mask)
with tifffile.TiffFile("mask.tif") as tif:
    label = int(tif.pages[0].photometric)
one, other = tifffile.imread("mask.tif"), pillow("mask.tif")
print("tag 262 (0 = WhiteIsZero):     ", label)
print("tumour pixels written, expected:", mask.sum())
print("read by tifffile:              ", one.sum())
print("read by Pillow:                ", other.sum(), "- of these in the tumour:", (other & mask).sum())
Image.fromarray(mask).save("pillow.tif")
within = np.array_equal(pillow("pillow.tif"), mask) and np.array_equal(tifffile.imread("pillow.tif"), mask)
print("Pillow's own file is right in both:", within)
tifffile.imwrite("black.tif", mask, photometric="minisblack")
tifffile.imwrite("bytes.tif", mask.astype(np.uint8) * 255)
remedies = np.array_equal(pillow("black.tif"), mask) and np.array_equal(pillow("bytes.tif"), mask)
print("minisblack and uint8 are right in Pillow:", remedies)
same = label == 0 and np.array_equal(one, mask) and np.array_equal(other, ~mask) and within and remedies
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
