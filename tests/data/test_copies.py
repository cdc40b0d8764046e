"""Copies that were turned by 90 degrees, inverted or cut inside the head, among images that are all different."""

from dataclasses import astuple

import numpy as np
import pytest
from PIL import Image, ImageOps

from brainmri.data.duplicates import crops
from brainmri.data.duplicates.copies import BOTH, CUT, INVERTED, TURNED, Copies, find_copies
from brainmri.data.duplicates.similarity import fine_structure
from brainmri.data.phantom.generate import draw_slices, draw_subject
from brainmri.data.thumbnails import thumbnail

COUNT = 24


@pytest.fixture(scope="module")
def slices() -> list[Image.Image]:
    """One slice each of as many subjects, in all planes."""
    found = []
    for number in range(COUNT):
        rng = np.random.default_rng([8, number])
        found.append(Image.fromarray(draw_slices(rng, draw_subject(rng, number), 1, 128)[0][2]))
    return found


def copies_of(images: list[Image.Image]) -> Copies:
    return find_copies(np.stack([thumbnail(image) for image in images]), np.arange(len(images)))


def pairs(found: Copies) -> set[tuple[int, int]]:
    return {
        (min(one, other), max(one, other))
        for one, other in zip(found.first.tolist(), found.second.tolist(), strict=True)
    }


def test_strangers_are_no_copies(slices: list[Image.Image]) -> None:
    assert pairs(copies_of(slices)) == set()


def test_quarter_turns_and_negatives_are_found(slices: list[Image.Image]) -> None:
    changed = [
        slices[0].transpose(Image.Transpose.ROTATE_90),
        slices[1].transpose(Image.Transpose.ROTATE_270).point(lambda value: round(255 * (value / 255) ** 0.8)),
        slices[2].transpose(Image.Transpose.TRANSPOSE),
        slices[3].transpose(Image.Transpose.TRANSVERSE),
        ImageOps.invert(slices[4]),
        ImageOps.invert(ImageOps.mirror(slices[5])),
        ImageOps.invert(slices[6].transpose(Image.Transpose.ROTATE_90)),
    ]
    found = copies_of([*slices, *changed])
    assert pairs(found) == {(number, COUNT + number) for number in range(7)}
    order = np.argsort(found.first)
    assert [found.form[row] for row in order] == [TURNED] * 4 + [INVERTED] * 2 + [BOTH]
    assert found.similarity.min() > 0.9


@pytest.mark.parametrize("mirrored", [False, True])
def test_cut_images_are_found_in_both_directions(slices: list[Image.Image], mirrored: bool) -> None:
    def cut(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
        box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
        part = image.crop(tuple(round(edge) for edge in box)).resize((150, 150))
        return ImageOps.mirror(part) if mirrored else part

    parts = [
        cut(slices[0], 0.1, 0.1, 0.9, 0.9),
        cut(slices[1], 0, 0.05, 0.8, 0.85),
        cut(slices[2], 0.12, 0.2, 0.92, 1),
        cut(slices[3], 0.08, 0, 1, 0.9),
        cut(slices[4], 0, 0.12, 1, 1),  # of one side alone: the window is no square
    ]
    wanted = {(number, COUNT + number) for number in range(5)}
    found = copies_of([*slices, *parts])
    assert pairs(found) == wanted
    assert set(found.form) == {CUT}
    assert (found.first < found.second).all()  # the whole comes first
    last = COUNT + len(parts) - 1
    assert pairs(copies_of([*slices, *parts][::-1])) == {(last - other, last - one) for one, other in wanted}


def test_windows_made_in_small_blocks_give_the_same_pairs(
    slices: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    details = fine_structure(np.stack([thumbnail(image) for image in slices]), crops.SIGMA)
    monkeypatch.setattr(crops, "CANDIDATES", 3)  # of 23: what later blocks find drives out what earlier ones found
    monkeypatch.setattr(crops, "LIKE", 0.2)
    at_once = crops._candidates(details)
    monkeypatch.setattr(crops, "BLOCK", 5)
    in_blocks = crops._candidates(details)
    assert len(at_once.whole) > 2 * COUNT and np.bincount(at_once.part).max() == 3
    assert (at_once.whole // 5 != at_once.part // 5).any()
    for one, other in zip(astuple(at_once), astuple(in_blocks), strict=True):
        np.testing.assert_array_equal(one, other)


def test_blank_images_and_images_known_to_be_the_same_are_left_out(slices: list[Image.Image]) -> None:
    blank = [Image.new("L", (64, 64), grey) for grey in (0, 90, 255)]
    turned = slices[0].transpose(Image.Transpose.ROTATE_90)
    images = np.stack([thumbnail(image) for image in [*blank, slices[0], slices[0], turned]])
    found = find_copies(images, np.array([0, 0, 0, 1, 1, 2]))
    assert (found.first.tolist(), found.second.tolist(), found.form) == ([3], [5], [TURNED])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images_have_no_copies(slices: list[Image.Image], count: int) -> None:
    thumbnails = np.array([thumbnail(image) for image in slices[:count]], np.uint8).reshape(count, 64, 64)
    assert pairs(find_copies(thumbnails, np.arange(count))) == set()
