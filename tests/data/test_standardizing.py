"""Images of one frame and one scale of grey, and their outlines with them."""

import json

import numpy as np
import pytest
from PIL import Image

from brainmri.data.dataset import open_prepared
from brainmri.data.prepare import prepare
from brainmri.data.standardize import LEVELS, head_box, standardized

from .sources import contents, save


def head(brightness: float, left: int, width: int, height: int = 60) -> np.ndarray:
    """An ellipse on black, 100 x 120: uint8."""
    y, x = np.mgrid[:100, :120]
    radius = ((x - left - width / 2) / (width / 2)) ** 2 + ((y - 50) / (height / 2)) ** 2
    return np.where(radius < 1, brightness * (1.5 - 0.8 * radius), 0).clip(0, 255).astype(np.uint8)


def test_the_frame_is_the_square_around_the_head_wherever_it_was() -> None:
    for left, width in ((5, 40), (70, 40), (20, 90)):
        image, (x, y, side) = standardized(Image.fromarray(head(120, left, width)), ["crop"])
        assert image.size == (side, side)
        x0, y0, x1, y1 = head_box(np.asarray(image))
        assert abs((x0 + x1) / 2 - side / 2) <= 1 and abs((y0 + y1) / 2 - side / 2) <= 1
        assert max(x1 - x0, y1 - y0) / side == pytest.approx(1 / 1.04, abs=0.03)
        assert (x0 + x, y0 + y) == head_box(head(120, left, width))[:2]


def test_levels_become_the_same_whatever_the_scanner_made_of_them() -> None:
    one, other = (np.asarray(standardized(Image.fromarray(head(level, 20, 80)), ["levels"])[0]) for level in (60, 150))
    assert one[0, 0] == other[0, 0] == 0
    inside = one > 10
    assert np.abs(one[inside].astype(int) - other[inside]).mean() < 4
    assert np.median(one[inside]) == pytest.approx(LEVELS[2], abs=3)


def test_colours_and_empty_images_pass() -> None:
    image = np.stack([head(100, 20, 80), head(50, 20, 80), head(100, 20, 80)], axis=2)
    assert standardized(Image.fromarray(image), ["crop", "levels"])[0].mode == "RGB"
    black = Image.fromarray(np.zeros((30, 40), np.uint8))
    assert np.asarray(standardized(black, ["crop", "levels"])[0]).max() == 0


@pytest.fixture
def heads(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("glioma", "notumor"):
        for number in range(12):
            image = head(90 + 5 * number, 10 + 2 * number, 50 + number)
            noisy = (image * rng.uniform(0.6, 1, image.shape)).astype(np.uint8)
            save(noisy, tmp_path / "source" / label / f"{label}_{number:02d}.png")
    return tmp_path / "source"


def test_a_prepared_set_says_what_was_done_and_moves_its_outlines(heads, tmp_path) -> None:
    before = contents(heads)
    triangle = [[0.3, 0.4], [0.5, 0.4], [0.4, 0.6]]
    (tmp_path / "source.outlines.csv").write_text(f'path,polygon\nglioma/glioma_03.png,"{json.dumps(triangle)}"\n')
    plain = open_prepared(prepare(heads, tmp_path / "plain"))
    changed = open_prepared(prepare(heads, tmp_path / "changed", standardize=["crop", "levels"]))
    assert contents(heads) == before
    assert changed.info.settings.standardize == ["crop", "levels"]
    assert changed.info.name == "source, standardized (crop, levels)"
    assert changed.info.fingerprint != plain.info.fingerprint
    columns = ["label", "split", "group_id", "duplicate_id", "source"]  # groups are those of the images as they were
    assert changed.index[columns].equals(plain.index[columns])
    x0, y0, x1, y1 = head_box(np.asarray(Image.open(heads / "glioma/glioma_03.png")))
    (polygon,) = changed.outlines()["glioma/glioma_03.png"]
    side = round(1.04 * max(x1 - x0, y1 - y0))
    left, top = (x0 + x1 - side) // 2, (y0 + y1 - side) // 2
    expected = (np.array(triangle) * (120, 100) - (left, top)) / side
    np.testing.assert_allclose(polygon, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("steps", "message"),
    [(["crop", "zscore"], "zscore: expected crop or levels"), (["crop", "crop"], "each step once")],
)
def test_unknown_steps_stop_before_any_work(heads, tmp_path, steps, message) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(heads, tmp_path / "out", standardize=steps)
    assert not (tmp_path / "out").exists()
