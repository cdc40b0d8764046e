"""Labels of Kaggle's brain-tumor-mri-dataset that two readers contradict: a known list that comes with the package.

Each distinct image of `notumor` was looked at by two readers, blind to each other and to any network. Neither is a
radiologist, and 224 pixels are few: the list holds what is plain to see, and is no diagnosis. `docs/data.md` tells how
it was made and what it leaves open.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

FILE = Path(__file__).with_name("reviewed_labels.csv")
REVIEWED = "reviewed"  # what --exclude calls the list
MASS, CT = "mass", "CT"  # what both readers see: a mass under the label notumor; no MRI


@cache
def reviewed_labels() -> pd.DataFrame:
    """Columns `seen` (mass or CT) and `reason` (for people), by path (`Testing/notumor/Te-no_0228.jpg`), every copy."""
    return pd.read_csv(FILE, index_col="path", dtype=str)
