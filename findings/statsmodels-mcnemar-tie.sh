#!/usr/bin/env bash
# statsmodels 0.15.0 (scipy 1.17.1, numpy 2.4.6): McNemar's test of two classifiers that disagree equally often both
# ways. The continuity correction pulls the difference of the two counts of disagreement, b and c, towards zero and so
# can only make the test more careful. A reader expects p = 1 for b = c, and a larger p for a tie than for a lead.
# statsmodels computes (|b - c| - 1)^2 / (b + c) without stopping at zero: a tie counts like a lead of two. The
# corrected p is below the uncorrected one, and a tie looks less alike than a lead of one. The documentation of mcnemar
# does not say so.
# Output seen on 2026-11-28, correction=True: b, c = 5, 5 p = 0.7518, as for 6, 4; 6, 5 p = 1.0; 1, 1 p = 0.4795;
# without the correction, and exactly, p = 1.0 for every tie.
# Lost for MRI: test sets of brain MRI are small and good models disagree on few pictures, so that ties are common; a
# table of p-values then ranks "no difference at all" before a real lead, and corrections for many tests take wrong
# input.
# Do instead: exact=True for few disagreements, or correction=False; never compare such p-values where b = c.
# Exit: 0 behaves as described, 1 changed, 2 packages could not be installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check statsmodels==0.15.0 scipy==1.17.1 numpy==2.4.6 || exit 2
venv/bin/python - <<'PY'
import sys
from importlib.metadata import version

from statsmodels.stats.contingency_tables import mcnemar

for name in ("statsmodels", "scipy", "numpy"):
    print(name, version(name))


def p_value(b, c, **how):
    """Of two models on 90 pictures on which they agree, b that only the first and c that only the second gets right."""
    return round(float(mcnemar([[80, b], [c, 10]], **how).pvalue), 4)


print("b, c   corrected  uncorrected  exact")
rows = {}
for b, c in ((1, 1), (2, 2), (5, 5), (6, 5), (6, 4), (10, 10)):
    rows[b, c] = (
        p_value(b, c, exact=False, correction=True),
        p_value(b, c, exact=False, correction=False),
        p_value(b, c, exact=True),
    )
    print(f"{b}, {c}".ljust(6), *(f"{p:<11}" for p in rows[b, c][:2]), rows[b, c][2])
ties = [p for (b, c), p in rows.items() if b == c]
print("expected for every tie: 1.0 three times")
same = (
    all(corrected < 1 and uncorrected == exact == 1 for corrected, uncorrected, exact in ties)
    and rows[1, 1][0] == 0.4795
    and rows[5, 5][0] == rows[6, 4][0] == 0.7518
    and rows[6, 5][0] == 1
)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
