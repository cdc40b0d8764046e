#!/usr/bin/env bash
# mlxtend 0.25.0 against statsmodels 0.15.0 (scipy 1.17.1, numpy 2.4.6): proportion_difference, the test whether two
# classifiers differ in accuracy. The p of "both are equal" is 2 * P(Z > |z|): the same whichever model is named first,
# and 1 for equal accuracies. The user guide rejects from z = 1.96 on, which is p = 0.05 of this two-sided test. mlxtend
# returns the lower tail P(Z < z): half the p if the worse model is named first, 1 minus that half if the better one is,
# and 0.5 for a tie. The docstring says "the p-value", no text says which tail, and nothing warns. The guide's own
# example, 84 of 100 against 92 of 100, has |z| = 1.754 and is called significant because its p reads 0.040.
# Output seen on 2026-11-30: 84 against 92 of 100: p 0.0397, 92 against 84: 0.9603; statsmodels 0.0794 for both.
# Lost for MRI: the claim that one tumour classifier beats another. With the worse model first, two equal models are
# called different in 10 % of studies instead of 5 %; with the better one first, never, however large its lead.
# Do instead: 2 * scipy.stats.norm.sf(abs(z)) with the z returned; for two models on the same pictures an exact McNemar
# test.
# Exit: 0 behaves as described, 1 changed, 2 packages could not be installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  mlxtend==0.25.0 statsmodels==0.15.0 scipy==1.17.1 numpy==2.4.6 || exit 2
venv/bin/python - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from mlxtend.evaluate import proportion_difference
from scipy.stats import norm
from statsmodels.stats.proportion import test_proportions_2indep

for name in ("mlxtend", "statsmodels", "scipy", "numpy"):
    print(name, version(name))
n, found, agree = 100, {}, True
for first, second in ((84, 92), (92, 84), (70, 90), (90, 70), (88, 88)):
    z, p = proportion_difference(first / n, second / n, n)
    closed = 2 * norm.sf(abs(z))
    other = test_proportions_2indep(first, n, second, n, compare="diff", method="wald", correction=False)
    agree = agree and np.isclose(z, other.statistic) and np.isclose(closed, other.pvalue)
    found[first, second] = round(float(p), 4)
    print(f"{first} against {second} of {n}: z {z:.3f} (statsmodels {other.statistic:.3f})")
    print(f"  expected p {closed:.4f}, statsmodels {other.pvalue:.4f}, mlxtend {p:.4f}")

# How often two equal models, 90 % right on 2,000 pictures each, are called different at p < 0.05.
rng = np.random.default_rng(0)
rates = []
pairs = np.sort(rng.binomial(2000, 0.9, (5000, 2)), axis=1) / 2000
worse = [proportion_difference(low, high, 2000) for low, high in pairs]
better = [proportion_difference(high, low, 2000)[1] for low, high in pairs]
for values in ([2 * norm.sf(abs(z)) for z, _ in worse], [p for _, p in worse], better):
    rates.append(round(float(np.mean(np.array(values) < 0.05)), 3))
print("false alarms, expected", rates[0], "- mlxtend, worse model first", rates[1], "- better model first", rates[2])
same = (
    agree
    and found == {(84, 92): 0.0397, (92, 84): 0.9603, (70, 90): 0.0001, (90, 70): 0.9999, (88, 88): 0.5}
    and 0.04 < rates[0] < 0.06
    and 0.09 < rates[1] < 0.11
    and rates[2] == 0
)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
