"""scikit-learn's classification report of a run's test split, with what must stand beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.metrics import classification_report

from brainmri.evaluation.predictions import read_predictions
from brainmri.evaluation.results import data_title, leak_statement, read_result, warnings_of, with_interval


def classification_text(run_dir: Path) -> str:
    """Precision, recall, F1 and support of each class on the test split, from `predictions.csv`.

    The classes stand in the order of `result.json` (source D typed them a second time, in reverse).

    Raises:
        FileNotFoundError: `result.json` or `predictions.csv` is missing.
        ValueError: they are of another version, do not fit together, or the run has no test split.
    """
    result = read_result(run_dir)
    if result["test"] is None:
        raise ValueError(f"{run_dir}: this run was not scored on a test split: leave the study `report` out")
    classes = result["data"]["classes"]
    labels, probabilities = read_predictions(run_dir / "predictions.csv", "test", classes)
    numbers = list(range(len(classes)))
    predicted = np.argmax(probabilities, axis=1)
    table = classification_report(labels, predicted, labels=numbers, target_names=classes, digits=4, zero_division=0)
    lines = [f"{result['arch']} ({result['protocol']}), test images of {data_title(result['data'])}", "", table]
    if absent := [name for number, name in enumerate(classes) if number not in set(labels)]:
        lines.append(f"No test image is {', '.join(absent)}: recall and F1 are undefined there and written as 0.")
    lines.append(f"Accuracy {with_interval(result['test'])} (95 % interval, resampled by group)")
    lines += [f"{headline}: {sentence}" for headline, sentence in warnings_of(result)]
    if result["data"]["leaky"]:
        lines.append(leak_statement(result))
    return "\n".join(lines) + "\n"
