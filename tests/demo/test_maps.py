"""Where a map lies in an image, for every way in which processors take images."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from transformers import CLIPImageProcessor

from brainmri.demo.model import Frame, frame_of, laid_over
from brainmri.models.preprocessing import image_processor

WHOLE = Frame(0, 0, 1, 1)


def test_a_processor_that_squashes_sees_the_whole_image() -> None:
    for size in ((300, 200), (60, 90), (192, 192)):
        for side, formula in ((64, "half"), (192, "imagenet")):
            assert frame_of(image_processor(side, formula), *size) == pytest.approx(WHOLE, abs=0.011)


def test_a_processor_that_cuts_the_edges_off_sees_the_middle() -> None:
    cut = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    assert frame_of(cut, 400, 200) == pytest.approx((0.25, 0, 0.75, 1), abs=0.02)
    assert frame_of(cut, 200, 400) == pytest.approx((0, 0.25, 1, 0.75), abs=0.02)
    padded = CLIPImageProcessor(do_resize=False, crop_size={"height": 64, "width": 64})
    assert frame_of(padded, 48, 48) == pytest.approx((-1 / 6, -1 / 6, 7 / 6, 7 / 6), abs=0.02)


def test_a_map_of_the_whole_image_is_enlarged_as_the_paper_does() -> None:
    found = torch.rand(7, 7, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(found[None, None], (50, 90), mode="bilinear", align_corners=False)[0, 0]
    assert np.allclose(laid_over(found.numpy(), WHOLE, 90, 50), expected.numpy(), atol=1e-6)


def test_a_place_that_a_processor_sees_is_found_again_in_the_image() -> None:
    cut = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    spot = np.zeros((200, 400), np.uint8)
    spot[40:60, 240:260] = 255
    image = Image.fromarray(spot).convert("RGB")
    seen = cut(images=[image], return_tensors="pt")["pixel_values"][0].mean(0).numpy()
    back = laid_over(seen - seen.min(), frame_of(cut, 400, 200), 400, 200)
    assert back.shape == (200, 400)
    rows, columns = np.nonzero(back > back.max() / 2)
    assert abs(rows.mean() - 49.5) < 4
    assert abs(columns.mean() - 249.5) < 4
    even = laid_over(np.ones((4, 4)), frame_of(cut, 400, 200), 400, 200)
    assert not even[:, :95].any()  # what was cut off
    assert not even[:, -95:].any()
    assert np.allclose(even[:, 105:-105], 1)
