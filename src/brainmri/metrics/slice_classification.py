"""The Trainer's figures of each evaluation, as a metric of the `evaluate` library.

Apart from the other metrics, because `evaluate` imports transformers, torch and torchvision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from brainmri.metrics.classification import means_over_present_classes

if TYPE_CHECKING:
    from transformers import EvalPrediction


class SliceClassification(evaluate.Metric):
    """Accuracy, balanced accuracy and macro F1 as a metric of the `evaluate` library, without the Hub.

    `SliceClassification(keep_in_memory=True).compute(predictions=(N,) int, references=(N,) int)` gives a dictionary of
    three floats in 0..1.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy, balanced accuracy and macro F1 of classified image slices.",
            citation="",
            inputs_description="predictions and references: class numbers, one per image",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        labels, predicted = np.asarray(references), np.asarray(predictions)
        return {"accuracy": float((labels == predicted).mean())} | means_over_present_classes(labels, predicted)


def compute_metrics(eval_prediction: EvalPrediction) -> dict[str, float]:
    """The Trainer's `compute_metrics`: logits (N, C) and labels (N,) to accuracy, balanced_accuracy and macro_f1."""
    predicted = np.asarray(eval_prediction.predictions).argmax(axis=1)
    metric = SliceClassification(keep_in_memory=True)  # otherwise every call leaves a file in the user's cache
    values = metric.compute(predictions=predicted, references=np.asarray(eval_prediction.label_ids))
    assert values is not None  # null only in the other processes of a distributed metric
    return values
