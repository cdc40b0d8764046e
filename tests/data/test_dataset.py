"""A prepared folder opened: table, DatasetDict, pixel cache and batches."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainmri.data.dataset import PreparedData, load_prepared, open_prepared, oversampled
from brainmri.data.phantom.generate import make_phantom
from brainmri.data.pixel_cache import pixel_cache
from brainmri.data.prepare import prepare
from brainmri.training.batches import SliceBatches


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    raw = make_phantom(folder / "raw", subjects=24, size=48, slices_per_subject=4, progress=False)
    return prepare(raw, folder / "ready", layout="imagefolder", groups=raw / "groups.csv", name="phantom tiny")


@pytest.fixture
def data(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreparedData:
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    return open_prepared(root)


def test_classes_and_rows_agree_with_the_index(data: PreparedData) -> None:
    assert data.classes == ["glioma", "meningioma", "notumor", "pituitary"]
    assert sum(len(data.rows(split)) for split in ("train", "validation", "test")) == len(data.index)
    rows = data.rows("test")
    assert [data.classes[k] for k in data.labels(rows)] == data.index["label"].iloc[rows].tolist()


def test_load_prepared_keeps_groups_and_label_names(data: PreparedData) -> None:
    splits = load_prepared(data.root)
    assert splits["train"].features["label"].names == data.classes
    row = splits["validation"][0]
    assert data.classes[row["label"]] == row["file_name"].split("/")[1]
    assert row["group_id"].startswith("g")
    assert row["image"].size == (48, 48)


def test_an_unfinished_or_damaged_folder_is_refused(data: PreparedData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"brainmri prepare_data"):
        open_prepared(tmp_path)
    for name in ("index.csv", "dataset.json"):
        (tmp_path / name).write_bytes((data.root / name).read_bytes())
    with pytest.raises(ValueError, match=r"files of index\.csv are missing"):
        open_prepared(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps(data.info.as_json() | {"schema_version": 99}))
    with pytest.raises(ValueError, match="schema version 99"):
        open_prepared(tmp_path)
    content = data.info.as_json()
    content["contradictory_pictures"] = content.pop("contradictory_images")
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="keys missing: contradictory_images; unknown keys: contradictory_pictures"):
        open_prepared(tmp_path)


def test_a_folder_of_an_earlier_version_is_to_be_prepared_again(data: PreparedData, tmp_path: Path) -> None:
    index = pd.read_csv(data.root / "index.csv", dtype=str).rename(columns={"duplicate_id": "picture_id"})
    index.to_csv(tmp_path / "index.csv", index=False)
    (tmp_path / "dataset.json").write_text(json.dumps(data.info.as_json() | {"schema_version": 1}))
    with pytest.raises(ValueError, match=r"schema version 1 found, 2 expected\. Prepare the data again"):
        open_prepared(tmp_path)


def test_the_pixel_cache_holds_each_image_resized_in_the_order_of_the_index(data: PreparedData) -> None:
    pixels = pixel_cache(data, 32)
    assert len(pixels) == len(data.index)
    for row in (0, len(data.index) - 1):
        with Image.open(data.root / data.index["file_name"].iloc[row]) as image:
            expected = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BILINEAR), dtype=int)
        found = pixels.read(np.array([row]))
        assert found.shape == (1, 1, 32, 32)
        assert np.abs(found[0, 0].astype(int) - expected).max() <= 2  # torchvision's rounding against Pillow's


def test_coloured_images_keep_their_channels_beside_grey_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "raw" / label).mkdir(parents=True)
        for number in range(12):
            drawn = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            image = Image.fromarray(drawn if number % 3 == 0 else drawn[:, :, 0])
            image.save(tmp_path / "raw" / label / f"{number}.png")
    data = open_prepared(prepare(tmp_path / "raw", tmp_path / "ready", layout="imagefolder"))
    pixels = pixel_cache(data, 16)
    rows = np.arange(len(data.index))
    for row, found in zip(rows, pixels.read(rows), strict=True):
        with Image.open(data.root / data.index["file_name"].iloc[row]) as source:
            expected = np.asarray(source.convert("RGB")).transpose(2, 0, 1)
        np.testing.assert_array_equal(found, expected)
        assert pixels.read(rows[[row]]).shape[1] == (1 if (expected == expected[0]).all() else 3)
    assert len(pixels.colour) == 8


def test_a_second_call_reads_the_same_file_and_a_failed_one_leaves_none(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("brainmri.data.pixel_cache.prepared_image", broken)
        with pytest.raises(RuntimeError, match="killed"):
            pixel_cache(data, 16)
    assert not [path for path in (tmp_path / "cache" / "pixels").iterdir() if path.suffix != ".lock"]
    first = pixel_cache(data, 16)
    monkeypatch.setattr("brainmri.data.pixel_cache.prepared_image", broken)  # not needed any more
    np.testing.assert_array_equal(first.first, pixel_cache(data, 16).first)


WRITER = (
    "import sys; from brainmri.data.dataset import open_prepared; from brainmri.data.pixel_cache import pixel_cache"
)
WRITER += "; pixel_cache(open_prepared(sys.argv[1]), 64)"


@pytest.mark.integration
def test_writers_at_once_and_a_killed_one_leave_one_whole_cache(data: PreparedData, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(data.root)]
    killed = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    folder = tmp_path / "cache" / "pixels"
    while not (found := [*folder.glob("*-64.unfinished")]) and killed.poll() is None:
        time.sleep(0.001)
    unfinished = found[0]
    killed.kill()
    killed.wait()
    unfinished.mkdir(exist_ok=True)  # what it left, even where it had just finished
    (unfinished / "first.npy").write_bytes(b"half")
    writers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    pixels = pixel_cache(data, 64)
    assert (pixels.read(np.arange(len(pixels))).reshape(len(pixels), -1).max(1) > 0).all()
    with Image.open(data.root / data.index["file_name"].iloc[-1]) as image:
        expected = np.asarray(image.convert("L").resize((64, 64), Image.Resampling.BILINEAR), dtype=int)
    assert np.abs(pixels.first[-1].astype(int) - expected).max() <= 2


def test_a_batch_is_one_gather_of_pixels_labels_and_draws(data: PreparedData) -> None:
    pixels, rows = pixel_cache(data, 16), data.rows("train")
    batches = SliceBatches(pixels, rows, data.labels(rows), augmentation_seed=7)
    batch = batches.__getitems__([3, 0])
    assert batch["pixel_values"].shape == (2, 1, 16, 16)
    np.testing.assert_array_equal(batch["pixel_values"][0, 0], pixels.first[rows[3]])
    assert batch["labels"].tolist() == data.labels(rows[[3, 0]]).tolist()
    assert batch["positions"].tolist() == [3, 0]
    before = batch["uniform"].clone()
    batches.set_epoch(1)
    assert not np.array_equal(batches.__getitems__([3, 0])["uniform"], before)
    assert set(SliceBatches(pixels, rows, data.labels(rows))[0]) == {"pixel_values", "labels"}


def test_images_grow_from_epoch_to_epoch(data: PreparedData) -> None:
    rows, by_size = data.rows("train"), {size: pixel_cache(data, size) for size in (16, 24)}
    batches = SliceBatches(by_size[24], rows, data.labels(rows), 7, by_size)
    batches.sizes = (16, 16, 24)
    sides = []
    for epoch in range(5):
        batches.set_epoch(epoch)
        sides.append(batches.__getitems__([0])["pixel_values"].shape[-1])
    assert sides == [16, 16, 24, 24, 24]


def test_an_epoch_may_hold_one_file_of_each_image(data: PreparedData) -> None:
    rows = data.rows("train")
    images = np.arange(len(rows)) // 3  # three files each
    batches = SliceBatches(pixel_cache(data, 16), rows, data.labels(rows), 7, images=images)
    place = {row: position for position, row in enumerate(rows.tolist())}
    seen: set[int] = set()
    for epoch in range(12):
        batches.set_epoch(epoch)
        assert len(batches) == images.max() + 1
        shown = [images[place[row]] for row in batches.rows.tolist()]
        assert sorted(shown) == list(range(len(batches)))
        np.testing.assert_array_equal(batches.labels, data.labels(batches.rows))
        seen |= set(batches.rows.tolist())
    assert seen == set(rows.tolist())
    again = batches.rows
    batches.set_epoch(0)
    batches.set_epoch(11)
    np.testing.assert_array_equal(batches.rows, again)


def test_oversampling_reaches_the_largest_class_and_keeps_every_row() -> None:
    rows, labels = np.arange(10, 20), np.array([0] * 6 + [1] * 3 + [3])
    drawn = oversampled(rows, labels, seed=42)
    label = dict(zip(rows.tolist(), labels.tolist(), strict=True))
    assert np.bincount([label[row] for row in drawn.tolist()]).tolist() == [6, 6, 0, 6]
    assert set(drawn.tolist()) == set(rows.tolist())
    assert sorted(row for row in drawn.tolist() if label[row] == 0) == list(range(10, 16))
    np.testing.assert_array_equal(drawn, oversampled(rows, labels, seed=42))
