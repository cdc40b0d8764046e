"""Stages, frozen parts, averages and mixed labels through scripts/train.py, and what a resume makes of them."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from .conftest import TINY_RESNET, Train, result_of


@pytest.mark.slow
def test_averaged_weights_and_mixed_labels_of_two_classes_survive_a_resume(
    train: Train, phantom: Path, tmp_path: Path
) -> None:
    """Any timm model by its name, merged classes, bfloat16, a larger batch: everything that a user may join."""
    from transformers import pipeline

    run = tmp_path / "mixed"
    changes = ["input.size=160", "batch_size=16", "stages.0={epochs: 3, ema: 0.9, learning_rate: 0.001}"]
    changes += ["mix={mixup: 0.4, cutmix: 1.0}"]
    arguments = [
        "--arch",
        "timm:test_vit",
        "--weights",
        "random",
        "--ood",
        "false",
        "--positive",
        "glioma",
        "meningioma",
    ]
    arguments += ["--recipe", *changes, "--data_dir", str(phantom), "--output_dir", str(run), "--bf16", "true"]
    arguments += ["--per_device_train_batch_size", "32", "--save_total_limit", "9"]
    done = train(*arguments, "--keep_checkpoints")
    assert done.returncode == 0, done.stderr
    assert "The global batch is 32, the recipe's 16" in done.stdout
    result, whole = result_of(run), load_file(run / "model.safetensors")
    assert (result["arch"], result["training"]["precision"]) == ("timm:test_vit", "bf16")
    assert result["data"]["classes"] == ["notumor or pituitary", "glioma or meningioma"]
    assert result["data"]["name"] == "phantom tiny, two classes"

    # What is published: one label for each image, and the probabilities of predictions.csv although bfloat16 trained.
    assert json.loads((run / "config.json").read_text())["problem_type"] == "single_label_classification"
    classify = pipeline("image-classification", model=str(run))
    for row in pd.read_csv(run / "predictions.csv").query("split == 'test'").head(3).to_dict("records"):
        scores = {score["label"]: score["score"] for score in classify(str(phantom / row["file_name"]))}
        assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
        assert scores["glioma or meningioma"] == pytest.approx(row["p_glioma or meningioma"], abs=0.02)  # Pillow

    # The kept weights are the averaged ones of the best checkpoint, not those that the optimiser left there.
    checkpoints = sorted((run / "checkpoints" / "stage-1").glob("checkpoint-*"), key=lambda c: int(c.name[11:]))
    best = checkpoints[result["training"]["best_epoch"] - 1]
    average, optimised = load_file(best / "average.safetensors"), load_file(best / "model.safetensors")
    for name, tensor in whole.items():
        np.testing.assert_array_equal(tensor, average[f"timm_model.{name}"])
    assert any(not np.array_equal(average[name], optimised[name]) for name in optimised)

    before = pd.read_csv(run / "history.csv").drop(columns="seconds")
    again = train(*arguments, "--resume_from_checkpoint", str(checkpoints[0]))
    assert again.returncode == 0, again.stderr
    pd.testing.assert_frame_equal(pd.read_csv(run / "history.csv").drop(columns="seconds"), before)
    for name, tensor in load_file(run / "model.safetensors").items():
        np.testing.assert_array_equal(tensor, whole[name])


@pytest.mark.slow
def test_features_of_a_frozen_backbone_survive_ranks_and_a_resume(train: Train, phantom: Path, tmp_path: Path) -> None:
    stage = "stages=[{epochs: 4, learning_rate: 0.01, freeze: backbone, cached_views: 3, keep: last}]"
    arguments = [*TINY_RESNET, "oversample=true", stage, "--data_dir", str(phantom)]
    arguments += ["--save_total_limit", "9", "--keep_checkpoints"]
    run = tmp_path / "run"
    arguments += ["--output_dir", str(run)]
    done = train(*arguments)
    assert done.returncode == 0, done.stderr
    assert "3 views of" in done.stdout
    assert not list(run.rglob("*.npy"))  # features go with the stage that they are for
    figures = ["epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    before = pd.read_csv(run / "history.csv")
    # The whole network is what is saved and scored: its probabilities on images give the features' validation loss.
    rows = pd.read_csv(run / "predictions.csv").query("split == 'validation'")
    own = -np.log([row[f"p_{row['label']}"] for row in rows.to_dict("records")]).mean()
    assert own == pytest.approx(before["validation_loss"].iloc[-1], abs=1e-4)

    # Two processes share the work of the features, and go on from the second epoch of the one before.
    checkpoint = sorted((run / "checkpoints" / "stage-1").glob("checkpoint-*"), key=lambda c: int(c.name[11:]))[1]
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29518")
    done = train(*arguments, "--resume_from_checkpoint", str(checkpoint), launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert result_of(run)["training"]["world_size"] == 2
    np.testing.assert_allclose(pd.read_csv(run / "history.csv")[figures], before[figures], atol=1e-5)


@pytest.mark.integration
def test_stages_freeze_restore_the_best_and_stop_early(train_here: Train, phantom: Path, tmp_path: Path) -> None:
    import timm

    stages = (
        "stages=[{epochs: 1, learning_rate: 0.01, freeze: backbone},"
        " {epochs: 9, learning_rate: 0.001, early_stopping: {patience: 2, min_delta: 5.0}}]"  # never that much better
    )
    run = tmp_path / "staged"
    arguments = [*TINY_RESNET, "oversample=true", stages, "--output_dir", str(run), "--data_dir", str(phantom)]
    arguments += ["--save_total_limit", "9"]
    done = train_here(*arguments, "--keep_checkpoints")
    assert done.returncode == 0, done.stderr
    result, history = result_of(run), pd.read_csv(run / "history.csv")
    counts = result["data"]["counts"]["train"]
    assert result["data"]["train_after_oversampling"] == max(counts.values()) * len(counts)
    assert history["stage"].tolist() == [1, 2, 2, 2]
    assert result["training"]["schedule_fraction"] == 1.0  # stopping early is part of a schedule
    assert result["training"]["epochs_run"] == 4
    assert result["training"]["best_epoch"] == 2 + int(history["validation_loss"][1:].to_numpy().argmin())
    # The frozen stage changed the classifier only, the batch norms' running statistics included.
    start = load_file(run / "checkpoints" / "stage-1" / "finished" / "model.safetensors")
    fresh = timm.create_model("test_resnet", num_classes=4)
    assert len(start) == len(fresh.state_dict())
    running = [tensor for name, tensor in start.items() if name.endswith("running_mean")]
    assert running
    assert all((tensor == 0).all() for tensor in running)
    assert timm.create_model(f"local-dir:{run}", pretrained=True).num_classes == 4

    # Resumed after the second stage's second epoch, the first stage's weights, the patience and the best are known.
    weights = load_file(run / "model.safetensors")
    second = sorted((run / "checkpoints" / "stage-2").glob("checkpoint-*"), key=lambda c: int(c.name[11:]))[1]
    again = train_here(*arguments, "--resume_from_checkpoint", str(second), "--keep_checkpoints")
    assert again.returncode == 0, again.stderr
    resumed = result_of(run)
    assert resumed["training"]["epochs_run"] == 4
    assert resumed["training"]["best_epoch"] == result["training"]["best_epoch"]
    pd.testing.assert_frame_equal(
        pd.read_csv(run / "history.csv").drop(columns="seconds"), history.drop(columns="seconds")
    )
    for name, tensor in load_file(run / "model.safetensors").items():
        np.testing.assert_array_equal(tensor, weights[name])

    # Killed after the checkpoint at which it had stopped early: not an epoch more, and the same end.
    (run / "result.json").unlink()
    shutil.rmtree(run / "checkpoints" / "stage-2" / "finished")
    last = train_here(*arguments)
    assert last.returncode == 0, last.stderr
    assert pd.read_csv(run / "history.csv").drop(columns="seconds").equals(history.drop(columns="seconds"))
    assert result_of(run)["training"]["samples_by_rank"] == result["training"]["samples_by_rank"]
    for name, tensor in load_file(run / "model.safetensors").items():
        np.testing.assert_array_equal(tensor, weights[name])
