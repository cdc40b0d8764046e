import json

import numpy as np
import pytest

from brainmri.metrics.calibration import fit_temperature, uncertainty_record
from brainmri.metrics.conformal import class_conditional_thresholds, conformal_threshold, prediction_sets
from brainmri.metrics.probabilities import apply_temperature
from brainmri.schemas import OODRecord


def simulated(n, seed, sharpness=1.0, classes=4):
    """Labels drawn from known probabilities, and those probabilities sharpened by a factor on the logits."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, classes))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((n, 1)) > true.cumsum(axis=1)).sum(axis=1)
    sharp = np.exp(sharpness * logits)
    return labels, sharp / sharp.sum(axis=1, keepdims=True)


def test_temperature_undoes_a_known_overconfidence():
    labels, probabilities = simulated(8000, seed=0, sharpness=3.0)
    assert fit_temperature(labels, probabilities) == pytest.approx(3.0, rel=0.06)


def test_temperature_scales_logits_by_hand():
    expected = np.exp([1.0, 0.5]) / np.exp([1.0, 0.5]).sum()
    p = np.exp([[2.0, 1.0]]) / np.exp([2.0, 1.0]).sum()
    assert apply_temperature(p, 2.0)[0] == pytest.approx(expected)
    assert apply_temperature(p, 1.0)[0] == pytest.approx(p[0])
    assert apply_temperature(np.array([[1.0, 0.0]]), 0.05)[0] == pytest.approx([1.0, 0.0])


def test_perfect_validation_gives_the_bound_and_no_error():
    assert fit_temperature(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])) == pytest.approx(0.05, rel=0.01)


def test_conformal_threshold_by_hand():
    """n = 19, alpha = 0.1: the 18th smallest of the 19 scores."""
    p_true = np.linspace(0.05, 0.95, 19)
    probabilities = np.stack([p_true, 1 - p_true], axis=1)
    assert conformal_threshold(np.zeros(19, dtype=int), probabilities) == pytest.approx(np.sort(1 - p_true)[17])


@pytest.mark.parametrize(("n", "possible"), [(8, False), (9, True)])
def test_conformal_needs_nine_images(n, possible):
    labels, probabilities = simulated(n, seed=1)
    assert (conformal_threshold(labels, probabilities) is not None) == possible
    uncertainty = uncertainty_record(
        labels, probabilities, *simulated(50, seed=2), list("abcd"), test_groups=["g"] * 50
    ).as_json()
    assert (uncertainty["conformal"] is not None) == possible
    assert (uncertainty["conformal_reason"] is None) == possible
    if not possible:
        assert "8 images" in uncertainty["conformal_reason"]
        assert "at least 9" in uncertainty["conformal_reason"]


def test_conformal_sets_cover_the_promised_share_on_exchangeable_data():
    """Mean coverage over many draws lies in [1 - alpha, 1 - alpha + 1 / (n + 1)], also for a miscalibrated network."""
    coverages = []
    for seed in range(200):
        labels, p = simulated(60, seed, sharpness=2.0)
        test_labels, test_p = simulated(500, 10_000 + seed, sharpness=2.0)
        sets = prediction_sets(test_p, conformal_threshold(labels, p))
        coverages.append(sets[np.arange(500), test_labels].mean())
    assert 0.9 - 0.008 <= np.mean(coverages) <= 0.9 + 1 / 61 + 0.008


def test_class_conditional_sets_cover_each_class_where_one_threshold_misses_the_harder_one():
    """Class 1 is rarely sure: one threshold for both covers less of it, its own covers what is promised."""
    covered = {"own": [], "one": []}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        labels = (rng.random(700) < 0.2).astype(int)
        right = np.where(labels == 0, 1 - 0.2 * rng.random(700), rng.random(700))
        p = np.stack([np.where(labels == k, right, 1 - right) for k in (0, 1)], axis=1)
        own = class_conditional_thresholds(labels[:200], p[:200])
        hard = labels[200:] == 1
        for name, threshold in (("own", own), ("one", conformal_threshold(labels[:200], p[:200]))):
            covered[name].append(prediction_sets(p[200:], threshold)[hard, 1].mean())
    assert 0.89 <= np.mean(covered["own"]) <= 0.95
    assert np.mean(covered["one"]) < 0.75


def test_a_class_with_too_few_images_takes_the_threshold_of_all():
    labels = np.array([0] * 30 + [1] * 8)
    p = np.tile([0.7, 0.3], (38, 1))
    p[30:] = [0.2, 0.8]
    assert class_conditional_thresholds(labels, p) == [pytest.approx(0.3), None]
    found = uncertainty_record(labels, p, labels, p, ["a", "b"], test_groups=["g"] * 38).conformal
    assert found.class_thresholds == {"a": pytest.approx(0.3), "b": found.threshold}
    assert found.marginal.test_coverage == 1.0


def test_trust_holds_what_the_contract_names_and_only_validation_is_fitted():
    validation, test = simulated(400, 1, 2.5), simulated(300, 2, 2.5)
    groups = [f"g{k // 3}" for k in range(300)]
    uncertainty = uncertainty_record(*validation, *test, list("abcd"), test_groups=groups).as_json()
    json.dumps(uncertainty, allow_nan=False)
    assert uncertainty["schema_version"] == 2
    assert uncertainty["classes"] == list("abcd")
    calibration, conformal = uncertainty["calibration"], uncertainty["conformal"]
    assert set(calibration) == {
        *("method", "temperature", "fitted_on", "nll_before", "nll_after", "ece_before", "ece_after", "test_ece_after")
    }
    assert calibration["nll_after"] < calibration["nll_before"]
    assert calibration["ece_after"] < calibration["ece_before"]
    assert 0.85 < conformal["test_coverage"] < 0.96
    assert 1 < conformal["test_mean_set_size"] < 4
    assert uncertainty["ood"] is None
    assert uncertainty["ood_reason"].endswith(".")

    other = uncertainty_record(*validation, *simulated(300, 99, 0.5), list("abcd"), test_groups=groups).as_json()
    assert other["calibration"]["temperature"] == calibration["temperature"]
    assert other["conformal"]["threshold"] == conformal["threshold"]


def test_an_empty_validation_split_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        uncertainty_record([], np.zeros((0, 2)), [0], [[0.5, 0.5]], ["a", "b"], test_groups=["g"])


def test_coverage_is_given_by_class_and_sets_by_size():
    """By hand: the threshold is 0.4, so that a set holds what has a probability of at least 0.6."""
    validation = [0] * 19, np.tile([0.6, 0.4, 0.0], (19, 1))
    test_p = np.array([[0.7, 0.3, 0], [0.7, 0.3, 0], [0.5, 0.5, 0], [0.1, 0.9, 0]])
    uncertainty = uncertainty_record(
        *validation, [0, 1, 1, 1], test_p, ["a", "b", "c"], test_groups=["g", "g", "h", "i"]
    ).as_json()
    conformal = uncertainty["conformal"]
    assert conformal["test_coverage"] == 0.5
    assert conformal["test_coverage_per_class"] == {"a": 1.0, "b": pytest.approx(1 / 3), "c": None}
    assert conformal["test_set_sizes"] == {"0": 0, "1": 4, "2": 0, "3": 0}  # the likeliest class is always in
    low, high = conformal["test_coverage_ci95"]
    assert 0 <= low < 0.5 < high <= 1


def test_the_reject_rule_or_the_reason_why_there_is_none_stands_in_it(reject_record):
    validation, test = simulated(40, 1), simulated(20, 2)
    for ood, key in ((OODRecord.model_validate(reject_record), "ood"), ("Two heads.", "ood_reason")):
        uncertainty = uncertainty_record(*validation, *test, list("abcd"), test_groups=["g"] * 20, ood=ood)
        assert {name: getattr(uncertainty, name) for name in ("ood", "ood_reason")} == {
            "ood": None,
            "ood_reason": None,
            key: ood,
        }
