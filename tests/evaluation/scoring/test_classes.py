"""Whose class is whose: names that differ in writing, maps, merged and missing classes."""

import numpy as np
import pytest

from brainmri.cli import evaluate
from brainmri.evaluation.class_mapping import MOST_UNKNOWN, match_classes, read_map

from ...conftest import CLASSES

TUMORS = "glioma or meningioma or pituitary"


def test_names_match_whatever_case_spaces_and_dashes() -> None:
    match = match_classes(["No Tumor", "GLIOMA", "Meningioma-", "pituitary"], CLASSES, [])
    assert match.scored_as == ["notumor", "glioma", "meningioma", "pituitary"]
    assert match.classes == match.scored_as  # the model's order
    assert match.data_classes == {name: name for name in CLASSES}
    assert match.renamed[0] == "No Tumor (model) is scored as notumor"
    assert (match.unknown_to_model, match.unknown_to_data) == ([], [])
    probabilities = np.array([[0.1, 0.2, 0.3, 0.4]])
    assert match.scored(probabilities).tolist() == probabilities.tolist()


def test_a_map_names_the_others_and_adds_up() -> None:
    pairs = read_map("no_tumor=notumor, glioma high grade = glioma,glioma low grade=Glioma,")
    model = ["no_tumor", "glioma high grade", "glioma low grade", "Meningioma", "pituitary"]
    match = match_classes(model, CLASSES, pairs)
    assert match.scored_as == ["notumor", "glioma", "glioma", "meningioma", "pituitary"]
    np.testing.assert_allclose(match.scored(np.array([[0.1, 0.2, 0.3, 0.4, 0]])), [[0.1, 0.5, 0.4, 0]])


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (["notumor", TUMORS], ""),
        (["No_Tumor", "glioma_or_meningioma_or_pituitary"], ""),
        (["healthy", "tumor"], f"healthy=notumor,tumor={TUMORS}"),
        (["notumor", "tumor"], f"{TUMORS}=tumor"),  # the data's side may stand first
        (["notumor", TUMORS, "glioma"], ""),  # overlaps become one
    ],
)
def test_two_classes_merge_those_of_the_data(model: list[str], text: str) -> None:
    match = match_classes(model, CLASSES, read_map(text))
    assert match.classes == ["notumor", TUMORS]
    assert match.data_classes == {name: "notumor" if name == "notumor" else TUMORS for name in CLASSES}


def test_a_merged_class_whose_parts_the_data_has_in_part() -> None:
    match = match_classes(["notumor", TUMORS], ["glioma", "notumor"], [])
    assert match.data_classes == {"glioma": "glioma", "notumor": "notumor"}
    pairs = read_map("glioma=tumor")
    many = match_classes(["notumor", "glioma", "meningioma"], ["tumor", "no tumor"], pairs)
    assert (many.unknown_to_data, many.unknown_to_model) == (["meningioma"], [])
    two = match_classes(["notumor", TUMORS], ["tumor", "no tumor"], read_map(f"{TUMORS}=tumor"))
    assert two.classes == ["no tumor", "tumor"]


def test_what_one_side_does_not_know() -> None:
    pairs = read_map("-=meningioma,-=Pituitary")
    match = match_classes(["glioma", "notumor", "metastasis"], CLASSES, pairs)
    assert match.unknown_to_model == ["meningioma", "pituitary"]
    assert match.unknown_to_data == ["metastasis"]
    assert match.classes == ["glioma", "notumor", "metastasis"]


@pytest.mark.parametrize(
    ("model", "data", "suggested"),
    [
        (CLASSES, ["glioma_tumor", "no_tumor"], "glioma=glioma_tumor"),  # no_tumor matches by itself
        (
            ["glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor"],
            CLASSES,
            "glioma_tumor=glioma,meningioma_tumor=meningioma,pituitary_tumor=pituitary",
        ),
        (CLASSES, ["Brain Glioma", "healthy", "metastasis"], "glioma=Brain Glioma,notumor=healthy,-=metastasis"),
        (CLASSES, ["tumor", "normal"], "glioma=tumor,meningioma=tumor,pituitary=tumor,notumor=normal"),
        (["no", "yes"], CLASSES, "no=notumor,yes=glioma or meningioma or pituitary"),
        (["negative", "Glioblastoma"], ["glioma", "healthy"], "Glioblastoma=glioma,negative=healthy"),
        (CLASSES, ["HGG", "LGG", "normal"], "glioma=HGG or LGG,notumor=normal"),
        (CLASSES, ["glioma", "notumor", "metastasis"], "-=metastasis"),  # the others match by themselves
    ],
)
def test_unknown_names_stop_with_the_line_to_paste(model: list[str], data: list[str], suggested: str) -> None:
    with pytest.raises(ValueError, match="no class of the model has this name") as error:
        match_classes(model, data, [])
    message = str(error.value)
    assert message.endswith(f': --map "{suggested}"')
    assert "\n" not in message
    match = match_classes(model, data, read_map(suggested))  # what is pasted is accepted, and knows every class
    assert {name for name, scored in match.data_classes.items() if scored is None} <= {"metastasis"}


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        (["--map", "-=metastasis"], ["-=metastasis"]),
        (["--map=-=metastasis"], ["-=metastasis"]),
        (["--map", "a=b", "--map", "-=c"], ["a=b", "-=c"]),
    ],
)
def test_a_class_to_leave_out_is_no_flag(words: list[str], pairs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["evaluate", "MODEL", "--data", "DATA", *words])
    assert evaluate.parse_arguments().map == pairs


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        (CLASSES, "no_tumor", "--map no_tumor: expected MODEL_CLASS=DATA_CLASS"),
        (CLASSES, "a=b=c", "--map a=b=c: expected"),
        (CLASSES, "gliom=glioma", "the model has no class gliom, its classes are glioma, meningioma"),
        (["a", "b"], "a=gliom", "the data has no class gliom, its classes are glioma, meningioma"),
        (["a", "b"], "a=glioma or b", "the data has no class glioma or b"),
        (["a", "b"], "a=glioma,A=notumor", "--map names a of the model more than once"),
        (["LABEL_0", "LABEL_1"], "", r"its classes are LABEL_0, LABEL_1.* as in --map LABEL_0=glioma,\.\.\."),
        (["a", "b"], "a=glioma,b=glioma", "all classes of the model are scored as glioma"),
        (["glioma", "b"], "-=b", "--map -=b: the data has no class b"),
        ([*CLASSES, *map(str, range(MOST_UNKNOWN + 1))], "", "21 of the model's 25 classes"),
    ],
)
def test_mistakes_are_told(model: list[str], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        match_classes(model, CLASSES, read_map(text))
