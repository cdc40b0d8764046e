import numpy as np
import pandas as pd
import pytest

from brainmri.evaluation.robustness import worst_groups
from brainmri.metrics.bootstrap import group_bootstrap


def table(parts: list[tuple[str, str, int, int, int]]) -> pd.DataFrame:
    """From (label, site, images, right, images per group)."""
    rows = [
        (label, site, k < right, f"{label}{site}{k // size}")
        for label, site, images, right, size in parts
        for k in range(images)
    ]
    return pd.DataFrame(rows, columns=["label", "site", "right", "group_id"])


def test_each_class_site_and_both_have_their_accuracy_and_the_worst_is_named() -> None:
    images = table([("glioma", "oslo", 40, 36, 4), ("glioma", "", 20, 10, 2), ("notumor", "oslo", 30, 27, 3)])
    found = worst_groups(images).as_json()
    assert [(one["label"], one["n"], one["groups"]) for one in found["class"]["all"]] == [
        ("glioma", 60, 20),
        ("notumor", 30, 10),
    ]
    assert found["class"]["worst"]["label"] == "glioma"
    assert found["class"]["worst"]["accuracy"] == pytest.approx(46 / 60)
    rows = images[images["label"] == "glioma"]
    assert found["class"]["worst"]["accuracy_ci95"] == group_bootstrap(rows["right"], rows["group_id"].tolist())
    assert [(one["site"], one["accuracy"]) for one in found["site"]["all"]] == [("", 0.5), ("oslo", 0.9)]
    assert found["site"]["worst"]["site"] == ""
    assert len(found["class_and_site"]["all"]) == 3
    assert (found["class_and_site"]["worst"]["label"], found["class_and_site"]["worst"]["site"]) == ("glioma", "")


def test_small_groups_and_single_patients_are_listed_but_never_the_worst() -> None:
    images = table([("few", "", 19, 0, 1), ("one patient", "", 50, 0, 50), ("enough", "", 20, 15, 2)])
    found = worst_groups(images).as_json()["class"]
    assert {one["label"]: one["judged"] for one in found["all"]} == {
        "few": False,
        "one patient": False,
        "enough": True,
    }
    assert found["worst"]["label"] == "enough"
    assert worst_groups(images[images["label"] == "few"]).as_json()["class"]["worst"] is None


def test_without_sites_nothing_is_said_of_them() -> None:
    found = worst_groups(table([("a", "", 30, 20, 3), ("b", "", 30, 10, 3)])).as_json()
    assert (found["site"], found["class_and_site"]) == (None, None)
    assert found["class"]["worst"]["label"] == "b"
    assert np.isclose(found["class"]["worst"]["accuracy"], 1 / 3)
