"""What is said of a judgement."""

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest

from brainmri.demo.model import DemoModel, open_models
from brainmri.demo.response_text import agreement, details, doubts, in_words, sentence
from brainmri.evaluation.inference import Prediction
from brainmri.evaluation.run_warnings import cautions
from brainmri.evaluation.sequence import Look

from .conftest import Edit, slices


def judged(label: str = "meningioma", share: float = 0.91, **changes: Any) -> Prediction:
    others = [name for name in ("glioma", "meningioma", "notumor", "pituitary") if name != label]
    values: dict[str, Any] = {
        "label": label,
        "probabilities": {label: share, **dict.fromkeys(others, (1 - share) / len(others))},
        "calibrated": True,
        "prediction_set": (label,),
        "coverage": 0.9,
        "out_of_distribution": False,
        "ood_score": 0.5,
        "ood_threshold": 1.0,
        "milliseconds": 9.6,
    }
    return Prediction(**values | changes)


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (
            judged(prediction_set=("meningioma", "glioma")),
            "Most like a meningioma: 91 % (calibrated). With 90 % coverage the answer is one of: a meningioma, a "
            "glioma.",
        ),
        (
            judged("notumor", 0.9999),
            "Most like a slice without a tumour: more than 99 % (calibrated). With 90 % coverage the answer is this "
            "one alone.",
        ),
        (
            judged(share=0.3, prediction_set=("meningioma", "glioma", "notumor", "pituitary")),
            "Most like a meningioma: 30 % (calibrated). With 90 % coverage the answer can be any of the 4 classes.",
        ),
        (
            judged(calibrated=False, prediction_set=None, coverage=None, out_of_distribution=None, ood_score=None),
            "Most like a meningioma: 91 % (not calibrated).",
        ),
        (
            judged(out_of_distribution=True),
            "This is not like the images that the model was trained on, so its answer should not be used. It would "
            "have been: a meningioma, 91 %.",
        ),
    ],
)
def test_the_sentence_says_what_matters_first(one: Prediction, text: str) -> None:
    assert sentence(one) == text


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("glioma", "a glioma"),
        ("Glioma_tumor", "a glioma"),
        ("pituitary", "a pituitary tumour"),
        ("pituitary tumour", "a pituitary tumour"),
        *(
            (name, "a slice without a tumour")
            for name in ("notumor", "no_tumor", "No Tumour", "healthy", "Normal", "no")
        ),
        ("yes", "a slice with a tumour"),
        ("Tumor", "a slice with a tumour"),
        ("glioma or meningioma or pituitary", "a glioma, a meningioma or a pituitary tumour"),
        ("Astrocitoma T1", "the class “Astrocitoma T1”"),
        ("<b>x</b>", "the class “<b>x</b>”"),
    ],
)
def test_classes_of_any_data_set_read_well(label: str, text: str) -> None:
    assert in_words(label) == text


def test_models_are_said_to_agree_or_not() -> None:
    glioma, other, refused = judged("glioma"), judged("meningioma"), judged("glioma", out_of_distribution=True)
    assert agreement({"A": glioma}) == ""
    assert agreement({"A": glioma, "B": glioma}) == "Both models agree: most like a glioma (A, B)."
    assert agreement({"A": glioma, "B": glioma, "C": glioma}).startswith("All 3 models agree")
    assert agreement({"A": glioma, "B": other, "C": glioma}) == (
        "The models disagree, so none of them should be relied on here: a glioma (A, C); a meningioma (B)."
    )
    assert agreement({"A": refused, "B": refused}) == (
        "To none of the models is the image like those that it was trained on."
    )
    assert agreement({"A": refused, "B": other}) == (
        "The image is not like those that A was trained on. One model only gives an answer: a meningioma (B)."
    )
    assert "The other 2 models agree" in agreement({"A": refused, "B": other, "C": other})


@pytest.mark.parametrize(
    ("labels", "agree"),
    [
        (("glioma", "glioma or meningioma or pituitary"), True),
        (("notumor", "glioma or meningioma or pituitary"), False),
        (("glioma", "yes"), True),
        (("no_tumor", "yes"), False),
        (("yes", "tumor"), True),
        (("healthy", "notumor"), True),
        (("glioma", "meningioma", "tumor"), False),
    ],
)
def test_models_of_other_classes_agree_where_one_image_can_be_both(labels: tuple[str, ...], agree: bool) -> None:
    text = agreement({name: judged(name) for name in labels})
    assert ("disagree" not in text) is agree


@pytest.mark.integration
def test_details_say_what_the_figures_mean(run: Edit) -> None:
    (model,) = open_models([str(run())])
    text = details(model.judge(slices(1, 3))[0], model)
    for words in (
        "Percentages: calibrated on validation images.",
        "made to hold the right one for 90 % of the images of each class; of the test images it did for ",
        "an image is refused",
        "Test accuracy: ",
        "on kaggle-4class",
        "ms by ONNX Runtime.",
    ):
        assert words in text
    assert re.search(r"differ from the share of right answers by \d+\.\d points", text)
    assert cautions(model.result) == []


def test_details_give_the_reason_where_a_part_is_missing(run: Edit) -> None:
    place = run(ood=None, ood_reason="No single last layer.", conformal=None, conformal_reason="Too few images.")
    (model,) = open_models([str(place)])
    text = details(model.judge(slices(1, 3))[0], model)
    assert "Plausible classes: none are given. Too few images." in text
    assert "Likeness: not checked. No single last layer." in text


def test_a_model_that_knows_simulated_slices_only_says_so_first(run: Edit) -> None:
    changes = {"data__simulated": True, "weights": "random"}
    (model,) = open_models([str(run(changes=changes))])
    first, _ = cautions(model.result)  # and that it had no pretrained weights
    assert first == "This model was trained on simulated slices only: what it says of a real image means nothing."


def test_a_model_without_a_record_says_that_nothing_is_known() -> None:
    model = cast(DemoModel, SimpleNamespace(result=None, uncertainty=None, backend="torch (why)"))
    (caution,) = cautions(model.result)
    assert "without a record" in caution
    text = details(judged(calibrated=False, prediction_set=None, coverage=None), model)
    assert text == "10 ms by torch (why)."


def test_an_answer_says_what_it_does_not_know() -> None:
    model = cast(DemoModel, SimpleNamespace(result=None, uncertainty=None))
    one = judged(type_doubtful=True, look=Look("T2/PD", "axial"))
    first, second = doubts(one, model)
    assert first.startswith("The type of tumour is doubtful: ")
    assert second == "Looks like T2/PD, axial."
    assert doubts(judged("notumor", type_doubtful=None, look=None), model) == []
