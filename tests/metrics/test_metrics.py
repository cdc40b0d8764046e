import json

import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import EvalPrediction

from brainmri.metrics.classification import (
    calibration_bins,
    evaluate_predictions,
    expected_calibration_error,
)
from brainmri.metrics.slice_classification import SliceClassification, compute_metrics

# Three images of class a (one missed), two of b (one missed), one of c.
LABELS = [0, 0, 0, 1, 1, 2]
PROBABILITIES = [
    [0.8, 0.1, 0.1],
    [0.6, 0.2, 0.2],
    [0.1, 0.7, 0.2],
    [0.2, 0.5, 0.3],
    [0.1, 0.3, 0.6],
    [0.0, 0.0, 1.0],
]
GROUPS = ["g1", "g1", "g2", "g3", "g3", "g4"]


def figures(labels=LABELS, probabilities=PROBABILITIES, groups=GROUPS, classes=("a", "b", "c")):
    return evaluate_predictions(labels, probabilities, groups, list(classes)).as_json()


def test_counts_accuracies_and_matrix_by_hand():
    result = figures()
    assert (result["n"], result["groups"]) == (6, 4)
    assert result["confusion_matrix"] == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert result["macro_f1"] == pytest.approx((4 / 5 + 2 / 4 + 2 / 3) / 3)


def test_per_class_by_hand():
    per_class = figures()["per_class"]
    assert per_class["a"] == pytest.approx({"precision": 1, "recall": 2 / 3, "specificity": 1, "f1": 0.8, "support": 3})
    assert per_class["b"] == pytest.approx(
        {"precision": 0.5, "recall": 0.5, "specificity": 3 / 4, "f1": 0.5, "support": 2}
    )
    assert per_class["c"]["specificity"] == pytest.approx(4 / 5)


def test_loss_brier_and_auroc_by_hand():
    result = figures()
    true = [0.8, 0.6, 0.1, 0.5, 0.3, 1.0]
    assert result["loss"] == pytest.approx(-sum(np.log(true)) / 6)
    squares = [0.04 + 0.02, 0.16 + 0.08, 0.81 + 0.49 + 0.04, 0.04 + 0.25 + 0.09, 0.01 + 0.49 + 0.36, 0]
    assert result["brier"] == pytest.approx(sum(squares) / 6)
    # Pairs in the right order (a tie is half): 0.8, 0.6, 0.1 to 0.2, 0.1, 0.0 and 0.5, 0.3 to 0.1, 0.2, 0.7, 0.0.
    auroc_a, auroc_b = (3 + 3 + 1.5) / 9, (3 + 3) / 8
    assert result["auroc"] == pytest.approx((auroc_a + auroc_b + 1) / 3)


def test_loss_of_a_certain_error_is_finite():
    assert figures([1], [[1.0, 0.0]], ["g"], "ab")["loss"] == pytest.approx(-np.log(1e-12))


def test_a_collapsed_binary_network_as_source_c_reports_it():
    """Every image called "a": precision 0.56 and 0, recall 1 and 0, specificity 0 and 1."""
    result = figures([0] * 56 + [1] * 44, [[0.6, 0.4]] * 100, [str(i) for i in range(100)], "ab")
    a, b = result["per_class"]["a"], result["per_class"]["b"]
    assert (a["precision"], a["recall"], a["specificity"]) == (0.56, 1.0, 0.0)
    assert (b["precision"], b["recall"], b["specificity"], b["f1"]) == (0.0, 0.0, 1.0, 0.0)
    assert result["auroc"] == 0.5
    assert result["balanced_accuracy"] == 0.5


def test_a_class_without_images_is_null_and_out_of_the_means():
    result = figures([0, 0, 1, 1], [[0.9, 0.1, 0.0], [0.2, 0.2, 0.6], [0.1, 0.9, 0.0], [0.3, 0.7, 0.0]], list("wxyz"))
    c = result["per_class"]["c"]
    assert (c["recall"], c["f1"], c["support"], c["precision"]) == (None, None, 0, 0.0)
    assert c["specificity"] == 0.75
    assert result["auroc"] is None
    assert result["balanced_accuracy"] == pytest.approx(0.75)
    assert result["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert "NaN" not in json.dumps(result, allow_nan=False)


def test_specificity_is_null_when_every_image_has_the_class():
    assert figures([0, 0], [[0.9, 0.1], [0.8, 0.2]], ["x", "y"], "ab")["per_class"]["a"]["specificity"] is None


def test_calibration_error_by_hand():
    """Thirty images in two bins: confidence 0.6 with 5 of 15 right, confidence 0.9 with 15 of 15 right."""
    probabilities = np.array([[0.6, 0.4]] * 15 + [[0.9, 0.1]] * 15)
    labels = np.array([0] * 5 + [1] * 10 + [0] * 15)
    confidence, accuracy, counts = calibration_bins(labels, probabilities)
    assert confidence == pytest.approx([0.6, 0.9])
    assert accuracy == pytest.approx([1 / 3, 1])
    assert counts.tolist() == [15, 15]
    error = (abs(0.6 - 1 / 3) + abs(0.9 - 1)) / 2
    assert expected_calibration_error(labels, probabilities) == pytest.approx(error)


def test_bins_hold_equal_numbers_where_confidences_differ():
    p = np.linspace(0.51, 0.99, 150)
    assert calibration_bins(np.zeros(150, dtype=int), np.stack([p, 1 - p], axis=1))[2].tolist() == [10] * 15


@st.composite
def predictions(draw):
    n, c = draw(st.integers(1, 30)), draw(st.integers(2, 5))
    labels = draw(st.lists(st.integers(0, c - 1), min_size=n, max_size=n))
    weights = draw(st.lists(st.lists(st.integers(1, 9), min_size=c, max_size=c), min_size=n, max_size=n))
    p = np.array(weights, dtype=float)
    return np.array(labels), p / p.sum(axis=1, keepdims=True), draw(st.permutations(range(n)))


@settings(max_examples=30, deadline=None)
@given(predictions())
def test_any_predictions_give_json_in_range_whatever_their_order(drawn):
    labels, p, order = drawn
    classes = [f"class {k}" for k in range(p.shape[1])]
    groups = [f"g{i % 3}" for i in range(len(labels))]
    result = evaluate_predictions(labels, p, groups, classes).as_json()
    json.dumps(result, allow_nan=False)
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "ece"):
        assert 0 <= result[key] <= 1
    assert 0 <= result["brier"] <= 2
    assert sum(row["support"] for row in result["per_class"].values()) == len(labels)
    shuffled = evaluate_predictions(labels[order], p[order], [groups[i] for i in order], classes).as_json()
    assert shuffled["ece"] == pytest.approx(result["ece"])
    assert shuffled["accuracy_ci95"] == pytest.approx(result["accuracy_ci95"])
    # A second definition of the balanced accuracy: the mean of the recalls that exist.
    recalls = [row["recall"] for row in result["per_class"].values() if row["recall"] is not None]
    assert result["balanced_accuracy"] == pytest.approx(np.mean(recalls))


@pytest.mark.parametrize(
    ("labels", "probabilities", "groups", "message"),
    [
        ([], np.zeros((0, 2)), [], "at least one image"),
        ([0], [[0.5, 0.3, 0.2]], ["g"], r"\(N, 2\)"),
        ([2], [[0.5, 0.5]], ["g"], "0..1 is expected"),
        ([0], [[np.nan, np.nan]], ["g"], "training diverged"),
        ([0], [[3.2, -1.0]], ["g"], "sum to 1"),
        ([0], [[0.5, 0.5]], ["g", "h"], "2 group ids for 1 images"),
    ],
)
def test_impossible_input_is_refused_with_the_reason(labels, probabilities, groups, message):
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(labels, probabilities, groups, ["a", "b"])


def test_trainer_metrics_equal_the_final_ones_and_leave_no_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path)
    logits = np.log(np.maximum(np.array(PROBABILITIES), 1e-6)).astype(np.float32)
    values = compute_metrics(EvalPrediction(predictions=logits, label_ids=np.array(LABELS)))
    assert values == pytest.approx({key: figures()[key] for key in ("accuracy", "balanced_accuracy", "macro_f1")})
    assert all(type(value) is float for value in values.values())
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_metric_of_the_evaluate_library_takes_batches():
    metric = SliceClassification(keep_in_memory=True)
    metric.add_batch(predictions=[0, 1], references=[0, 1])
    metric.add_batch(predictions=[1], references=[0])
    assert metric.compute()["accuracy"] == pytest.approx(2 / 3)
