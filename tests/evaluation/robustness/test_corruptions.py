"""What each strength does to images, in the units that are told."""

import numpy as np
import pytest

from brainmri.data.phantom.generate import make_phantom
from brainmri.evaluation.robustness import read_image
from brainmri.transforms.corruptions import CORRUPTIONS, STRENGTHS, Pixels, corrupted


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pixels]:
    """Simulated slices of 192 pixels by file name."""
    raw = make_phantom(
        tmp_path_factory.mktemp("raw") / "raw", subjects=4, size=192, slices_per_subject=4, progress=False
    )
    return {path.name: read_image(path) for path in sorted(raw.rglob("*.png"))}


def strength_of(kind: str, value: float) -> int:
    return CORRUPTIONS[kind].values.index(value) + 1


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_no_strength_is_no_change_and_more_strength_is_more_damage(kind: str, slices: dict[str, Pixels]) -> None:
    damage = np.zeros(STRENGTHS + 1)
    for name, image in slices.items():
        kept = image.copy()
        levels = [corrupted(image, kind, strength, name) for strength in range(STRENGTHS + 1)]
        assert (image == kept).all()  # the corruption is made on a copy
        assert (levels[0] == image).all()
        assert {(level.dtype, level.shape) for level in levels} == {(np.dtype(np.uint8), image.shape)}
        damage += [np.abs(level.astype(float) - image).mean() for level in levels]
    # On average: what is cut off further may by chance be more like the image.
    assert (np.diff(damage) > 0).all(), damage


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_file_gets_the_same_picture_at_every_call_and_another_file_its_own(
    kind: str, slices: dict[str, Pixels]
) -> None:
    image = next(iter(slices.values()))
    a, again, *others = (corrupted(image, kind, 3, name) for name in ["a.png", "a.png", *"bcdefghij"])
    assert (a == again).all()
    if kind in ("rotation", "noise", "bias field"):
        assert any((a != other).any() for other in others)
    else:
        assert all((a == other).all() for other in others)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_grey_images_stay_grey_whether_they_have_one_channel_or_three(kind: str, slices: dict[str, Pixels]) -> None:
    grey = next(iter(slices.values()))
    assert grey.ndim == 2
    found = corrupted(np.stack([grey] * 3, axis=2), kind, 4, "a.png")
    assert (found == corrupted(grey, kind, 4, "a.png")[:, :, None]).all()
    coloured = np.stack([grey, grey[::-1], grey], axis=2)
    found = corrupted(coloured, kind, 2, "a.png")
    assert (found.shape, found.dtype) == (coloured.shape, np.uint8)
    assert (found[:, :, 0] != found[:, :, 1]).any()


def test_rotation_turns_by_so_many_degrees() -> None:
    image = np.zeros((201, 201), np.uint8)
    image[98:103, 178:183] = 255  # 80 pixels to the right of the middle
    signs = set()
    for name in "abcdefgh":
        found = corrupted(image, "rotation", strength_of("rotation", 30), name)
        y, x = np.average(np.indices(found.shape).reshape(2, -1), axis=1, weights=found.ravel()) - 100
        assert abs(np.degrees(np.arctan2(y, x))) == pytest.approx(30, abs=1)
        signs.add(float(np.sign(y)))
    assert signs == {-1, 1}


def test_blur_has_the_told_standard_deviation() -> None:
    image = np.zeros((200, 300), np.uint8)
    image[98:103, 148:153] = 255
    found = corrupted(image, "blur", strength_of("blur", 2.5), "a").astype(float)  # of 200 pixels: 5
    x = np.arange(300)
    columns = found.sum(axis=0)
    variance = np.average((x - np.average(x, weights=columns)) ** 2, weights=columns)
    assert variance == pytest.approx(5**2 + (5**2 - 1) / 12, rel=0.05)  # that of the square comes on top


def test_noise_is_rician_of_the_told_standard_deviation() -> None:
    deviation = 0.08 * 255
    for level, mean, spread in [(128, 129.6, 1.0), (0, np.sqrt(np.pi / 2) * deviation, np.sqrt(2 - np.pi / 2))]:
        found = corrupted(np.full((200, 200), level, np.uint8), "noise", strength_of("noise", 8), "a").astype(float)
        assert found.mean() == pytest.approx(mean, rel=0.01)
        assert found.std() == pytest.approx(spread * deviation, rel=0.02)


def test_contrast_is_lowered_about_the_mean(slices: dict[str, Pixels]) -> None:
    for image in slices.values():
        found = corrupted(image, "contrast", strength_of("contrast", 40), "a")
        assert found.mean() == pytest.approx(image.mean(), abs=1)
        assert found.std() / image.std() == pytest.approx(0.4, abs=0.02)


def test_a_bias_field_has_the_told_range_and_is_smooth() -> None:
    found = corrupted(np.full((100, 140), 100, np.uint8), "bias field", strength_of("bias field", 40), "a").astype(int)
    assert (found.min(), found.max()) == (80, 120)
    assert max(np.abs(np.diff(found, axis=axis)).max() for axis in (0, 1)) <= 3


def test_jpeg_is_a_real_round_trip(slices: dict[str, Pixels]) -> None:
    for name, image in slices.items():
        strength = strength_of("JPEG", 10)
        once = corrupted(image, "JPEG", strength, name)
        twice = corrupted(once, "JPEG", strength, name)
        # A decoded JPEG has nearly only what the same quality keeps.
        assert np.abs(twice.astype(float) - once).mean() < 0.2 * np.abs(once.astype(float) - image).mean()


def test_cropping_cuts_the_told_share_of_each_side() -> None:
    ramp = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    found = corrupted(ramp, "cropping", strength_of("cropping", 16), "a")
    assert (int(found[50, 0]), int(found[50, -1])) == (pytest.approx(32, abs=1), pytest.approx(167, abs=1))
    upright = corrupted(np.ascontiguousarray(ramp.T), "cropping", strength_of("cropping", 16), "a")
    assert (int(upright[0, 9]), int(upright[-1, 9])) == (pytest.approx(32, abs=1), pytest.approx(167, abs=1))
