"""The trivial baselines, on data whose right answer is known by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainmri.data.dataset import PreparedData
from brainmri.data.pixel_cache import image_summaries
from brainmri.data.statistics import global_statistics
from brainmri.evaluation.baselines import compute_baselines
from brainmri.metrics import baselines
from brainmri.metrics.baselines import (
    majority_accuracy,
    nearest_neighbour_accuracy,
    statistics_accuracy,
)


def test_global_statistics_golden_numbers() -> None:
    # 50x50: frame width round(0.06 * 50) = 3. Frame black but for one 3x3 corner of 90; inside 100.
    grey = np.zeros((50, 50), dtype=np.uint8)
    grey[3:-3, 3:-3] = 100
    grey[:3, :3] = 90
    frame_pixels = 50 * 50 - 44 * 44
    mean = (44 * 44 * 100 + 9 * 90) / 2500
    std = np.sqrt((44 * 44 * 100**2 + 9 * 90**2) / 2500 - mean**2)
    expected = [mean, std, 810 / frame_pixels, 90, (frame_pixels - 9) / 2500, 0, 9 / frame_pixels]
    assert global_statistics(Image.fromarray(grey)) == pytest.approx(expected)


def test_colourfulness_is_the_mean_spread_of_the_channels() -> None:
    colour = np.zeros((20, 20, 3), dtype=np.uint8)
    colour[:10] = (200, 150, 250)
    assert global_statistics(Image.fromarray(colour))[5] == pytest.approx(50)
    grey_as_rgb = Image.fromarray(np.full((20, 20, 3), 77, dtype=np.uint8))
    assert global_statistics(grey_as_rgb)[5] == 0


@pytest.mark.parametrize(("level", "share"), [(5, 1.0), (6, 0.0)])
def test_background_is_five_or_less(level: int, share: float) -> None:
    assert global_statistics(Image.fromarray(np.full((20, 30), level, dtype=np.uint8)))[4] == share


def test_nearest_neighbour_ignores_brightness_and_contrast_and_takes_one_neighbour() -> None:
    rng = np.random.default_rng(0)
    train = rng.integers(60, 190, size=(6, 64, 64)).astype(np.uint8)
    labels = np.array(["a", "b", "a", "b", "b", "b"])
    # The test images are train 0, 2 and 3 with another contrast; by vote among several the first two would be "b".
    test = np.stack([train[0] // 2 + 20, 255 - (255 - train[2]) // 2, train[3]]).astype(np.uint8)
    assert nearest_neighbour_accuracy(train, labels, test, np.array(["a", "a", "b"])) == 1.0
    assert nearest_neighbour_accuracy(train, labels, test, np.array(["b", "a", "a"])) == pytest.approx(1 / 3)


def test_a_negative_is_no_neighbour() -> None:
    image = np.random.default_rng(0).integers(0, 256, size=(64, 64)).astype(np.uint8)
    flat = np.full((64, 64), 9, dtype=np.uint8)
    train = np.stack([255 - image, flat])
    assert nearest_neighbour_accuracy(train, np.array(["negative", "flat"]), image[None], np.array(["flat"])) == 1.0


def test_nearest_neighbour_in_small_blocks_is_the_plain_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    train, test = (rng.integers(0, 256, size=(n, 64, 64)).astype(np.uint8) for n in (53, 29))
    train_labels, test_labels = rng.integers(0, 3, size=53), rng.integers(0, 3, size=29)
    table = np.corrcoef(test.reshape(29, -1), train.reshape(53, -1))[:29, 29:]
    expected = np.mean(train_labels[table.argmax(1)] == test_labels)
    assert nearest_neighbour_accuracy(train, train_labels, test, test_labels) == pytest.approx(expected)
    monkeypatch.setattr(baselines, "BLOCK", 7)
    monkeypatch.setattr(baselines, "TRAIN_BLOCK", 10)
    assert nearest_neighbour_accuracy(train, train_labels, test, test_labels) == pytest.approx(expected)


def test_majority_is_that_of_the_training_split() -> None:
    assert majority_accuracy(np.array(["a", "b", "b"]), np.array(["a", "a", "a", "b"])) == 0.25
    assert majority_accuracy(np.array(["b", "a"]), np.array(["a", "b", "b"])) == pytest.approx(1 / 3)  # tie: first


def test_statistics_learn_a_difference_in_brightness_and_nothing_from_noise() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    noise = rng.normal(size=(400, 7))
    shifted = noise.copy()
    shifted[:, 0] += 6 * labels
    assert statistics_accuracy(shifted[:300], labels[:300], shifted[300:], labels[300:]) > 0.98
    assert 0.3 < statistics_accuracy(noise[:300], labels[:300], noise[300:], labels[300:]) < 0.7
    assert statistics_accuracy(noise[:9], np.zeros(9), noise[300:], labels[300:]) == 0.5  # one class only


def prepared(root: Path, rows: list[tuple[str, str, np.ndarray]]) -> PreparedData:
    """A prepared folder of (split, label, image) rows."""
    names = []
    for number, (split, label, pixels) in enumerate(rows):
        names.append(f"{split}/{label}/{number:03d}.png")
        (root / names[-1]).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / names[-1])
    table = pd.DataFrame({"file_name": names, "split": [row[0] for row in rows], "label": [row[1] for row in rows]})
    return PreparedData(root=root, index=table, info={}, classes=sorted(set(table["label"])))


def test_compute_floors_reads_the_folder_and_knows_training_and_validation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 120, size=(4, 64, 64)).astype(np.uint8)

    def image(pattern: int, bright: bool) -> np.ndarray:
        noise = rng.integers(0, 4, size=(64, 64))
        return (patterns[pattern] + noise + 100 * bright).astype(np.uint8)

    # Class = pattern (0, 1: a; 2, 3: b), and in training also brightness (a dark, b bright). In test brightness is
    # turned round, so that the two baselines must differ as far as they can. Pattern 3 is known from validation only.
    rows = [("train", "a", image(k % 2, False)) for k in range(40)]
    rows += [("train", "b", image(2, True)) for k in range(20)]
    rows += [("validation", "b", image(3, True)) for k in range(10)]
    rows += [("test", "a", image(k % 2, True)) for k in range(6)] + [("test", "b", image(3, False)) for k in range(4)]
    data = prepared(tmp_path, rows)
    result = compute_baselines(data, image_summaries(data)).as_json()
    assert result == {"majority": 0.6, "nearest_neighbour": 1.0, "global_statistics": 0.0}


@pytest.mark.parametrize("missing", ["train", "test"])
def test_an_empty_split_is_an_error_that_says_which(tmp_path: Path, missing: str) -> None:
    pixels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    rows = [(split, "a", pixels) for split in ("train", "test") if split != missing]
    data = prepared(tmp_path, rows)
    with pytest.raises(ValueError, match=r"0 training and 1 test" if missing == "train" else r"1 training and 0 test"):
        compute_baselines(data, image_summaries(data))
