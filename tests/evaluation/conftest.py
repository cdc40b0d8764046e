"""What the tests of all figures and of all paired tests share."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, so that a test can read their texts and lines."""
    saved = []
    original = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), original(self, *a, **k))[1])
    return saved


@pytest.fixture
def make_scored(make_run):
    """make_scored(name, wrong, **changes): a run that misses the given test images of 240, four to a group."""

    def make(name, wrong, **changes):
        run = make_run(name, **changes)
        table = pd.read_csv(run / "predictions.csv", dtype=str, keep_default_na=False)
        number = table["file_name"].str.extract(r"(\d+)")[0].astype(int)
        table["label"] = "glioma"
        missed = (table["split"] == "test") & number.isin(wrong)
        table["predicted"] = np.where(missed | (table["split"] != "test"), "notumor", "glioma")
        table.sample(frac=1, random_state=changes.get("seed", 1)).to_csv(run / "predictions.csv", index=False)
        return run

    return make
