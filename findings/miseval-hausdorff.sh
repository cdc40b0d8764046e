#!/usr/bin/env bash
# miseval 1.3.0 (hausdorff 0.2.6, numpy 2.4.6) against scikit-image 0.26.0 and scipy 1.17.1: the Hausdorff distance of two
# 2D masks, evaluate(truth, pred, metric="HD"). Between two regions it is the largest distance from a pixel of one to the
# nearest pixel of the other: a square shifted by d pixels lies at distance d. miseval hands the masks themselves to a
# function that wants a table of points, one point a row. Each row of the picture becomes one point with as many
# coordinates as the picture has columns, and where in the picture that row stands no longer counts. A shift up or down
# changes nothing: 0.0, the result of a perfect mask. A shift to the side until the two masks no longer overlap gives the
# square root of the number of pixels in the widest row, however far it goes. With several classes every class gets the
# same number, computed from the whole label map. Nothing warns; the README lists "HD" as the Hausdorff distance, and the
# package's own tests look only at the type of the result.
# Output seen on 2026-11-30: tumour of 4 x 4 pixels, shifted down by 40 pixels: expected 40.0, miseval 0.0; to the right
# by 40 or 10: expected 40.0 and 10.0, miseval 2.0 both times.
# Lost for MRI: the number that should show the worst error of an outline does not see it: a tumour marked in the wrong
# place scores as perfect, and models are ranked by how wide their masks are.
# Do instead: skimage.metrics.hausdorff_distance, once a class.
# Exit: 0 behaves as described, 1 changed, 2 packages could not be installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  miseval==1.3.0 hausdorff==0.2.6 scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6 || exit 2
venv/bin/python - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from miseval import evaluate
from scipy.spatial.distance import directed_hausdorff
from skimage.metrics import hausdorff_distance

for name in ("miseval", "hausdorff", "scikit-image", "scipy", "numpy"):
    print(name, version(name))


def by_scipy(a, b):
    a, b = np.argwhere(a), np.argwhere(b)
    return max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])


truth = np.zeros((64, 64), int)
truth[10:14, 10:14] = 1
shifts = {(0, 0): 0.0, (40, 0): 0.0, (10, 0): 0.0, (0, 40): 2.0, (0, 10): 2.0, (0, 1): 1.414, (40, 40): 2.0}
agree, found = True, {}
print("shift down, right: expected (scikit-image, scipy) - miseval HD")
for down, right in shifts:
    pred = np.roll(truth, (down, right), (0, 1))
    expected = float(np.hypot(down, right))
    others = [float(f(truth, pred)) for f in (hausdorff_distance, by_scipy)]
    found[down, right] = round(float(evaluate(truth, pred, metric="HD")), 3)
    agree = agree and np.allclose(others, expected, atol=0.001)
    print(f"  {down:>2}, {right:>2}: {expected:.3f} ({others[0]:.3f}, {others[1]:.3f}) - {found[down, right]}")

# Three classes: the background, a tumour that is found exactly, and an oedema that is marked 20 pixels too far right.
labels, marked = truth.copy(), truth.copy()
labels[30:34, 10:14] = marked[30:34, 30:34] = 2
apart = [float(hausdorff_distance(labels == c, marked == c)) for c in (1, 2)]
classes = [round(float(v), 3) for v in evaluate(labels, marked, metric="HD", n_classes=3)]
print("tumour and oedema, expected:", apart, "- miseval:", classes[1:], "- background:", classes[0])
same = agree and found == shifts and apart == [0, 20] and len(set(classes)) == 1 and classes[0] == 4
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
