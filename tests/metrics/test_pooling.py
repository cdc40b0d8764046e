"""A patient's answer from its slices: the rules, which one validation speaks for, and the figures by patient."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from brainmri.metrics.bootstrap import auroc_bootstrap, auroc_resamples
from brainmri.metrics.patients import SliceTable, choose_pooling, patient_scores
from brainmri.metrics.pooling import DEFAULT, FEATURES, RULES, best, compare, fit_learned, pool, pool_classes
from brainmri.schemas import PoolingRule, PoolingScore, TumourThreshold

CLASSES = ["glioma", "notumor", "pituitary"]
PLAIN = [PoolingRule(name=name) for name in RULES if name != "learned"]
LEARNED = PoolingRule(
    name="learned",
    intercept=-1.0,
    coefficients=dict.fromkeys(FEATURES, 0.0) | {"most_suspicious": 0.5, "all": 1.5},
)


def volumes(ill: np.ndarray, lesion: int, seed: int = 0, slices: int = 40) -> list[np.ndarray]:
    """Tumour probabilities of whole heads: about 0.1 everywhere, and 0.6 in `lesion` slices of those that are ill."""
    rng = np.random.default_rng(seed)
    found = []
    for one in ill:
        tumour = rng.beta(2, 18, slices)
        tumour[: lesion * one] = rng.uniform(0.45, 0.8, lesion * one)
        found.append(rng.permutation(tumour))
    return found


def table(patients: list[np.ndarray], ill: np.ndarray, **changes) -> SliceTable:
    """Every slice of an ill patient's lesion is glioma (probability above 0.4), the rest is notumor."""
    tumour = np.concatenate(patients)
    owner = np.repeat(np.arange(len(patients)), [len(one) for one in patients])
    labels = np.where(ill[owner] & (tumour > 0.4), 0, 1)
    values = np.stack([0.8 * tumour, 1 - tumour, 0.2 * tumour], axis=1)
    content = {"labels": labels, "probabilities": values, "patients": [f"p{k}" for k in owner], "unit": "patient"}
    return SliceTable(**content | {"images": [str(k) for k in range(len(tumour))]} | changes)


def test_each_rule_pools_as_its_name_says() -> None:
    tumour = np.array([0.1, 0.9, 0.2, 0.8, 0.3, 0.3, 0.3, 0.3])
    answers = {rule.name: pool(tumour, rule) for rule in PLAIN}
    expected = {"mean": 0.4, "top_50_percent": 0.575, "top_25_percent": 0.85, "top_10_percent": 0.9, "max": 0.9}
    expected |= {"top_3": 2 / 3, "noisy_or": 1 - 0.9 * 0.1 * 0.8 * 0.2 * 0.7**4}
    assert {name: answer for name, (answer, _) in answers.items()} == pytest.approx(expected)
    for name, (_, shares) in answers.items():
        assert shares.sum() == pytest.approx(1), name
    assert answers["top_25_percent"][1].tolist() == [0, 0.5, 0, 0.5, 0, 0, 0, 0]
    assert answers["noisy_or"][1].argmax() == 1
    with pytest.raises(ValueError, match="'median' is not known"):
        pool(tumour, PoolingRule(name="median"))


def test_noisy_or_calls_many_unsuspicious_slices_a_tumour_and_the_default_does_not() -> None:
    slices = np.full(24, 0.1)
    assert pool(slices, PoolingRule(name="noisy_or"))[0] == pytest.approx(1 - 0.9**24)
    assert pool(slices, PoolingRule(name="noisy_or"))[0] > 0.9
    assert pool(slices, DEFAULT)[0] == pytest.approx(0.1)
    assert pool(np.zeros(3), PoolingRule(name="noisy_or"))[1].tolist() == pytest.approx([1 / 3] * 3)


def test_learned_pooling_follows_the_log_odds_and_never_falls_with_suspicion() -> None:
    tumour = np.array([0.5, 0.9, 0.1])
    odds = np.log(tumour / (1 - tumour))
    expected = 1 / (1 + np.exp(1 - 0.5 * odds[1] - 1.5 * odds.mean()))
    answer, shares = pool(tumour, LEARNED)
    assert answer == pytest.approx(expected)
    assert shares.tolist() == pytest.approx([0.25, 0.5, 0.25])
    ill = np.arange(40) < 20
    rule = fit_learned(volumes(ill, 10), ill)
    before = pool(tumour, rule)[0]
    for k in range(3):
        more = tumour.copy()
        more[k] += 0.05
        assert pool(more, rule)[0] >= before
    assert 0 <= pool(np.array([0.0, 0.0]), rule)[0] < pool(np.array([1.0, 1.0]), rule)[0] <= 1


def test_classes_share_the_tumour_probability_as_the_carrying_slices_say() -> None:
    values = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.0, 0.9, 0.1], [0.1, 0.9, 0.0]])
    found, shares = pool_classes(values, 1, PoolingRule(name="top_25_percent"))
    assert (found.tolist(), shares.tolist()) == (pytest.approx([0.7, 0.2, 0.1]), [1, 0, 0, 0])
    assert pool_classes(values, 1, PLAIN[0])[0] == pytest.approx(values.mean(axis=0))
    assert pool_classes(values, None, PLAIN[0])[0] == pytest.approx(values.mean(axis=0))
    assert pool_classes(np.array([[0.0, 1.0, 0.0]]), 1, DEFAULT)[0].tolist() == [0, 1, 0]


def test_the_default_stands_unless_another_is_better_by_more_than_its_error() -> None:
    def score(name: str, auroc: float, error: float) -> PoolingScore:
        gain = auroc - 0.9
        return PoolingScore(name=name, auroc=auroc, auroc_ci95=None, gain=gain, gain_error=error)

    assert best([score("mean", 0.95, 0.06), score(DEFAULT.name, 0.9, 0)]) == DEFAULT.name
    assert best([score("mean", 0.95, 0.01), score("max", 0.93, 0.01), score(DEFAULT.name, 0.9, 0)]) == "mean"


@pytest.mark.parametrize(("lesion", "good", "bad"), [(1, {"max", "top_3", "top_10_percent"}, "mean"), (40, set(), "")])
def test_validation_chooses(lesion: int, good: set[str], bad: str) -> None:
    ill = np.arange(60) < 30
    patients = volumes(ill, lesion)
    chosen = choose_pooling(table(patients, ill), CLASSES)
    assert (chosen.chosen_on, chosen.unit, chosen.tumours, chosen.others) == ("validation", "patient", 30, 30)
    assert [one.name for one in chosen.comparison] == list(RULES)
    areas = {one.name: one.auroc for one in chosen.comparison}
    plain = pool(patients[0], DEFAULT)[0]
    assert areas[DEFAULT.name] == pytest.approx(roc_auc_score(ill, [pool(one, DEFAULT)[0] for one in patients]))
    assert 0 < plain < 1
    if good:  # one slice in forty: those that look at few slices see it
        assert chosen.rule.name in good | {"learned"}
        assert areas[chosen.rule.name] > areas[bad]
        assert "best" in chosen.reason
    else:  # any rule tells them apart
        assert chosen.rule == DEFAULT
        assert "no rule is better than the default" in chosen.reason
    scores = np.array([pool(one, chosen.rule)[0] for one in patients])
    low = np.quantile(scores[~ill], 0.95, method="higher")
    next_one = scores[ill & (scores > low + 1e-12)].min()
    assert low <= chosen.threshold < next_one
    assert np.log(chosen.threshold / (1 - chosen.threshold)) == pytest.approx(
        np.log([low / (1 - low), next_one / (1 - next_one)]).mean()
    )
    assert chosen.threshold_patients == 30
    assert chosen.threshold_slices == 40


def test_learned_pooling_is_compared_by_rules_that_did_not_see_the_patient() -> None:
    """Where labels are drawn by lot, a rule that had seen its patients would do better than chance."""
    rng = np.random.default_rng(1)
    areas = []
    for _ in range(6):
        ill = rng.permutation(np.arange(24) < 12)
        patients = [rng.random(6) for _ in ill]
        areas.append(compare(patients, ill)[-1].auroc)
        seen = fit_learned(patients, ill)
        assert roc_auc_score(ill, [pool(one, seen)[0] for one in patients]) >= 0.45
    assert np.mean(areas) < 0.55


def test_copies_of_one_image_are_no_several_slices() -> None:
    """In the Kaggle set healthy groups are one image in many files: nothing can be chosen by them."""
    ill = np.arange(40) < 20
    patients = [one if has else one[:1].repeat(4) for one, has in zip(volumes(ill, 5), ill, strict=True)]
    owner = np.repeat(np.arange(40), [len(one) for one in patients])
    images = [f"p{k}" if not ill[k] else f"p{k}-{number}" for number, k in enumerate(owner)]
    chosen = choose_pooling(table(patients, ill, images=images, unit="group"), CLASSES)
    assert (chosen.chosen_on, chosen.rule, chosen.comparison) == (None, DEFAULT, [])
    assert chosen.reason.startswith(
        "Of the validation groups with several distinct slices, 20 have a tumour and 0 have"
    )
    assert (chosen.threshold_patients, chosen.threshold_slices) == (20, 1)


def test_without_a_class_for_no_tumour_slices_are_averaged() -> None:
    ill = np.arange(4) < 2
    slices = table(volumes(ill, 5), ill)
    chosen = choose_pooling(slices, ["a", "b", "c"])
    assert (chosen.rule.name, chosen.threshold) == ("mean", None)
    found = patient_scores(slices, ["a", "b", "c"], chosen, None)
    assert (found.rule, found.pooled, found.n) == ("mean", None, 4)


def test_figures_by_patient_beside_those_by_slice() -> None:
    ill = np.arange(40) < 20
    validation, test = volumes(ill, 10), volumes(ill, 10, seed=1)
    chosen = choose_pooling(table(validation, ill), CLASSES)
    fixed = TumourThreshold(without_tumour="notumor", specificity_on_validation=0.95, threshold=0.5)
    found = patient_scores(table(test, ill), CLASSES, chosen, fixed)
    assert (found.n, found.several, found.median_slices, found.left_out) == (40, 40, 40, None)
    assert (found.pooled.tumours, found.pooled.others) == (20, 20)  # slices without a lesion do not make a patient so
    assert found.slices.tumours == sum(int((one > 0.4).sum()) for one in test[:20])
    called = np.array([pool(one, chosen.rule)[0] for one in test]) > chosen.threshold
    assert found.pooled.sensitivity == called[:20].mean()
    assert found.pooled.specificity == (~called[20:]).mean()
    assert found.pooled.auroc == pytest.approx(1)
    low, high = found.pooled.auroc_ci95
    assert (low, high) == pytest.approx((binomtest(20, 20).proportion_ci().low, 1))
    assert found.mean.sensitivity_of_likeliest == 0  # ten of forty slices do not move a mean above a half
    assert found.recall_per_class == {"glioma": found.recall_per_class["glioma"], "notumor": 1, "pituitary": None}
    assert found.slices.sensitivity_ci95 is not None
    alone = patient_scores(table(test, ill), CLASSES, None, None)
    assert (alone.threshold, alone.pooled.sensitivity, alone.rule) == (None, None, DEFAULT.name)
    assert alone.pooled.sensitivity_of_likeliest is not None


def test_slices_out_of_distribution_do_not_count_unless_all_are() -> None:
    ill = np.array([False, True])
    patients = [np.array([0.9, 0.1]), np.array([0.8, 0.9])]
    excluded = np.array([True, False, True, True])
    found = patient_scores(table(patients, ill, excluded=excluded), CLASSES, None, None)
    assert found.left_out == 1
    assert (found.pooled.sensitivity_of_likeliest, found.pooled.specificity_of_likeliest) == (1, 1)


def test_the_area_is_resampled_by_group_and_paired() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(60) < 30
    scores = rng.normal(size=60) + truth
    names = [str(k) for k in range(60)]
    drawn = auroc_resamples(scores, truth, names)
    assert drawn.mean() == pytest.approx(roc_auc_score(truth, scores), abs=0.01)
    assert (auroc_resamples(2 * scores + 1, truth, names) == drawn).all()
    low, high = auroc_bootstrap(scores, truth, names)
    assert low < roc_auc_score(truth, scores) < high
    several = auroc_bootstrap(scores.repeat(5), truth.repeat(5), [str(k // 5) for k in range(300)])
    assert several == pytest.approx([low, high], abs=0.03)  # copies are no evidence
    tied = auroc_resamples([0.5, 0.5, 0.5, 0.5], [True, True, False, False], ["a", "b", "c", "d"])
    assert set(tied[~np.isnan(tied)]) == {0.5}
    assert auroc_bootstrap([0.1, 0.9, 0.8], [False, True, True], ["a", "b", "c"]) is None


def test_a_threshold_of_few_healthy_patients_stays_away_from_them() -> None:
    """Four patients of next to nothing: the fifth may well be a little higher."""
    ill = np.array([False] * 4 + [True] * 11)
    patients = [np.full(6, 1e-5 * (k + 1)) for k in range(4)] + [np.full(6, 0.99)] * 11
    chosen = choose_pooling(table(patients, ill), CLASSES)
    assert chosen.chosen_on is None
    assert 1e-2 < chosen.threshold < 0.5
