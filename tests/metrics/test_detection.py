import numpy as np
import pytest

from brainmri.metrics.bootstrap import group_bootstrap
from brainmri.metrics.detection import detection, detection_at
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
