"""Accuracy with an interval by group, as a metric of the library `evaluate`."""

from __future__ import annotations

import datasets
import evaluate
import numpy as np

from .bootstrap import group_bootstrap

DESCRIPTION = "Accuracy, its 95 % interval resampled by group, and the share of the most frequent class."
CITATION = ""
INPUTS = """
Args:
    predictions: class numbers (N,).
    references: the true class numbers (N,).
    groups: (N,) texts, equal for images that are not independent of each other, such as those of one patient.
Returns:
    accuracy, ci_low, ci_high (None where there is one group only), groups, n, majority.
"""


@evaluate.utils.file_utils.add_start_docstrings(DESCRIPTION, INPUTS)
class GroupedAccuracy(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("int32")
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": number, "references": number}),
        )

    def _compute(
        self, predictions: list[int], references: list[int], groups: list[str] | None = None
    ) -> dict[str, float | int | None]:
        right = np.asarray(predictions) == np.asarray(references)
        names = [str(number) for number in range(len(right))] if groups is None else groups
        low, high = group_bootstrap(right, names) or (None, None)
        return {
            "accuracy": float(right.mean()),
            "ci_low": low,
            "ci_high": high,
            "groups": len(set(names)),
            "n": len(right),
            "majority": float(np.bincount(references).max() / len(references)),
        }
