"""Results that are kept without their run folders: an update says what a comparison of all runs would say."""

import shutil

import pandas as pd
import pytest

from ..scripts import run_here

pytestmark = pytest.mark.integration  # each compares dozens of runs several times

SOURCE = {"data__split": "source", "data__leaky": True, "data__fingerprint": "f" * 16}


def compare(*arguments: object) -> str:
    done = run_here("compare.py", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_update_keeps_the_results_of_the_other_recipes(make_scored, tmp_path):
    kept = [make_scored(f"kept{seed}", range(4 * seed), seed=seed) for seed in (1, 2)]
    kept.append(make_scored("kept-source", range(9), **SOURCE))
    old = [make_scored("old", range(100), arch="cnn_4x4", training__epochs_scheduled=5)]
    new = [make_scored(f"new{seed}", range(30 + 20 * seed), arch="cnn_4x4", seed=seed) for seed in (1, 2)]
    new.append(make_scored("new-source", range(5), arch="cnn_4x4", **SOURCE))

    compare(*kept, *new, "--out", tmp_path / "whole")
    compare(*kept, *old, "--out", tmp_path / "updated")
    for folder in (*kept, *old):
        shutil.rmtree(folder)
    compare(*new, "--update", "--out", tmp_path / "updated")

    whole, updated = tmp_path / "whole", tmp_path / "updated"
    for name in ("comparison.csv", "seeds.csv", "best_epochs.md"):
        assert (updated / name).read_text() == (whole / name).read_text(), name
    expected, tests = (pd.read_csv(out / "paired_tests.csv") for out in (whole, updated))
    of_one_recipe = expected["run_a"].str.split().str[0] == expected["run_b"].str.split().str[0]
    figures = [name for name in expected.columns if name != "p_group_holm"]
    pd.testing.assert_frame_equal(tests[figures], expected[of_one_recipe][figures].reset_index(drop=True))
    grouped = tests[~tests["leaky"]]
    assert len(grouped) == 2
    assert grouped["p_group_holm"].min() == pytest.approx(2 * grouped["p_group"].min())  # over two pairs now
    assert "An empty cell above the diagonal: not tested" in (updated / "paired_tests.md").read_text()
    assert "An empty cell" not in (whole / "paired_tests.md").read_text()


def test_more_seeds_join_those_that_are_there(make_scored, tmp_path):
    first, again, other = (
        make_scored(name, range(9), seed=seed, test__accuracy=accuracy)
        for name, seed, accuracy in (("a", 1, 0.9), ("b", 1, 0.5), ("c", 2, 0.8))
    )
    compare(first, "--out", tmp_path / "out")
    compare(other, "--add", "--out", tmp_path / "out")
    seeds = pd.read_csv(tmp_path / "out" / "seeds.csv")
    assert seeds["seed"].tolist() == [1, 2]
    assert "(2 seeds)" in compare("--from_csv", tmp_path / "out" / "comparison.csv")
    compare(again, "--add", "--out", tmp_path / "out")
    replaced = pd.read_csv(tmp_path / "out" / "seeds.csv")
    assert replaced["seed"].tolist() == [1, 2]
    assert replaced["accuracy"].tolist() == [0.5, 0.8]
    (tmp_path / "out" / "paired_tests.csv").unlink()  # as in a folder that keeps its tables alone
    compare(other, "--add", "--out", tmp_path / "out")
    assert pd.read_csv(tmp_path / "out" / "seeds.csv")["seed"].tolist() == [1, 2]


def test_a_run_that_is_given_again_keeps_its_tests_against_runs_that_are_gone(make_scored, tmp_path):
    one, two, three = (make_scored(name, range(9 - seed), seed=seed) for seed, name in enumerate(("a", "b", "c")))
    compare(one, two, "--out", tmp_path / "out")
    shutil.rmtree(two)
    compare(one, three, "--add", "--out", tmp_path / "out")
    tests = pd.read_csv(tmp_path / "out" / "paired_tests.csv")
    assert [(a[-1], b[-1]) for a, b in zip(tests["run_a"], tests["run_b"], strict=True)] == [("0", "1"), ("0", "2")]


def test_an_update_of_nothing_says_so(make_scored, tmp_path):
    done = run_here("compare.py", make_scored("one", [1]), "--update", "--out", tmp_path / "none")
    assert done.returncode == 2
    assert "seeds.csv" in done.stderr
    assert not (tmp_path / "none").exists()


def test_results_of_other_runs_stay_unless_it_is_asked_for(make_scored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = make_scored("one", range(9), seed=1), make_scored("two", range(5), seed=2)
    readme = tmp_path / "README.md"
    readme.write_text("<!-- results:start -->\n<!-- results:end -->\n")
    compare(one, "--out", "results", "--readme")
    (tmp_path / "results" / "notes.txt").write_text("mine")

    def kept():
        return {path: path.read_bytes() for path in (*(tmp_path / "results").rglob("*.*"), readme)}

    before = kept()
    refused = run_here("compare.py", two, "--out", "results", "--readme")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "results holds what was made of other inputs" in refused.stderr
    refused = run_here("compare.py", two, "--out", "elsewhere", "--readme")  # whose table stands in the README?
    assert refused.returncode == 2
    assert "holds another text between its markers (results): give --overwrite" in refused.stderr
    assert kept() == before
    assert not (tmp_path / "elsewhere").exists()
    compare(one, "--out", "results", "--readme")  # the same again
    assert kept() == before
    for run in (one, two, one):
        compare(run)
    assert len(list((tmp_path / "comparisons").iterdir())) == 2
    compare(two, "--out", "results", "--readme", "--overwrite")
    assert kept() != before
    assert (tmp_path / "results" / "notes.txt").read_text() == "mine"
    compare(one, "--out", "results", "--add", "--readme")  # which says what of the earlier ones stays
    assert pd.read_csv(tmp_path / "results" / "seeds.csv")["seed"].tolist() == [1, 2]
