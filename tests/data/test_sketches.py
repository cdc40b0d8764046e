"""Training images are known again by their hashes: encoded again, mirrored or in other contrast, and strangers not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from brainmri.data.duplicates.sketches import FILES, SAME, likeness, read_sketches, sketches
from brainmri.data.phantom.generate import phantom_thumbnails
from brainmri.data.thumbnails import thumbnail


def again(thumbnails: np.ndarray, change) -> np.ndarray:
    return np.stack([thumbnail(change(Image.fromarray(one).resize((224, 224)))) for one in thumbnails])


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file)


def test_copies_are_found_and_other_subjects_are_not() -> None:
    slices = phantom_thumbnails(4)  # nine slices a subject
    known = sketches(slices[:18])
    assert known.shape == (18, 128)
    for change in (jpeg, ImageOps.mirror, ImageOps.flip, lambda image: image.point(lambda v: 255 * (v / 255) ** 0.7)):
        assert likeness(sketches(again(slices[:18], change)), known).min() >= SAME
    assert likeness(sketches(slices[18:]), known).max() < SAME


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    assert read_sketches(tmp_path) == {}
    (tmp_path / FILES["train"]).write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=FILES["train"]):
        read_sketches(tmp_path)
    np.save(tmp_path / FILES["train"], np.zeros((3, 5)))
    with pytest.raises(ValueError, match="is not what a training wrote"):
        read_sketches(tmp_path)
