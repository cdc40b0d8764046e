"""The map over the image, and its legend."""

import re

import numpy as np
import pytest
from PIL import Image

from brainmri.reporting.overlay import colours, legend, overlay


def grey_and_map() -> tuple[Image.Image, np.ndarray]:
    grey = Image.fromarray(np.full((10, 20), 100, np.uint8))
    return grey, np.tile(np.linspace(0, 1, 20, dtype=np.float32), (10, 1))


def test_the_image_stays_where_the_map_is_cold_and_takes_colour_where_it_is_hot() -> None:
    grey, found = grey_and_map()
    pixels = np.asarray(overlay(grey, found, 1.0)).astype(int)
    assert pixels.shape == (10, 20, 3)
    assert (pixels[:, 0] == 100).all()
    assert np.abs(pixels[0, -1] - colours()[-1]).max() <= 1
    changed = np.abs(pixels[0] - 100).max(axis=1)
    assert (np.diff(changed[:10]) >= 0).all()


def test_opacity_goes_from_the_plain_image_to_the_full_colour() -> None:
    grey, found = grey_and_map()
    assert (np.asarray(overlay(grey, found, 0)) == 100).all()
    weak, strong = (np.asarray(overlay(grey, found, value)).astype(int)[0, -1] for value in (0.3, 0.9))
    assert np.abs(weak - 100).max() < np.abs(strong - 100).max()
    colour = Image.new("RGB", (20, 10), (10, 200, 90))
    assert overlay(colour, np.zeros((10, 20), np.float32), 0.7).getpixel((3, 3)) == (10, 200, 90)


def test_the_colours_grow_lighter_evenly() -> None:
    luminance = colours().astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(luminance) >= -0.5).all()
    assert luminance[-1] - luminance[0] > 90


def test_what_does_not_fit_is_refused() -> None:
    grey, found = grey_and_map()
    with pytest.raises(ValueError, match="10x20 does not fit"):
        overlay(grey, found.T, 0.5)
    with pytest.raises(ValueError, match="from 0 to 1"):
        overlay(grey, found, 50)


def test_the_legend_says_in_words_what_the_colours_mean() -> None:
    text = " ".join(re.sub("<[^>]+>", " ", legend()).split())
    assert text.startswith("little evidence most evidence")
    assert "not an outline of a tumour" in text.lower()
    assert "#{:02x}{:02x}{:02x}".format(*colours()[-1]) in legend()
