"""Cross-validation by group: how images are dealt, and the command from beginning to end."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainmri.data.dataset import PreparedData, open_prepared
from brainmri.data.folds import LEFT_OUT, folds_of, with_fold
from brainmri.runs.folds import pool

from ..scripts import run_here
from ..training.conftest import TINY, Train, result_of


def test_every_image_is_tested_once_without_its_group(phantom: Path) -> None:
    data = open_prepared(phantom)
    folds = folds_of(data, 4)
    np.testing.assert_array_equal(folds.numbers, folds_of(data, 4).numbers)
    tested = []
    for fold in range(4):
        one = with_fold(data, folds, fold)
        assert (one.index.groupby("group_id")["split"].nunique() == 1).all()
        tested += one.index.loc[one.rows("test"), "file_name"].tolist()
        shares = one.index["split"].value_counts(normalize=True)
        assert shares["test"] == pytest.approx(0.25, abs=0.05)
        assert shares["validation"] == pytest.approx(0.1, abs=0.06)
        for split, counts in one.info.counts.items():
            assert sum(counts.values()) == len(one.rows(split))
            assert min(counts.values()) > 0
    assert sorted(tested) == sorted(data.index["file_name"])
    prints = {with_fold(data, folds, fold).info.fingerprint for fold in range(4)}
    assert len(prints | {data.info.fingerprint}) == 5


def test_what_cannot_be_folded(phantom: Path) -> None:
    data = open_prepared(phantom)
    for folds, reason in (
        (1, "at least 2 are needed"),
        (
            9,
            r"class glioma has 8 groups \(patients\) and needs 9 \(each fold tests one of its own\): give --folds 8 at",
        ),
    ):
        with pytest.raises(ValueError, match=f"--folds {folds}: {reason}"):
            folds_of(data, folds)
    data.index.loc[1, "source"] = data.index.loc[0, "source"]
    with pytest.raises(ValueError, match="repeats files"):
        folds_of(data, 3)


def with_sites(data: PreparedData) -> PreparedData:
    """The same images, of two sites by group; one patient was seen at both."""
    site = np.where(data.index["group_id"].str[-1].isin(list("13579")), "oslo", "bergen")
    site[data.index.groupby("group_id").head(1).index[0]] = "oslo"
    return replace(data, index=data.index.assign(site=site))


def test_a_site_is_tested_by_what_saw_neither_it_nor_its_patients(phantom: Path) -> None:
    data = with_sites(open_prepared(phantom))
    folds = folds_of(data, "sites")
    assert (folds.sites, folds.title) == (("bergen", "oslo"), "2 sites, one left out at a time")
    tested: list[str] = []
    left_out = 0
    for fold, site in enumerate(folds.sites):
        one = with_fold(data, folds, fold)
        assert set(one.index.loc[one.rows("test"), "site"]) == {site}
        learnt = one.index.iloc[np.concatenate([one.rows("train"), one.rows("validation")])]
        assert site not in set(learnt["site"])
        assert not set(learnt["group_id"]) & set(one.index.loc[one.rows("test"), "group_id"])
        assert all(min(one.info.counts[split].values()) > 0 for split in ("train", "validation"))
        tested += one.index.loc[one.rows("test"), "file_name"].tolist()
        left_out += int((one.index["split"] == LEFT_OUT).sum())
        assert folds.name(fold) == f"Fold {fold + 1} of 2: the site {site} is left out"
    assert sorted(tested) == sorted(data.index["file_name"])
    both = data.index.groupby("group_id")["site"].transform("nunique") == 2
    assert left_out == both.sum() > 0


def test_sites_that_cannot_be_left_out(phantom: Path) -> None:
    data = open_prepared(phantom)
    count = len(data.index)
    some = np.where(data.index["label"] == "glioma", "oslo", "bergen")
    for site, words in (
        ("", rf"{count} of {count} images have no site \(.* the first\): prepare the data again with --sites FILE"),
        ("oslo", "all images are of one site, oslo: give --folds 5"),
        (some, r"without the site bergen, class meningioma has 0 groups \(patients\) left and needs 2 \(1 to train on"),
    ):
        with pytest.raises(ValueError, match=f"--folds sites: {words}"):
            folds_of(replace(data, index=data.index.assign(site=site)), "sites")


@pytest.mark.integration
def test_sites_are_left_out_one_at_a_time_and_pooled(train_here: Train, phantom: Path, tmp_path: Path) -> None:
    ready = shutil.copytree(phantom, tmp_path / "ready")
    data = with_sites(open_prepared(phantom))
    data.index.to_csv(ready / "index.csv", index=False, lineterminator="\n")
    run = tmp_path / "run"
    command = [*TINY, "--data_dir", str(ready), "--num_train_epochs", "1", "--output_dir", str(run)]
    done = train_here(*command, "--folds", "sites")
    assert done.returncode == 0, done.stderr
    result, folds = result_of(run), [result_of(run / f"fold{fold}") for fold in range(2)]
    assert result["data"]["split"] == "2 sites, one left out at a time"
    assert result["test"]["n"] == len(data.index)
    assert result["sites"] == {site: fold["test"] for site, fold in zip(["bergen", "oslo"], folds, strict=True)}
    assert [fold["sites"] for fold in folds] == [None, None]
    oslo = f"{100 * folds[1]['test']['accuracy']:.1f} %"
    assert re.search(rf"without oslo +{oslo}", done.stdout)
    page = (run / "report.html").read_text()
    assert "Each site, left out of training" in page
    assert f"<td>oslo</td><td>{folds[1]['test']['n']}</td>" in page
    assert "was sites and is now 2" in train_here(*command, "--folds", "2").stderr
    assert "'many' is neither a number nor sites" in train_here(*command, "--folds", "many").stderr


def moved_split(phantom: Path, out: Path) -> Path:
    """The same prepared images, whose train and test have changed places."""
    shutil.copytree(phantom, out)
    index = pd.read_csv(out / "index.csv", dtype=str, keep_default_na=False)
    split = index["split"].replace({"train": "test", "test": "train"})
    index.assign(split=split).to_csv(out / "index.csv", index=False)
    return out


def pooled_of(run: Path, second: pd.DataFrame, data: PreparedData) -> None:
    second.to_csv(run / "fold1" / "predictions.csv", index=False)
    pool(run, [run / "fold0", run / "fold1"], data, folds_of(data, 2))


@pytest.mark.integration
def test_the_folds_are_pooled_and_a_stopped_command_goes_on(train_here: Train, phantom: Path, tmp_path: Path) -> None:
    command = [*TINY, "--ood", "true"]
    command += ["--data_dir", str(phantom), "--num_train_epochs", "1"]
    command += ["--folds", "2", "--output_dir"]
    run = tmp_path / "runs" / "folds"
    done = train_here(*command, str(run))
    assert done.returncode == 0, done.stderr
    data = open_prepared(phantom)
    predictions = pd.read_csv(run / "predictions.csv")
    test = predictions[predictions["split"] == "test"]
    assert sorted(test["file_name"]) == sorted(data.index["file_name"])
    assert sorted(set(test["fold"])) == [0, 1]
    result, folds = result_of(run), [result_of(run / f"fold{fold}") for fold in range(2)]
    assert [one["fold"] for one in [result, *folds]] == [None, 0, 1]
    assert [one["ood"] is None for one in [result, *folds]] == [True, False, False]
    assert "in the folders of their folds" in json.loads((run / "uncertainty.json").read_text())["ood_reason"]
    assert (result["test"]["n"], result["data"]["split"]) == (len(data.index), "2 folds")
    accuracy = (test["predicted"] == test["label"]).mean()
    assert result["test"]["accuracy"] == pytest.approx(accuracy)
    assert f"Test accuracy {100 * accuracy:.1f} %" in done.stdout
    weighted = sum(one["floors"]["majority"] * one["test"]["n"] for one in folds) / len(data.index)
    assert result["floors"]["majority"] == pytest.approx(weighted)
    assert result["training"]["time_to_converge_s"] == sum(one["training"]["time_to_converge_s"] for one in folds)
    assert (run / "report.html").is_file()

    assert run_here("compare.py", run.parent, "--out", tmp_path / "out").returncode == 0
    assert "2 folds" in (tmp_path / "out" / "comparison.csv").read_text()

    # Another number of folds, another recipe, other data and one run alone: nothing of them may join what stands there.
    for changes, words in {
        ("--folds", "3"): "the number of folds (--folds) was 2 and is now 3",
        ("--learning_rate", "0.5"): "the learning rate was 0.003 and is now 0.5",
        ("--data_dir", str(moved_split(phantom, tmp_path / "other"))): "the data are not those of the run",
    }.items():
        for part in ("finished", "unfinished"):
            if part == "unfinished":
                (run / "result.json").unlink(missing_ok=True)
            refused = train_here(*command, str(run), *changes)
            assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
    alone = [word for word in command if word not in ("--folds", "2")]
    assert "was 2 and is now none" in train_here(*alone, str(run)).stderr
    asked = train_here(*command, str(run), "--resume_from_checkpoint", str(run / "fold0"))
    assert "--folds goes on by itself" in asked.stderr

    # A fold with a result and no report was killed between them.
    (run / "fold1" / "report.html").unlink()
    before = (run / "fold0" / "result.json").read_bytes()
    again = train_here(*command, str(run))
    assert again.returncode == 0, again.stderr
    assert (run / "fold1" / "report.html").is_file()
    assert (run / "fold0" / "result.json").read_bytes() == before
    pd.testing.assert_frame_equal(pd.read_csv(run / "predictions.csv"), predictions)
    assert json.loads((run / "result.json").read_text())["test"] == result["test"]

    # Predictions that are not of these folds are not pooled.
    table = run / "fold1" / "predictions.csv"
    ours = pd.read_csv(table, dtype=str)
    first = pd.read_csv(run / "fold0" / "predictions.csv", dtype=str).query("split == 'test'").head(2)
    with pytest.raises(ValueError, match=r"fold0 and .*fold1 tested .* both, and 1 more images"):
        pooled_of(run, pd.concat([ours, first.assign(fold="1")]), data)
    with pytest.raises(ValueError, match=r"no fold of .* tested .*, and 2 more images"):
        pooled_of(run, ours.drop(ours.query("split == 'test'").index[:3]), data)
    with pytest.raises(ValueError, match="fold1 holds predictions of fold 4"):
        pooled_of(run, ours.assign(fold="4"), data)
