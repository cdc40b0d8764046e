"""A network's figures with and without the labels that two readers contradict."""

import pandas as pd
import pytest

from benchmarks import reviewed_labels
from benchmarks.reviewed_labels import on_labels


def test_masses_and_ct_leave_the_count_in_turn(monkeypatch) -> None:
    """Four tumours (two of a site, one of these missed, and one of the others of the wrong type) and six others."""
    rows = [
        *[("t0", "glioma", "glioma", 0.1, "far"), ("t1", "glioma", "notumor", 0.8, "far")],
        *[("t2", "glioma", "pituitary", 0.2, ""), ("t3", "pituitary", "pituitary", 0.1, "")],
        *[("mass", "notumor", "glioma", 0.05, ""), ("ct", "notumor", "glioma", 0.15, "")],
        *[(f"h{k}", "notumor", "notumor", 0.9, "") for k in range(4)],
    ]
    table = pd.DataFrame(rows, columns=["source", "label", "predicted", "p_notumor", "site"])
    table = table.assign(file_name=table["source"] + ".png", group_id="g" + table["source"], split="test")
    known = pd.DataFrame({"seen": ["mass", "CT"], "reason": "seen"}, index=["mass", "ct"])
    monkeypatch.setattr(reviewed_labels, "reviewed_labels", lambda: known)
    validation = table.iloc[:1].assign(file_name="other.png", split="validation")
    predictions = pd.concat([table, validation]).drop(columns=["source", "site"])
    found = on_labels(table[["file_name", "source", "site"]], predictions)
    value = found.set_index(["labels", "measure"])["value"]
    expected = {"as they are": (6, 10, 4, 6), "without masses": (6, 9, 4, 5), "without masses and CT": (6, 8, 4, 4)}
    for labels, (right, images, alone, healthy) in expected.items():
        assert value[labels, "accuracy"] == pytest.approx(right / images)
        assert value[labels, "left_alone"] == pytest.approx(alone / healthy)
        assert value[labels, "found"] == 0.75 and value[labels, "found_far"] == 0.5
    # Of the pairs of a tumour and an image without one, those in order: the mass outranks every tumour, CT two of four.
    assert value["as they are", "auroc"] == pytest.approx((4 * 4 + 2) / 24)
    assert value["without masses", "auroc"] == pytest.approx((4 * 4 + 2) / 20)
    assert value["without masses and CT", "auroc"] == 1
    assert value["without masses and CT", "auroc_far"] == 1
    assert value["mass", "masses_called_tumour"] == 1
    assert found.set_index(["labels", "measure"])["images"]["without masses", "auroc_far"] == 7
