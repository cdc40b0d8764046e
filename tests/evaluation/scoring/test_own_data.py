"""What a run has seen of the data that it is scored on."""

from pathlib import Path

import pandas as pd
import pytest

from brainmri.data.dataset import PreparedData, as_binary
from brainmri.evaluation.evaluate import relation
from brainmri.schemas import DataPart, RunResult

from ...conftest import CLASSES, dataset_info, result_of_example

SPLITS = ["train", "train", "validation", "test"]


@pytest.fixture
def data() -> PreparedData:
    index = pd.DataFrame({"label": CLASSES, "split": SPLITS})
    counts = {split: dict.fromkeys(CLASSES, 1) for split in ("train", "validation", "test")}
    info = dataset_info(name="x", fingerprint="0123", counts=counts, classes=CLASSES)
    return PreparedData(Path(), index, info, CLASSES)


def run_on(**data: object) -> RunResult:
    """The result of a run that was trained on such data."""
    example = result_of_example(CLASSES, 1)
    parts = dict.fromkeys(("test", "validation", "train", "calibration", "conformal", "ood"))
    return RunResult.model_validate(example | parts | {"data": example["data"] | data})


def test_the_own_data_and_its_parts(data: PreparedData) -> None:
    result = run_on(name="x", fingerprint="0123")
    stand = relation(result, data, "test")
    assert (stand.own_data, stand.warnings) == (True, [])
    assert "the split scored is the run's test split" in stand.statement
    headline, sentence = relation(result, data, "train").warnings[0]
    assert headline == "Training images"
    assert sentence.startswith("All of these images were in the run's training set")
    assert "2 of these 4 images were in the run's training set" in relation(result, data, "all").warnings[0][1]
    assert relation(result, data, "validation").warnings[0][0] == "Validation images"


def test_a_run_on_two_merged_classes_knows_its_data_again(data: PreparedData) -> None:
    binary = as_binary(data, None)
    data_part = DataPart(**dict(binary.info.summary()), train_after_oversampling=None)
    result = run_on(**data_part.as_json())
    assert relation(result, data, "test").own_data is True
    other = data.info.model_copy(update={"fingerprint": "9"})
    stand = relation(result, PreparedData(Path(), data.index, other, CLASSES), "test")
    assert (stand.own_data, stand.warnings[0][0]) == (False, "Perhaps training images")


def test_other_data_and_unknown_training(data: PreparedData) -> None:
    result = run_on(name="y", fingerprint="9")
    stand = relation(result, data, "all")
    assert (stand.own_data, stand.warnings) == (False, [])
    assert "trained on y (fingerprint 9)" in stand.statement
    assert relation(None, data, "all").own_data is None
