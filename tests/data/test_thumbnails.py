import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from brainmri.data.duplicates.grouping import find_groups
from brainmri.data.phantom.generate import draw_slices, draw_subject
from brainmri.data.thumbnails import content_thumbnail, thumbnail

from .sources import noise


def test_thumbnail_is_the_mean_of_boxes():
    values = noise(4, (128, 128))
    small = thumbnail(Image.fromarray(values))
    assert (small.shape, small.dtype) == ((64, 64), np.uint8)
    assert np.abs(small - values.reshape(64, 2, 64, 2).mean((1, 3))).max() <= 1
    assert thumbnail(Image.fromarray(noise(2, (24, 20, 3))), 16).shape == (16, 16)


@pytest.fixture(scope="module")
def slices() -> list[Image.Image]:
    """Simulated slices of 24 heads, one of each."""
    found = []
    for number in range(24):
        rng = np.random.default_rng([0, number])
        found.append(Image.fromarray(draw_slices(rng, draw_subject(rng, number), 1, 224)[0][2]))
    return found


@pytest.fixture(scope="module")
def head() -> Image.Image:
    """A bright oval with stripes on black, not in the middle."""
    y, x = np.mgrid[:240, :200]
    inside = ((x - 110) / 60) ** 2 + ((y - 120) / 90) ** 2 < 1
    return Image.fromarray((inside * (130 + 60 * np.sin(x / 9) + 60 * np.sin(y / 7))).astype(np.uint8))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: ImageOps.expand(image, 30),
        lambda image: ImageOps.expand(image, (0, 10, 60, 0)),
        lambda image: ImageOps.expand(image, 12, 255),
        lambda image: ImageOps.expand(image, 12, 90),
        lambda image: image.crop((20, 10, 190, 230)),
    ],
)
def test_content_is_the_same_whatever_the_border(head, change):
    before, after = (content_thumbnail(image).astype(float) for image in (head, change(head)))
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.98
    assert np.corrcoef(before.ravel(), thumbnail(change(head)).ravel())[0, 1] < 0.9


def test_content_of_images_without_a_border_is_the_whole():
    noise = np.random.default_rng(0).integers(0, 256, (80, 80), dtype=np.uint8)
    for values in (noise, np.full((80, 80), 7, np.uint8), np.pad(noise[:3, :3], ((40, 37), (40, 37)))):
        image = Image.fromarray(values)
        np.testing.assert_array_equal(content_thumbnail(image), thumbnail(image))


def as_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return Image.open(file)


@pytest.mark.integration
@pytest.mark.parametrize("level", [255, 180, 128])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.12])
def test_a_light_frame_makes_no_two_heads_one(slices, level, share):
    framed = [as_jpeg(ImageOps.expand(image, round(share * image.width), level)) for image in slices]
    pictures = [*slices, *framed]
    found = find_groups(
        np.stack([thumbnail(image) for image in pictures]),
        [""] * len(pictures),
        contents=np.stack([content_thumbnail(image) for image in pictures]),
    )
    np.testing.assert_array_equal(found.group, [*range(24), *range(24)])
    np.testing.assert_array_equal(found.image, found.group)


def test_a_light_background_is_no_frame(slices):
    for image in slices:
        inverted = ImageOps.invert(image)
        np.testing.assert_array_equal(thumbnail(inverted), inverted.resize((64, 64), Image.Resampling.BOX))
