"""Several classes merged into two."""

import numpy as np
import pandas as pd
import pytest

from brainmri.data.dataset import PreparedData, as_binary

from ..conftest import dataset_info


def data(*classes: str) -> PreparedData:
    index = pd.DataFrame(
        {"label": list(classes) * 3, "split": np.repeat(["train", "validation", "test"], len(classes))}
    )
    counts = {split: dict.fromkeys(classes, 1) for split in ("train", "validation", "test")}
    info = dataset_info(name="set", fingerprint="f", classes=list(classes), counts=counts)
    return PreparedData(root=None, index=index, info=info, classes=list(classes))  # type: ignore[arg-type]


def test_any_tumour_is_positive_by_default_and_negative_comes_first() -> None:
    for none in ("notumor", "no_tumor", "Healthy", "Normal"):
        merged = as_binary(data("glioma", none, "pituitary"), None)
        assert merged.classes == [none, "glioma or pituitary"]
        assert merged.labels(merged.rows("test")).tolist() == [1, 0, 1]
        assert merged.info.classes == merged.classes
        assert merged.info.counts["train"] == {none: 1, "glioma or pituitary": 2}


def test_the_positive_classes_can_be_named_and_change_the_fingerprint() -> None:
    four = data("glioma", "meningioma", "notumor", "pituitary")
    merged = as_binary(four, ["pituitary"])
    assert merged.classes == ["glioma or meningioma or notumor", "pituitary"]
    other = as_binary(four, ["glioma"])
    assert len({four.info.fingerprint, merged.info.fingerprint, other.info.fingerprint}) == 3
    assert four.index["label"].tolist()[0] == "glioma"  # the data itself stays


def test_two_classes_stay_as_they_are() -> None:
    two = data("notumor", "tumor")
    assert as_binary(two, None) is two


@pytest.mark.parametrize(
    ("classes", "positive", "message"),
    [
        (("cat", "dog", "owl"), None, "say with --positive"),
        (("glioma", "healthy", "notumor"), None, "say with --positive"),
        (("glioma", "meningioma", "notumor"), ["gliom"], "gliom: the classes are glioma, meningioma, notumor"),
        (("glioma", "meningioma", "notumor"), ["notumor", "glioma", "meningioma"], "but not all"),
        (("glioma", "meningioma", "notumor"), [], "name some"),
    ],
)
def test_what_cannot_be_merged_is_named(classes: tuple[str, ...], positive: list[str] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_binary(data(*classes), positive)
