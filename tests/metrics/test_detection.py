import json

import numpy as np
import pytest

from brainmri.metrics.bootstrap import group_bootstrap
from brainmri.metrics.detection import abstention, detection, detection_at
from brainmri.reporting.run_report import write_report

CLASSES = ["glioma", "no_tumor", "pituitary"]


def probabilities(scores: list[float]) -> np.ndarray:
    """score: the probability of any tumour; a third of it is glioma."""
    return np.array([[score / 3, 1 - score, 2 * score / 3] for score in scores])


def test_the_threshold_comes_from_validation_and_the_figures_from_test() -> None:
    validation = [k / 100 for k in range(100)]  # 95 % of the images without a tumour score 0.95 or less
    labels = np.array([1] * 100 + [0] * 5)
    test = [0.99, 0.96, 0.9, 0.1, 0.97, 0.2, 0.94]
    found = detection(
        labels,
        probabilities([*validation, *[0.0] * 5]),
        np.array([0, 2, 0, 1, 1, 1, 2]),
        probabilities(test),
        ["a", "b", "c", "d", "e", "f", "b"],
        ["north", "north", "south", "south", "north", "north", "south"],
        CLASSES,
    )
    assert found is not None
    found = found.as_json()
    assert found["without_tumour"] == "no_tumor"
    assert found["threshold"] == pytest.approx(0.95)
    everywhere = found["all"]
    assert (everywhere["tumours"], everywhere["others"]) == (4, 3)
    assert (everywhere["sensitivity"], everywhere["specificity"]) == (0.5, pytest.approx(2 / 3))
    assert (everywhere["sensitivity_of_likeliest"], everywhere["specificity_of_likeliest"]) == (1, pytest.approx(2 / 3))
    assert everywhere["auroc"] == pytest.approx(9 / 12)
    assert everywhere["sensitivity_ci95"] == group_bootstrap([True, True, False, False], ["a", "b", "c", "b"])
    north, south = found["sites"]["north"], found["sites"]["south"]
    assert north["auroc"] == pytest.approx(5 / 6)  # 0.99 and 0.96 against 0.1, 0.97 and 0.2 of both sites
    assert (north["sensitivity"], north["specificity"], south["sensitivity"], south["specificity"]) == (1, 0.5, 0, 1)


def test_a_site_without_tumours_has_no_sensitivity() -> None:
    labels = np.array([1, 0])
    scores = probabilities([0.1, 0.9])
    found = detection(labels, scores, labels, scores, ["a", "b"], ["x", "y"], CLASSES)
    assert found is not None
    found = found.as_json()
    assert (found["sites"]["x"]["sensitivity"], found["sites"]["x"]["sensitivity_ci95"]) == (None, None)
    assert found["sites"]["y"]["specificity"] is None


@pytest.mark.parametrize(("classes", "labels"), [(["glioma", "meningioma", "pituitary"], [0, 1]), (CLASSES, [0, 2])])
def test_without_images_that_have_no_tumour_nothing_is_said(classes, labels) -> None:
    scores = probabilities([0.1, 0.9])
    labels = np.array(labels)
    assert detection(labels, scores, labels, scores, ["a", "b"], ["", ""], classes) is None


def test_the_report_shows_each_site(make_run) -> None:
    labels = np.array([1, 0, 1, 0])
    scores = probabilities([0.1, 0.9, 0.2, 0.1])
    found = detection(labels, scores, labels, scores, ["a", "b", "c", "d"], ["oslo", "oslo", "", ""], CLASSES)
    page = write_report(make_run("a", detection=found.as_json())).read_text()
    assert "Finding tumours" in page
    assert "<td>oslo</td><td>1</td><td>100.0 %" in page
    assert "<td>unknown</td>" in page
    assert "Finding tumours" not in write_report(make_run("b")).read_text()


def test_every_model_has_a_sensitivity_at_a_specificity() -> None:
    healthy = [k / 100 for k in range(1, 21)]
    tumours = [0.05, 0.185, 0.195, 0.5]
    labels = np.array([1] * len(healthy) + [0] * len(tumours))
    ids = [str(number) for number in range(len(labels))]
    found = detection_at(None, labels, probabilities(healthy + tumours), ids, [""] * len(labels), CLASSES)
    assert found is not None
    assert (found.threshold, found.all.sensitivity, found.all.specificity) == (None, None, None)
    # 18 of 20 stay at 0.18 or below, 19 at 0.19 or below.
    assert found.all.sensitivity_at_90_specificity == 3 / 4
    assert found.all.sensitivity_at_95_specificity == 2 / 4
    low, high = found.all.sensitivity_at_90_specificity_ci95
    assert low < 3 / 4 < high
    assert detection_at(None, labels, probabilities(healthy + tumours), ids, ids, ["a", "b", "c"]) is None


def test_what_refusing_changes_is_counted_before_and_after_at_each_site() -> None:
    classes = ["glioma", "meningioma", "notumor"]
    labels = np.array([0, 0, 1, 1, 2, 2, 0, 2])
    predicted = np.array([0, 2, 0, 2, 2, 0, 0, 2])  # a glioma called a meningioma is a tumour all the same
    rejected = np.array([False, True, False, False, False, True, False, False])
    sites = ["a", "a", "a", "a", "b", "b", "b", "b"]
    groups = list("stuvwxyz")
    found = abstention(rejected, labels, predicted, groups, sites, classes)
    assert found is not None
    assert list(found.sites) == ["a", "b"]
    one, other = found.sites.values()
    assert (one.n, one.refused, one.tumours, one.tumours_kept) == (4, 0.25, 4, 3)
    assert (one.sensitivity, one.sensitivity_of_kept) == (0.5, pytest.approx(2 / 3))
    assert (one.wrong, one.wrong_of_kept, one.wrong_of_refused) == (0.5, pytest.approx(1 / 3), 1.0)
    assert (one.specificity, one.specificity_of_kept, one.specificity_ci95) == (None, None, None)
    assert (other.specificity, other.specificity_of_kept, other.wrong_of_kept) == (pytest.approx(2 / 3), 1.0, 0.0)
    assert found.all.n == 8
    assert found.all.wrong_ci95 is not None
    assert found.all.wrong_ci95[0] < 3 / 8 < found.all.wrong_ci95[1]


def test_without_a_class_for_no_tumour_refusing_changes_nothing_that_is_counted() -> None:
    one = np.zeros(2, dtype=np.int64)
    assert abstention(np.zeros(2, bool), one, one, ["a", "b"], ["", ""], ["glioma", "meningioma"]) is None


def test_the_report_shows_refusing_before_and_after(make_run, reject_record) -> None:  # type: ignore[no-untyped-def]
    run = make_run()
    uncertainty = json.loads((run / "uncertainty.json").read_text())
    (run / "uncertainty.json").write_text(json.dumps(uncertainty | {"ood": reject_record, "ood_reason": None}))
    text = write_report(run).read_text()
    assert "Found of the kept" in text
    assert "<td>elsewhere</td><td>" in text.replace("\n", "")
