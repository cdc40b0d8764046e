"""The main job as a user runs it: scripts/train.py in a subprocess, on a small phantom set."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file, save_file

from brainmri.data.dataset import open_prepared
from brainmri.data.pixel_cache import image_summaries
from brainmri.evaluation.baselines import compute_baselines
from brainmri.evaluation.load import load_model
from brainmri.metrics.classification import evaluate_predictions

from .conftest import ROOT, TINY, Train, result_of, same_weights

pytestmark = pytest.mark.integration  # each looks at a real training, or starts one

RUN_FILES = [
    "run.json",
    *("README.md", "config.json", "history.csv", "model.safetensors", "predictions.csv", "preprocessor_config.json"),
    *("recipe.yaml", "report.html", "result.json", "uncertainty.json", "uncertainty.safetensors"),
    *("data.json", "reporting.md"),
]
FIGURES = ["augmentation", "class_counts", "confusion_matrix", "curves", "reliability", "samples"]


def test_a_finished_run_leaves_the_whole_folder_and_no_checkpoint(finished: Path) -> None:
    assert [name for name in RUN_FILES if not (finished / name).is_file()] == []
    assert not (finished / "checkpoints").exists()
    assert not list(finished.rglob("*.bin"))  # nothing is a pickle
    for name in FIGURES:
        with Image.open(finished / "figures" / f"{name}.png") as image:
            assert min(image.size) > 300
            assert np.asarray(image.convert("L")).std() > 5


def test_result_and_predictions_agree_with_each_other_and_the_data(finished: Path, phantom: Path) -> None:
    result, data = result_of(finished), open_prepared(phantom)
    table = pd.read_csv(finished / "predictions.csv")
    assert list(table.columns[:6]) == ["file_name", "split", "fold", "group_id", "label", "predicted"]
    assert table.groupby("split").size().to_dict() == {s: len(data.rows(s)) for s in ("validation", "test")}
    test = table[table["split"] == "test"]
    assert test["file_name"].tolist() == data.index["file_name"].iloc[data.rows("test")].tolist()
    probabilities = test[[f"p_{name}" for name in data.classes]].to_numpy()
    assert test["predicted"].tolist() == [data.classes[k] for k in probabilities.argmax(1)]
    labels = np.array([data.classes.index(name) for name in test["label"]])
    again = evaluate_predictions(labels, probabilities, test["group_id"].to_numpy(), data.classes)
    assert result["test"]["accuracy"] == again.accuracy
    assert result["test"]["confusion_matrix"] == again.confusion_matrix
    assert result["test"]["groups"] == test["group_id"].nunique()
    assert result["floors"] == pytest.approx(compute_baselines(data, image_summaries(data)).as_json())
    assert result["data"]["fingerprint"] == data.info.fingerprint
    assert result["data"]["classes"] == data.classes


def test_result_says_how_the_run_was_made(finished: Path) -> None:
    result, recipe = result_of(finished), yaml.safe_load((finished / "recipe.yaml").read_text())
    assert (result["arch"], result["protocol"], result["weights"], result["seed"]) == ("cnn_4x4", "clean", "random", 42)
    assert result["published"]["accuracy"] == 0.72
    assert recipe["model"]["arguments"]["dropout"] == 0
    training = result["training"]
    assert (training["epochs_run"], training["epochs_scheduled"], training["schedule_fraction"]) == (6, 10, 0.6)
    assert training["time_to_converge_s"] > training["training_only_s"] > 0
    assert training["world_size"] == 1
    assert training["images_per_second"] > 1
    printed = (finished.parent / "stdout.txt").read_text()
    assert "baseline: Nearest training image" in printed
    assert "No figure on this page is a clinical one" in printed
    assert f"{100 * result['test']['accuracy']:.1f} %" in printed


def test_a_record_beside_other_weights_is_refused(finished: Path, tmp_path: Path) -> None:
    mixed = Path(shutil.copytree(finished, tmp_path / "mixed"))
    loaded = load_model(str(mixed)).result
    assert loaded and loaded.as_json() == result_of(finished)
    state = load_file(mixed / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in state.items()}, mixed / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"result\.json was measured with other weights"):
        load_model(str(mixed))


def test_history_has_a_row_for_each_epoch_and_the_best_one_is_kept(finished: Path) -> None:
    history, result = pd.read_csv(finished / "history.csv"), result_of(finished)
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["learning_rate"].tolist() == [0.003] * 6
    assert history["seconds"].is_monotonic_increasing
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    best = history.loc[history["validation_loss"].idxmin()]
    assert result["training"]["best_epoch"] == best["epoch"]
    assert result["validation"]["loss"] == pytest.approx(best["validation_loss"], abs=1e-4)
    assert result["validation"]["accuracy"] == pytest.approx(best["validation_accuracy"])


def test_the_published_pipeline_gives_the_probabilities_of_predictions_csv(finished: Path, phantom: Path) -> None:
    from transformers import pipeline

    table = pd.read_csv(finished / "predictions.csv").query("split == 'test'").head(5)
    classify = pipeline("image-classification", model=str(finished), trust_remote_code=True)
    for row in table.to_dict("records"):
        scores = classify(str(phantom / row["file_name"]))
        for score in scores:
            assert score["score"] == pytest.approx(row[f"p_{score['label']}"], abs=1e-4)


def test_the_run_has_a_rule_that_refuses_photographs_and_keeps_slices(finished: Path) -> None:
    uncertainty, result = json.loads((finished / "uncertainty.json").read_text()), result_of(finished)
    rule = uncertainty["ood"]
    assert result["ood"] == rule
    assert rule["validation"]["rejected"] <= rule["lost_at_most"] == 0.05
    assert rule["test"]["n"] == result["test"]["n"]
    assert {probe["use"] for probe in rule["probes"]} == {"held back"}  # none that chose the kind of rule
    refused = {probe["name"]: probe for probe in rule["probes"]}
    for name in ("photographs", "photographs, grey"):
        probe = refused[name]
        assert probe["absent"] is None  # its packages are required ones
        assert probe["rejected"] > rule["test"]["rejected"] + 0.3
        assert probe["ci95"][0] < probe["rejected"] <= probe["ci95"][1]
    own = refused["test images, inverted"]
    assert own["n"] == result["test"]["groups"]
    assert "OOD detector: fitted" in (finished.parent / "stdout.txt").read_text()
    report = (finished / "report.html").read_text()
    card = (finished / "README.md").read_text()
    assert report.count("<h2>What it refuses</h2>") == card.count("## What it refuses") == 1
    assert "None" not in report.split("What it refuses")[1].split("<h2>")[0]
    for text in (report, card):
        assert (
            "other body parts (MRI, CT, X-ray, ultrasound)" in text
            or refused["other body parts (MRI, CT, X-ray, ultrasound)"]["absent"]
        )


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_several_ranks_train_as_one_process_does(
    ranks: int, train: Train, finished: Path, phantom: Path, tmp_path: Path
) -> None:
    run, launcher = tmp_path / "several", (sys.executable, "-m", "torch.distributed.run", "--standalone")
    arguments = ["--ood", "true", "--data_dir", str(phantom), "--num_train_epochs", "6", "--output_dir", str(run)]
    done = train(*TINY, *arguments, launcher=(*launcher, "--nproc_per_node", str(ranks)))
    assert done.returncode == 0, done.stderr
    one, several = result_of(finished), result_of(run)
    assert several["training"]["world_size"] == ranks
    shares = several["training"]["samples_by_rank"]
    assert len(shares) == ranks
    assert min(shares) == max(shares) > 0
    assert sum(shares) == one["training"]["samples_by_rank"][0]  # disjoint: the run itself stops where they overlap
    losses = ["train_loss", "validation_loss", "train_accuracy", "validation_accuracy"]
    first, second = (pd.read_csv(folder / "history.csv")[losses] for folder in (finished, run))
    np.testing.assert_allclose(first, second, atol=1e-5)
    print(f"{ranks} ranks, largest difference of the history: {(first - second).abs().to_numpy().max():.1e}")
    assert several["test"]["confusion_matrix"] == one["test"]["confusion_matrix"]
    assert several["test"]["loss"] == pytest.approx(one["test"]["loss"], abs=1e-5)
    assert several["ood"]["fitted_images"] == one["ood"]["fitted_images"]
    assert several["ood"]["threshold"] == pytest.approx(one["ood"]["threshold"], rel=1e-3)
    assert several["ood"]["test"]["n"] == one["ood"]["test"]["n"]
    assert done.stdout.count("Everything is in") == 1  # only the main process writes


def test_a_killed_run_resumes_to_the_same_end(
    train_here: Train,
    finished: Path,
    phantom: Path,
    environment: dict[str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    run = tmp_path / "killed"
    arguments = [*TINY, "--data_dir", str(phantom), "--num_train_epochs", "6", "--output_dir", str(run)]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "train.py"), *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    while not any(run.glob("checkpoints/stage-1/checkpoint-*/manifest.json")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "result.json").exists()

    # A checkpoint that was being written when the run was killed has no manifest.
    half = run / "checkpoints" / "stage-1" / "checkpoint-99999"
    half.mkdir()
    (half / "trainer_state.json").write_text("")
    resumed = train_here(*arguments)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{half} is not used: it has no manifest.json" in caplog.text
    assert f"The run in {run} goes on at checkpoint-" in caplog.text
    figures = ["epoch", "learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    first, second = (pd.read_csv(folder / "history.csv")[figures] for folder in (finished, run))
    np.testing.assert_allclose(first, second, atol=1e-6)
    same_weights(run, finished)


@pytest.mark.slow
def test_accumulated_gradients_are_those_of_the_larger_batch(
    train: Train, finished: Path, phantom: Path, tmp_path: Path
) -> None:
    run = tmp_path / "accumulated"
    arguments = ["--data_dir", str(phantom), "--num_train_epochs", "6", "--output_dir", str(run)]
    done = train(*TINY, *arguments, "--gradient_accumulation_steps", "4")
    assert done.returncode == 0, done.stderr
    assert "The global batch is" not in done.stdout  # 4 x 8 is the recipe's 32
    figures = ["epoch", "learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    first, second = (pd.read_csv(folder / "history.csv")[figures] for folder in (finished, run))
    np.testing.assert_allclose(first, second, atol=1e-5)
    print(f"4 steps a batch, largest difference of the history: {(first - second).abs().to_numpy().max():.1e}")
    assert result_of(run)["test"]["loss"] == pytest.approx(result_of(finished)["test"]["loss"], abs=1e-5)


def test_a_mistake_is_one_clear_line(train: Train, tmp_path: Path) -> None:
    done = train("--arch", "cnn_4x4", "--recipe", "colour=red", "--output_dir", str(tmp_path / "run"))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: recipe cnn_4x4: colour: there is no such key")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_readme_command_trains_on_the_phantom_set_from_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"BRAINMRI_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "accelerate.commands.launch", "scripts/train.py", "--arch", "cnn_4to32"]
    arguments = ["--num_train_epochs", "1", "--output_dir", str(tmp_path / "run")]
    subprocess.run([*command, *arguments], env=environment, cwd=ROOT, check=True)
    result = result_of(tmp_path / "run")
    assert result["data"]["name"] == "phantom"
    assert all(floor < 0.75 for floor in result["floors"].values())
