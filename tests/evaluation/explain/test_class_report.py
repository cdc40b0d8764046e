"""The classification report gives the numbers of result.json, under the right names."""

import json

import pandas as pd
import pytest

from brainmri.evaluation.explain.inspect import classification_text

from ...conftest import MakeRun


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if len(line.split()) == 5}


def test_the_numbers_are_those_of_the_result_in_its_order_of_classes(make_run: MakeRun) -> None:
    classes = ["pituitary", "glioma", "notumor"]  # not sorted: sorting them would be a mistake that shows
    run = make_run(classes=classes)
    text = classification_text(run)
    result = json.loads((run / "result.json").read_text())["test"]
    found = rows(text)
    assert list(found)[:3] == classes
    for name, figures in result["per_class"].items():
        expected = [f"{figures[key]:.4f}" for key in ("precision", "recall", "f1")] + [str(figures["support"])]
        assert found[name] == expected
    assert len({tuple(found[name]) for name in classes}) == 3
    low, high = result["accuracy_ci95"]
    assert f"Accuracy {100 * result['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]" in text
    assert "leaky" not in text


def test_a_leaky_split_is_said(make_run: MakeRun) -> None:
    text = classification_text(make_run(data__leaky=True, data__split="source"))
    assert "The accuracy is inflated and cannot rank models." in text
    assert "The split (“source”) is leaky" in text


def test_a_class_that_no_test_image_has_is_said(make_run: MakeRun) -> None:
    run = make_run(classes=["glioma", "meningioma"])
    result = json.loads((run / "result.json").read_text())
    result["data"]["classes"].append("other")
    (run / "result.json").write_text(json.dumps(result))
    pd.read_csv(run / "predictions.csv").assign(p_other=0.0).to_csv(run / "predictions.csv", index=False)
    text = classification_text(run)
    assert rows(text)["other"] == ["0.0000", "0.0000", "0.0000", "0"]
    assert "No test image is other: recall and F1 are undefined" in text


def test_a_run_without_a_test_split_is_refused(make_run: MakeRun) -> None:
    with pytest.raises(ValueError, match="was not scored on a test split"):
        classification_text(make_run(test=None))
