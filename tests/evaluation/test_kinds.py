"""What training images were, and what an answer about an image of another kind says."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainmri.data.phantom.generate import draw_slices, draw_subject
from brainmri.evaluation.kinds import (
    doubt_sentence,
    few_seen,
    look_sentence,
    tumours_like,
    type_doubtful,
    type_evidence,
)
from brainmri.evaluation.sequence import Look, head_view, looks, probabilities
from brainmri.io.sequence import FLAIR, OTHER, T1, T1_CONTRAST, T1_PLAIN, T2, UNKNOWN
from brainmri.schemas import KindCount, TrainingKinds, TypeEvidence

CLASSES = ["glioma", "meningioma", "notumor"]


def kinds(types: TypeEvidence | None = None) -> TrainingKinds:
    rows = {
        (T1_CONTRAST, "axial"): (60, 30, 10),
        (T1, "sagittal"): (50, 40, 0),
        (T2, "axial"): (2, 1, 300),
        (UNKNOWN, "axial"): (10, 7, 40),
    }
    counted = [
        KindCount(sequence=sequence, plane=plane, counts=dict(zip(CLASSES, counts, strict=True)))
        for (sequence, plane), counts in rows.items()
    ]
    return TrainingKinds(images=550, of=5000, kinds=counted, sites=["figshare"], types=types)


def evidence(low: float) -> TypeEvidence:
    return TypeEvidence(
        sites=["other"], n=100, groups=60, right=0.9, right_ci95=[low, 0.95], needed=0.8, proven=low >= 0.8
    )


@pytest.mark.parametrize(
    ("look", "found"),
    [
        (Look(T1_CONTRAST, "axial"), (90, 200)),
        (Look(T1_PLAIN, UNKNOWN), (90, 200)),  # T1 whose contrast agent is not known
        (Look(T1, UNKNOWN), (180, 200)),
        (Look(T2, "axial"), (3, 200)),
        (Look(FLAIR, "axial"), (0, 200)),
        (Look(UNKNOWN, "axial"), (110, 200)),
        (Look(UNKNOWN, UNKNOWN), None),
    ],
)
def test_tumours_of_the_same_kind_are_counted(look: Look, found: tuple[int, int] | None) -> None:
    assert tumours_like(kinds(), look) == found
    assert few_seen(kinds(), look) == (None if found is None else found[0] < 10)


def test_the_sentence_is_computed_from_the_counts() -> None:
    assert look_sentence(Look(T2, "axial"), kinds()) == (
        "Looks like T2/PD, axial: few tumours of this kind were seen in training (3 of 200 that were looked at)."
    )
    assert look_sentence(Look(T1, "sagittal", "file"), kinds()) == (
        "By its file T1; looks like sagittal: tumours of this kind were seen (90 of 200 that were looked at)."
    )
    assert look_sentence(Look(OTHER, UNKNOWN), kinds()).startswith("Looks like no T1, T2/PD or FLAIR: few")


def test_a_run_without_counts_says_nothing_of_them() -> None:
    assert look_sentence(Look(T2, "axial"), None) == "Looks like T2/PD, axial."
    assert few_seen(None, Look(T2, "axial")) is None


@pytest.mark.parametrize(
    ("label", "outside", "site", "known", "doubtful"),
    [
        ("glioma", False, "", kinds(), True),
        ("glioma", False, "elsewhere", kinds(), True),
        ("glioma", False, "figshare", kinds(), False),
        ("glioma", True, "figshare", kinds(), True),
        ("glioma", False, "", kinds(evidence(0.85)), False),
        ("glioma", False, "", kinds(evidence(0.75)), True),
        ("glioma", True, "", kinds(evidence(0.85)), True),
        ("glioma", False, "", None, True),
        ("notumor", True, "", kinds(), None),
    ],
)
def test_a_type_is_doubtful_outside_the_set(
    label: str, outside: bool, site: str, known: TrainingKinds | None, doubtful: bool | None
) -> None:
    assert type_doubtful(label, CLASSES, outside, site, known) is doubtful


def test_one_kind_of_tumour_has_no_type_to_doubt() -> None:
    assert type_doubtful("yes", ["no", "yes"], True, "", None) is None


def test_the_reason_of_a_doubt_holds_what_was_measured() -> None:
    assert "90 % [75, 95]" in doubt_sentence(False, kinds(evidence(0.75)))
    assert "nothing shows" in doubt_sentence(False, kinds())
    assert "unlike those of the training" in doubt_sentence(True, kinds())


def outside_data(wrong: int) -> SimpleNamespace:
    """40 tumours of a site that training lacked, and of one that it had, each in a group of its own."""
    label = ["glioma", "meningioma"] * 40
    site = ["figshare"] * 40 + ["other"] * 40
    index = pd.DataFrame({"label": label, "site": site, "split": "test", "group_id": [f"g{k}" for k in range(80)]})
    own = index.head(10).assign(split="train", group_id="h")
    index = pd.concat([own, index], ignore_index=True)
    said = np.array([CLASSES.index(name) for name in label])
    said[40 : 40 + wrong] = 1 - said[40 : 40 + wrong]  # the other type
    said[80 - 5 :] = 2  # called no tumour, so that no type was named
    probabilities = np.eye(3)[said]
    rows = {split: np.flatnonzero(index["split"] == split) for split in ("train", "test")}
    return SimpleNamespace(index=index, classes=CLASSES, rows=rows.__getitem__, probabilities=probabilities)


@pytest.mark.parametrize(("wrong", "right", "proven"), [(0, 1.0, True), (1, 34 / 35, True), (12, 23 / 35, False)])
def test_types_are_proven_on_sites_that_training_lacked(wrong: int, right: float, proven: bool) -> None:
    data = outside_data(wrong)
    found = type_evidence(data, data.probabilities)  # type: ignore[arg-type]
    assert found is not None
    assert (found.sites, found.n, found.groups) == (["other"], 35, 35)
    assert found.right == pytest.approx(right)
    assert found.proven is proven


def test_without_another_site_there_is_no_evidence() -> None:
    data = outside_data(0)
    data.index["site"] = ""
    assert type_evidence(data, data.probabilities) is None  # type: ignore[arg-type]


# ---------------------------------------------------------------------- the estimate
def test_what_the_file_says_counts_more_than_the_estimate() -> None:
    look = Look(T2, "axial")
    assert look.told("", "slice") == look
    assert look.told(FLAIR, "coronal") == Look(FLAIR, "coronal", "file", "file")


def test_the_head_fills_the_view_wherever_it_lies() -> None:
    values = np.zeros((200, 300), np.uint8)
    values[40:140, 100:180] = 200
    view = head_view(Image.fromarray(values))
    assert view.shape == (64, 64)
    assert (view[2:62, 10:54] > 100).mean() > 0.95
    moved = head_view(Image.fromarray(np.roll(values, (20, -60), (0, 1))))
    assert np.array_equal(view, moved)


@pytest.mark.parametrize("values", [np.zeros((40, 40)), np.full((33, 90), 255), np.eye(8) * 255])
def test_an_image_without_a_head_is_no_reason_to_fail(values: np.ndarray) -> None:
    (look,) = looks([Image.fromarray(values.astype(np.uint8))])
    assert look.sequence_from == look.plane_from == "picture"


def test_no_images_no_estimates() -> None:
    assert looks([]) == []


def test_the_estimate_is_a_probability_for_each() -> None:
    sequences, planes = probabilities(np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8))
    assert sequences.shape == (3, 5)
    assert planes.shape == (3, 3)
    assert sequences.sum(1) == pytest.approx(1)
    assert planes.sum(1) == pytest.approx(1)


def test_simulated_slices_are_told_apart() -> None:
    right = {"sequence": [], "plane": []}  # type: dict[str, list[bool]]
    for number in (0, 1, 4, 5):  # of T1 with contrast agent, and of T2
        rng = np.random.default_rng([7, number])
        subject = draw_subject(rng, number)
        sequence = T2 if subject.head.sequence == "t2" else T1
        slices = draw_slices(rng, subject, 6, 96)
        for (plane, *_), look in zip(slices, looks([Image.fromarray(image) for _, _, image, _ in slices]), strict=True):
            right["sequence"] += [look.sequence == sequence] * (look.sequence != UNKNOWN)
            right["plane"] += [look.plane == plane] * (look.plane != UNKNOWN)
    for answers in right.values():
        assert len(answers) >= 12  # of 24 it is sure of half
        assert np.mean(answers) >= 0.85
