"""The split `patients`: folds of one public set, which come with the package."""

import gzip
import importlib.metadata
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainmri.data import patient_folds
from brainmri.data.dataset import open_prepared
from brainmri.data.folds import LEFT_OUT, folds_of, with_fold
from brainmri.data.provenance import known_revision

from ..scripts import run_here
from ..training.conftest import TINY, result_of
from .sources import class_folders, noise, save

CLASSES = ("glioma", "notumor")


def test_the_shipped_folds_are_of_the_known_revision_and_whole():
    folds = patient_folds.known_folds()
    assert known_revision(folds.index) == ("kaggle-nickparvar", patient_folds.NAME)
    assert set(folds["fold"]) == set(range(1, 6))
    assert set(folds["authors_fold"]) <= set(range(6))
    counts = Counter(tuple(path.split("/")[:2]) for path in folds.index)
    assert counts["Training", "notumor"] == 1595 and counts["Testing", "glioma"] == 300 and len(folds) == 7023
    sizes = folds["fold"].groupby([folds.index.str.split("/").str[1], folds["fold"]]).size()
    assert sizes.min() > 300 and sizes.max() < 420
    matched = folds[folds["authors_fold"] > 0]
    assert not any("/notumor/" in path for path in matched.index)
    assert (matched["fold"] == matched["authors_fold"]).mean() > 0.98
    assert importlib.metadata.packages_distributions().get("brainmri")  # the file is named in package-data
    assert "data/*.csv.gz" in (Path(__file__).parents[2] / "pyproject.toml").read_text()


@pytest.fixture
def known(tmp_path, monkeypatch) -> Path:
    """A small set whose folds "come with the package": 2 classes, 2 parts, 50 images; two copies cross the folds."""
    parts = {f"{part}/{label}": 5 + 15 * (part == "Training") for part in ("Training", "Testing") for label in CLASSES}
    source = class_folders(tmp_path / "kaggle", parts)
    paths = sorted(file.relative_to(source).as_posix() for file in source.rglob("*.png"))
    lines = [f"{path},{number % 5 + 1},{(number % 5 + 1) * (number % 2) or ''}" for number, path in enumerate(paths)]
    with gzip.open(tmp_path / "folds.csv.gz", "wt") as file:
        file.write("\n".join(["path,fold,authors_fold", *lines]) + "\n")
    monkeypatch.setattr(patient_folds, "FILE", tmp_path / "folds.csv.gz")
    patient_folds.known_folds.cache_clear()
    yield source
    patient_folds.known_folds.cache_clear()


def fold_of(source: Path) -> dict[str, int]:
    paths = sorted(file.relative_to(source).as_posix() for file in source.rglob("*.png"))
    return {path: number % 5 + 1 for number, path in enumerate(paths)}


@pytest.mark.parametrize("asked", [None, 1, 5])
def test_one_fold_tests_the_next_validates_and_three_train(known, tmp_path, asked):
    folds = fold_of(known)
    flags = [] if asked is None else ["--test_fold", asked]
    # A copy of an image in another fold: where the folds know that patients differ, likeness joins nothing.
    trained, tested = (next(path for path, fold in folds.items() if fold == number) for number in (3, 1))
    save(noise(999), known / trained)
    save(noise(999), known / tested)
    done = run_here("prepare_data.py", known, tmp_path / "out", "--split", "patients", *flags)
    assert done.returncode == 0, done.stderr
    data = open_prepared(tmp_path / "out")
    test_fold = asked or 1
    parts = {test_fold: "test", test_fold % 5 + 1: "validation"}
    assert [parts.get(folds[path], "train") for path in data.index["source"]] == data.index["split"].tolist()
    assert len(data.index) == 50
    assert (data.info.split, data.info.test_fold, data.info.leaky, data.info.val) == (
        "patients",
        test_fold,
        False,
        None,
    )
    assert (data.index.groupby("group_id")["split"].nunique() == 1).all()
    assert data.info.groups == data.index["group_id"].nunique() == 50
    assert data.info.distinct_images == 49
    assert f"Split patients, fold {test_fold} tests." in done.stdout
    assert ("1 of 10 test images look like copies of training images" in done.stdout) == (test_fold == 1)
    assert f"Split `patients` (fold {test_fold} tests)" in (data.root / "README.md").read_text()


def test_a_file_that_cannot_be_read_is_left_out_and_the_others_keep_their_folds(known, tmp_path):
    folds = fold_of(known)
    broken = next(iter(folds))
    (known / broken).write_bytes(b"")
    assert run_here("prepare_data.py", known, tmp_path / "out", "--split", "patients").returncode == 0
    data = open_prepared(tmp_path / "out")
    assert sorted(data.index["source"]) == sorted(set(folds) - {broken})
    assert {folds[path] for path in data.index.loc[data.rows("test"), "source"]} == {1}


def test_data_that_are_not_that_set_are_refused(known, tmp_path):
    def refused(*flags: object, source: Path = known) -> str:
        done = run_here("prepare_data.py", source, tmp_path / "out", *flags)
        assert done.returncode == 2 and not (tmp_path / "out").exists()
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "--test_fold 6: the folds are 1 to 5" in refused("--split", "patients", "--test_fold", 6)
    assert "--test_fold 0: the folds are 1 to 5" in refused("--split", "patients", "--test_fold", 0)
    assert "--test_fold is for the split patients, not for grouped" in refused("--test_fold", 2)
    (tmp_path / "groups.csv").write_text("file_name,group_id\n")
    assert "--groups" in refused("--split", "patients", "--groups", tmp_path / "groups.csv")
    assert "held out of the split grouped only" in refused("--split", "patients", "--holdout", "site=a")
    save(noise(7), known / "Training" / "glioma" / "mine.png")
    words = refused("--split", "patients")
    assert "1 of 51 files are none of Kaggle masoudnickparvar" in words
    assert "(Training/glioma/mine.png the first)" in words
    (known / "Training" / "glioma" / "mine.png").unlink()
    first = next(iter(fold_of(known)))
    (known / first).unlink()
    assert "1 of the 50 files of Kaggle masoudnickparvar" in refused("--split", "patients")
    other = class_folders(tmp_path / "other", {"glioma": 4, "notumor": 4})
    assert "8 of 8 files are none of" in refused("--split", "patients", source=other)


def test_the_five_folds_test_every_image_once_and_the_next_fold_validates(known, tmp_path):
    folds_by_path = fold_of(known)
    assert run_here("prepare_data.py", known, tmp_path / "out", "--split", "patients").returncode == 0
    data = open_prepared(tmp_path / "out")
    folds = folds_of(data, "patients")
    assert (len(folds), folds.title, folds.name(1)) == (5, "patients, 5 folds", "Fold 2 of 5")
    numbers = np.array([folds_by_path[path] - 1 for path in data.index["source"]])
    for fold in range(5):
        one = with_fold(data, folds, fold)
        expected = np.select([numbers == fold, numbers == (fold + 1) % 5], ["test", "validation"], "train")
        assert one.index["split"].tolist() == expected.tolist()
        assert LEFT_OUT not in set(one.index["split"])
        assert one.info.test_fold == fold + 1
        assert {split: sum(counts.values()) for split, counts in one.info.counts.items()} == {
            "train": 30,
            "validation": 10,
            "test": 10,
        }
    first = with_fold(data, folds, 0).index
    pd.testing.assert_frame_equal(first, data.index)
    with pytest.raises(ValueError, match=r"none of Kaggle .* \(moved.png the first\)"):
        folds_of(replace(data, index=data.index.assign(source="moved.png").drop(index=range(1, 50))), "patients")


def test_folds_by_patient_need_the_split_of_patients(known, tmp_path):
    assert run_here("prepare_data.py", known, tmp_path / "out").returncode == 0
    out = ["--output_dir", tmp_path / "run"]
    done = run_here("train.py", *TINY, "--data_dir", tmp_path / "out", "--folds", "patients", *out)
    assert (done.returncode, "prepare the source again with --split patients" in done.stderr) == (2, True), done.stderr


@pytest.mark.slow  # several trainings
def test_a_network_for_each_fold_of_patients_is_trained_and_pooled(known, tmp_path):
    assert run_here("prepare_data.py", known, tmp_path / "out", "--split", "patients").returncode == 0
    command = [*TINY, "--data_dir", tmp_path / "out", "--num_train_epochs", "1", "--output_dir", tmp_path / "run"]
    done = run_here(
        "train.py", *command, "--folds", "patients", environment={"BRAINMRI_CACHE": str(tmp_path / "cache")}
    )
    assert done.returncode == 0, done.stderr
    result = result_of(tmp_path / "run")
    assert (result["test"]["n"], result["data"]["split"]) == (50, "patients, 5 folds")
    assert json.loads((tmp_path / "run" / "fold4" / "result.json").read_text())["test"]["n"] == 10
