"""One answer for a patient from those for its slices: the rules, and which one a validation split speaks for.

Every rule works on the tumour probabilities of a patient's slices (1 - p of the class without a tumour), and says how
large a share of the answer each slice has:

* "mean": of all slices. In a whole head a small tumour fills few slices and moves it little.
* "top_50_percent", "top_25_percent", "top_10_percent", "top_3", "max": the mean of the most suspicious slices. The
  fewer count, the more one false alarm weighs, and the more slices a patient has, the likelier is one.
* "noisy_or": 1 - the product of 1 - p, as if slices erred independently of each other. They do not: 24 slices of 10 %
  each come to 92 %. So the number of slices alone can call a patient ill.
* "learned": a logistic regression on the mean log-odds of the most suspicious 1 slice, 10, 25, 50 and 100 % of them.
  No coefficient is negative: a slice that becomes more suspicious never makes its patient less so. The number of slices
  is no feature, since it tells protocols and scanners apart, not patients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from brainmri.metrics.bootstrap import auroc_bootstrap, auroc_resamples
from brainmri.schemas import PoolingRule, PoolingScore

TOP = {"mean": 1.0, "top_50_percent": 0.5, "top_25_percent": 0.25, "top_10_percent": 0.1}  # shares of the slices
COUNTED = {"top_3": 3, "max": 1}  # slices
RULES = (*TOP, *COUNTED, "noisy_or", "learned")
# The half, since a network that sees heads from elsewhere takes a fifth of their healthy slices for a tumour, and the
# mean misses tumours that fill a third of a head: seen on 47 whole scans by which no rule of any run is chosen.
DEFAULT = PoolingRule(name="top_50_percent")
MEAN = PoolingRule(name="mean")
FEATURES = {"most_suspicious": 0.0, "top_10_percent": 0.1, "top_25_percent": 0.25, "top_50_percent": 0.5, "all": 1.0}
MIN_PATIENTS = 10  # with a tumour, and without one, by whom a rule is chosen
FOLDS = 5
CERTAIN = 1e-6  # probabilities are taken for at least this, and for at most 1 - this, before their log-odds
PENALTY = 0.5  # of the squared coefficients, beside the sum of the patients' losses: scikit-learn's C = 1


def pool(tumour: NDArray[np.float64], rule: PoolingRule) -> tuple[float, NDArray[np.float64]]:
    """A patient's tumour probability and the share of each of its slices in it.

    Args:
        tumour: (n,) tumour probabilities of its slices, at least one.

    Returns:
        The probability, and shares (n,) of 0..1 whose sum is 1. Under "noisy_or" a slice's share is its part of the
        logarithm; where every probability is 0 all slices have the same.

    Raises:
        ValueError: for a rule that is not known.
    """
    n = len(tumour)
    if rule.name == "noisy_or":
        parts = -np.log1p(-np.minimum(tumour, 1 - CERTAIN))
        total = parts.sum()
        return float(-np.expm1(-total)), parts / total if total > 0 else np.full(n, 1 / n)
    shares = np.empty(n)
    order = np.argsort(-tumour, kind="stable")
    shares[order] = _shares_by_rank(n, rule)
    if rule.name == "learned":
        assert rule.intercept is not None and rule.coefficients is not None
        slope = sum(rule.coefficients.values())
        return float(expit(rule.intercept + slope * (shares @ log_odds(tumour)))), shares
    return float(shares @ tumour), shares


def pool_classes(
    probabilities: NDArray[np.float64], without_tumour: int | None, rule: PoolingRule
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A patient's class probabilities (C,), and the share of each of its slices.

    The tumour probability is the rule's. It is dealt to the kinds of tumour as the slices say, each by its share.

    Args:
        probabilities: (n, C) of its slices. without_tumour: number of the class without a tumour; where there is none,
            probabilities are averaged.
    """
    if without_tumour is None:
        return probabilities.mean(axis=0), np.full(len(probabilities), 1 / len(probabilities))
    tumour, shares = pool(1 - probabilities[:, without_tumour], rule)
    kinds = np.delete(shares @ probabilities, without_tumour)
    dealt = kinds / kinds.sum() if kinds.sum() > 0 else np.full(len(kinds), 1 / len(kinds))
    return np.insert(tumour * dealt, without_tumour, 1 - tumour), shares


def compare(patients: Sequence[NDArray[np.float64]], ill: NDArray[np.bool_]) -> list[PoolingScore]:
    """Every rule on the same patients; "learned" by rules that were fitted without them, in five parts.

    Args:
        patients: of each the tumour probabilities of its slices. ill: (P,) whether it has a tumour; at least two of
            each kind.
    """
    scores = {name: _scores(patients, PoolingRule(name=name)) for name in RULES if name != "learned"}
    scores["learned"] = _cross_fitted(patients, ill)
    names = [str(number) for number in range(len(ill))]
    resamples = {name: auroc_resamples(values, ill, names) for name, values in scores.items()}
    standard = DEFAULT.name
    areas = {name: _auroc(values, ill) for name, values in scores.items()}
    return [
        PoolingScore(
            name=name,
            auroc=areas[name],
            auroc_ci95=auroc_bootstrap(scores[name], ill, names),
            gain=areas[name] - areas[standard],
            gain_error=float(np.nanstd(resamples[name] - resamples[standard])),
        )
        for name in RULES
    ]


def best(comparison: Sequence[PoolingScore]) -> str:
    """The rule of the largest area whose gain is above its standard error; the default where there is none."""
    better = [one for one in comparison if one.gain > one.gain_error]
    return max(better, key=lambda one: one.auroc).name if better else DEFAULT.name


def fit_learned(patients: Sequence[NDArray[np.float64]], ill: NDArray[np.bool_]) -> PoolingRule:
    """The rule "learned", fitted on these patients (see `compare`)."""
    from scipy.optimize import minimize

    features = np.stack([_features(one) for one in patients])
    sign = np.where(ill, 1.0, -1.0)

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (values[0] + features @ values[1:])
        slope = -sign * expit(-margin)
        gradient = np.concatenate([[slope.sum()], features.T @ slope + 2 * PENALTY * values[1:]])
        return float(np.logaddexp(0, -margin).sum() + PENALTY * (values[1:] ** 2).sum()), gradient

    start = np.concatenate([[0.0], np.full(len(FEATURES), 0.1)])
    bounds = [(None, None), *[(0.0, None)] * len(FEATURES)]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    coefficients = dict(zip(FEATURES, map(float, found[1:]), strict=True))
    return PoolingRule(name="learned", intercept=float(found[0]), coefficients=coefficients)


def _cross_fitted(patients: Sequence[NDArray[np.float64]], ill: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The scores of "learned" (P,), each by a rule that was fitted without the patient."""
    from sklearn.model_selection import StratifiedKFold

    parts = StratifiedKFold(min(FOLDS, int(ill.sum()), int((~ill).sum())), shuffle=True, random_state=0)
    scores = np.empty(len(ill))
    for others, own in parts.split(ill, ill):
        rule = fit_learned([patients[k] for k in others], ill[others])
        scores[own] = _scores([patients[k] for k in own], rule)
    return scores


def _scores(patients: Sequence[NDArray[np.float64]], rule: PoolingRule) -> NDArray[np.float64]:
    return np.array([pool(one, rule)[0] for one in patients])


def _shares_by_rank(n: int, rule: PoolingRule) -> NDArray[np.float64]:
    """The shares (n,) of a patient's slices, from the most suspicious one on."""
    if rule.name == "learned":
        assert rule.coefficients is not None
        weights = np.array([rule.coefficients[name] for name in FEATURES])
        total = weights.sum()
        weights = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
        return np.asarray(weights @ np.stack([_first(n, _count(n, share)) for share in FEATURES.values()]))
    if rule.name in TOP:
        return _first(n, _count(n, TOP[rule.name]))
    if rule.name in COUNTED:
        return _first(n, min(n, COUNTED[rule.name]))
    raise ValueError(f"the pooling {rule.name!r} is not known here: {', '.join(RULES)} are")


def _count(n: int, share: float) -> int:
    """How many of n slices a share is, at least one."""
    return max(1, int(np.ceil(share * n - 1e-9)))


def _first(n: int, count: int) -> NDArray[np.float64]:
    return np.where(np.arange(n) < count, 1 / count, 0.0)


def log_odds(tumour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of probabilities, which are taken for at least a millionth and at most 1 - that."""
    return np.asarray(logit(np.clip(tumour, CERTAIN, 1 - CERTAIN)))


def _features(tumour: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = -np.sort(-log_odds(tumour))
    return np.array([ordered[: _count(len(ordered), share)].mean() for share in FEATURES.values()])


def _auroc(scores: NDArray[np.float64], ill: NDArray[np.bool_]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(ill, scores))
