"""`hard_example_share`: shorter epochs of images that the network finds hard, drawn by the losses they had."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainmri.data.pixel_cache import PixelCache
from brainmri.models.introspect import resolve
from brainmri.recipe import differences
from brainmri.training.batches import UNSEEN, SliceBatches
from brainmri.training.checkpoints import saved_checkpoints

from .conftest import TINY, Train, left_by, result_of, same_weights

HALF = [*TINY, "hard_example_share=0.5"]


def batches_of(count: int, seed: int, share: float, images: np.ndarray | None = None) -> SliceBatches:
    pixels = PixelCache(np.zeros((count, 1, 1), np.uint8), np.empty((0, 3, 1, 1), np.uint8), np.full(count, -1))
    rows = np.arange(count)
    return SliceBatches(pixels, rows, rows % 4, seed, images=images, hard_example_share=share)


@given(share=st.floats(0.05, 0.95), files=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_an_epoch_is_a_share_of_the_images_and_no_image_comes_again_before_all_were_seen(
    share: float, files: int, seed: int
) -> None:
    images = np.arange(120) // files
    batches, different = batches_of(120, seed, share, images), 120 // files
    count, seen = max(1, int(share * different)), set[int]()
    for epoch in range(3):
        batches.set_epoch(epoch)
        shown = set(images[batches.rows].tolist())
        assert len(shown) == len(batches) == count
        np.testing.assert_array_equal(batches.labels, batches.rows % 4)
        assert len(seen | shown) == min(len(seen) + count, different)
        seen |= shown
        batches.learn(np.arange(count), np.full(count, 0.5))


def test_images_of_a_high_loss_are_drawn_more_often_and_none_never() -> None:
    batches, drawn = batches_of(100, 7, 0.3), np.zeros(100)
    for epoch in range(1, 801):
        batches.losses = np.repeat([0.0, 0.1, 0.2, 0.4, 2.0], 20)
        batches.set_epoch(epoch)
        drawn[batches.rows] += 1
    often = drawn.reshape(5, 20).mean(1) / 800
    assert often.sum() * 20 == pytest.approx(30)
    assert often[4] > 0.7
    assert often[2] / often[1] == pytest.approx(2, rel=0.2)  # in proportion to the loss, where few are taken
    assert 0 < often[0] < 0.05 * often[1]
    batches.set_epoch(0)  # a new stage knows none of them
    assert set(batches.losses.tolist()) == {UNSEEN}


def test_without_a_share_the_draw_is_that_of_every_image() -> None:
    assert batches_of(20, 3, 1.0).rows.tolist() == list(range(20))


@pytest.mark.parametrize("share", ["0", "1.5"])
def test_a_share_is_above_0_and_at_most_1(share: str) -> None:
    with pytest.raises(ValueError, match="hard_example_share"):
        resolve("cnn_4x4", overrides=[f"hard_example_share={share}"])


def test_cached_features_have_no_epochs_to_draw() -> None:
    with pytest.raises(ValueError, match="hard_example_share draws in every epoch"):
        resolve("resnet50_frozen", overrides=["hard_example_share=0.5"])


def test_a_recipe_without_the_key_is_the_system_that_it_was() -> None:
    plain, half = resolve("cnn_4x4"), resolve("cnn_4x4", overrides=["hard_example_share=0.5"])
    assert "hard_example_share" not in json.loads(plain.model_dump_json())
    assert differences(plain, half) == {"hard_example_share": 0.5}


def test_a_run_shows_its_share_and_goes_on_as_if_it_had_not_stopped(
    train_here: Train, phantom: Path, tmp_path: Path
) -> None:
    own = ["--data_dir", str(phantom), "--num_train_epochs", "4", "--keep_checkpoints", "--save_total_limit", "9"]
    run = tmp_path / "run"
    done = train_here(*HALF, *own, "--output_dir", str(run))
    assert done.returncode == 0, done.stderr
    images = sum(result_of(run)["data"]["counts"]["train"].values())
    assert result_of(run)["training"]["samples_by_rank"] == [images // 2 // 32 * 32]  # whole batches
    assert "An epoch shows 50.0 % of the images, those of a higher loss" in (run / "reporting.md").read_text()
    stopped = left_by(run, tmp_path / "stopped", saved_checkpoints(run / "checkpoints" / "stage-1")[:2])
    assert train_here(*HALF, *own, "--output_dir", str(stopped)).returncode == 0
    same_weights(stopped, run)


@pytest.mark.integration
def test_a_checkpoint_in_the_middle_of_an_epoch_keeps_the_losses_seen_in_it(
    train_here: Train, phantom: Path, tmp_path: Path
) -> None:
    own = ["--data_dir", str(phantom), "--num_train_epochs", "5", "--per_device_train_batch_size", "8"]
    own += ["--save_strategy", "steps", "--save_steps", "1", "--keep_checkpoints", "--save_total_limit", "99"]
    run, recipe = tmp_path / "run", [*HALF, "stages.0.keep=last"]
    done = train_here(*recipe, *own, "--output_dir", str(run))
    assert done.returncode == 0, done.stderr
    saved = saved_checkpoints(run / "checkpoints" / "stage-1")
    middle = len(saved) // 5 * 2 + 2  # steps: in the third epoch
    stopped = left_by(run, tmp_path / "stopped", [saved[middle - 1]])
    again = train_here(*recipe, *own, "--output_dir", str(stopped))
    assert again.returncode == 0, again.stderr
    same_weights(stopped, run)


@pytest.mark.integration
def test_two_processes_draw_and_learn_as_one(train: Train, phantom: Path, tmp_path: Path) -> None:
    own = ["--data_dir", str(phantom), "--num_train_epochs", "5"]
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    runs = {"one": (sys.executable,), "two": launcher}
    for name, start in runs.items():
        done = train(*HALF, *own, "--output_dir", str(tmp_path / name), launcher=start)
        assert done.returncode == 0, done.stderr
    one, two = (pd.read_csv(tmp_path / name / "history.csv").drop(columns="seconds") for name in runs)
    np.testing.assert_allclose(one, two, atol=1e-5)
    assert result_of(tmp_path / "two")["training"]["samples_by_rank"] == [16, 16]
