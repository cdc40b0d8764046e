"""The phantom set: what a user finds in the folder, and that it is neither guessable nor label noise."""

import csv
import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainmri.data.duplicates.grouping import find_groups
from brainmri.data.masks import polygon_mask, polygons_of, read_polygons
from brainmri.data.phantom import generate
from brainmri.data.phantom.generate import CLASSES, PLANES, draw_slices, draw_subject, make_phantom
from brainmri.data.statistics import global_statistics
from brainmri.data.thumbnails import thumbnail
from brainmri.metrics.baselines import (
    majority_accuracy,
    nearest_neighbour_accuracy,
    statistics_accuracy,
)

TINY = {"subjects": 12, "size": 48, "slices_per_subject": 4, "progress": False}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom(tmp_path_factory.mktemp("phantom") / "tiny", **TINY)


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "medium"
    return make_phantom(folder, seed=3, subjects=72, size=64, slices_per_subject=4, progress=False)


def read_groups(folder: Path) -> dict[str, str]:
    with (folder / "groups.csv").open(newline="") as file:
        return {row["file_name"]: row["group_id"] for row in csv.DictReader(file)}


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_arguments_give_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    assert hashes(make_phantom(tmp_path / "again", **TINY)) == hashes(tiny)


def test_another_seed_gives_other_images(tiny: Path, tmp_path: Path) -> None:
    first, second = hashes(tiny), hashes(make_phantom(tmp_path / "other", seed=1, **TINY))
    images = [name for name in first if name.endswith(".png") and name in second]
    assert images and all(first[name] != second[name] for name in images)


def test_a_subject_does_not_depend_on_how_many_there_are(tiny: Path, tmp_path: Path) -> None:
    fewer = hashes(make_phantom(tmp_path / "fewer", **{**TINY, "subjects": 8}))
    more = hashes(tiny)
    assert all(more[name] == value for name, value in fewer.items() if name.endswith(".png"))


def test_every_lesion_has_an_outline_and_no_healthy_slice_has(tiny: Path) -> None:
    outlines = read_polygons(tiny / "outlines.csv")
    assert set(outlines) == {name for name in read_groups(tiny) if not name.startswith("notumor")}


def test_an_outline_encloses_the_lesion() -> None:
    subject = draw_subject(rng := np.random.default_rng([0, 1]), 1)
    for _, _, _, solid in draw_slices(rng, subject, 6, 96):
        polygons = [np.array(json.loads(text)) for text in polygons_of(solid)]
        assert (polygon_mask(polygons, 96) != solid).sum() <= 0.03 * solid.sum() + 2


def test_folder_holds_four_classes_in_three_planes_and_their_subjects(tiny: Path) -> None:
    groups = read_groups(tiny)
    assert set(groups) == {name for name in hashes(tiny) if name.endswith(".png")}
    assert {name.split("/")[0] for name in groups} == set(CLASSES) == {"glioma", "meningioma", "notumor", "pituitary"}
    planes, labels = defaultdict(set), defaultdict(set)
    for name, group in groups.items():
        label, stem = name.split("/")
        subject, plane, _ = stem.split("_")
        assert subject == group
        planes[group].add(plane)
        labels[group].add(label)
    assert len(planes) == 12
    assert all(found == set(PLANES) for found in planes.values())
    assert all(len(found) == 1 for found in labels.values())
    assert Counter(label for found in labels.values() for label in found) == dict.fromkeys(CLASSES, 3)


def test_images_are_grey_8_bit_of_the_asked_size_and_not_empty(tiny: Path) -> None:
    for path in tiny.rglob("*.png"):
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (48, 48))
            levels = np.asarray(image)
        assert 0.15 < (levels > 30).mean() < 0.95  # a head on a dark ground


def test_default_set_is_large_enough_and_mildly_unbalanced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blank(rng: object, subject: generate.Subject, plane: str, offset: float, shift: object, size: int) -> tuple:
        assert size == 128
        return np.zeros((8, 8), np.uint8), np.zeros((8, 8), bool)

    monkeypatch.setattr(generate, "_draw_slice", blank)  # the counts alone, without twenty seconds of drawing
    groups = read_groups(make_phantom(tmp_path / "default", progress=False))
    counts = Counter(name.split("/")[0] for name in groups)
    assert len(set(groups.values())) >= 60
    assert 1000 <= len(groups) <= 1400
    assert 1.2 < max(counts.values()) / min(counts.values()) < 2
    for label in CLASSES:
        assert {name.split("_")[1] for name in groups if name.startswith(label)} == set(PLANES)


@pytest.mark.parametrize("number", [0, 1, 3, 4, 5, 7])  # two subjects of each tumour class
def test_every_slice_of_a_tumour_subject_shows_the_lesion(number: int) -> None:
    rng = np.random.default_rng([5, number])
    subject = draw_subject(rng, number)
    slices = draw_slices(rng, subject, count=9, size=64)
    assert subject.label != "notumor"
    assert Counter(plane for plane, *_ in slices) == dict.fromkeys(PLANES, 3)
    pixel = (generate.FIELD_OF_VIEW_MM / 64 * subject.zoom) ** 2
    assert min(solid.sum() for *_, solid in slices) * pixel >= generate.SMALLEST_CUT_MM2


@pytest.mark.parametrize("number", [0, 1, 3])
def test_the_lesion_is_all_that_separates_a_tumour_subject_from_a_healthy_one(number: int) -> None:
    images = []
    for label in (None, "notumor"):
        rng = np.random.default_rng([7, number])
        subject = draw_subject(rng, number)
        if label:
            subject = replace(subject, label=label)
        images.append(draw_slices(rng, subject, count=3, size=64))
    for (_, _, ill, solid), (_, _, healthy, _) in zip(*images, strict=True):
        difference = np.abs(ill.astype(float) - healthy)
        assert difference[solid].mean() > 12  # it can be seen,
        rows, columns = np.nonzero(solid)
        far = np.ones_like(solid)
        far[max(rows.min() - 24, 0) : rows.max() + 25, max(columns.min() - 24, 0) : columns.max() + 25] = False
        assert difference[far].sum() == 0  # and nothing far from it gives it away


def test_healthy_subjects_are_cut_where_each_kind_of_lesion_would_be() -> None:
    healthy = [draw_subject(np.random.default_rng([0, number]), number) for number in range(2, 74, 4)]
    assert {subject.label for subject in healthy} == {"notumor"}
    pairs = Counter((type(subject.lesion).__name__, subject.head.sequence) for subject in healthy)
    assert {lesion for lesion, _ in pairs} == {"Glioma", "Meningioma", "Pituitary"}
    assert {sequence for _, sequence in pairs} == {"t1c", "t2"}
    assert all((lesion, "t2") in pairs for lesion in ("Glioma", "Meningioma", "Pituitary"))


def test_trivial_floors_are_far_below_what_a_network_reaches(medium: Path) -> None:
    groups = read_groups(medium)
    names = sorted(groups)
    labels = np.array([name.split("/")[0] for name in names])
    images = [Image.open(medium / name) for name in names]
    thumbs = np.stack([thumbnail(image) for image in images])
    statistics = np.stack([global_statistics(image) for image in images])
    test = np.array([int(groups[name][1:]) % 20 < 4 for name in names])  # one subject of each class in five
    assert majority_accuracy(labels[~test], labels[test]) < 0.4
    assert nearest_neighbour_accuracy(thumbs[~test], labels[~test], thumbs[test], labels[test]) < 0.65
    assert statistics_accuracy(statistics[~test], labels[~test], statistics[test], labels[test]) < 0.55


def test_subjects_are_not_taken_for_one_another(medium: Path) -> None:
    groups = read_groups(medium)
    thumbs = np.stack([thumbnail(Image.open(medium / name)) for name in groups])
    found = find_groups(thumbs, list(groups.values()))
    assert len(set(found.group.tolist())) == len(set(groups.values())) == 72


def test_a_run_that_dies_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(rng: np.random.Generator, number: int) -> generate.Subject:
        if number == 3:
            raise KeyboardInterrupt
        return draw_subject(rng, number)

    monkeypatch.setattr(generate, "draw_subject", die)
    with pytest.raises(KeyboardInterrupt):
        make_phantom(tmp_path / "set", **TINY)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tiny: Path) -> None:
    before = hashes(tiny)
    with pytest.raises(ValueError, match="exists already"):
        make_phantom(tiny, **TINY)
    assert hashes(tiny) == before


def test_an_empty_folder_and_missing_parents_are_accepted(tmp_path: Path) -> None:
    settings = {**TINY, "subjects": 4}
    (tmp_path / "empty").mkdir()
    assert hashes(make_phantom(tmp_path / "empty", **settings)) == hashes(
        make_phantom(tmp_path / "a" / "b", **settings)
    )


@pytest.mark.parametrize(("name", "value"), [("subjects", 3), ("size", 16), ("slices_per_subject", 2)])
def test_numbers_out_of_range_are_named(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}, but must be at least"):
        make_phantom(tmp_path / "set", **{**TINY, name: value})
    assert list(tmp_path.iterdir()) == []
