"""Rows of a table of runs, made again from the raw folder of their images."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from brainmri.data.phantom.generate import make_phantom
from brainmri.models.introspect import resolve
from brainmri.runs.ablations import ABLATIONS, ablation_rows
from brainmri.runs.ablations import RECIPE as ABLATED
from brainmri.runs.reproduce import chosen, rows_of
from brainmri.runs.table import SEEDS, TEXT, read_runs, read_table, write_seeds

from ..scripts import run_here
from ..training.conftest import RECIPE


def rows_from(runs, tmp_path):
    write_seeds(read_runs(runs), tmp_path / "seeds.csv")
    return {row.run: row for row in rows_of(read_table(tmp_path / "seeds.csv", SEEDS, TEXT))}


def test_a_row_becomes_the_commands_that_made_it(make_run, tmp_path):
    changes = ["input.size=96", "stages.0.sizes=[64, 96]"]
    runs = [
        make_run("a", arch="cnn_4x4", weights="random", data__split="patients", normalize="unit"),
        make_run("b", recipe=changes, normalize="caffe", seed=3, training__precision="bf16"),
        make_run("c", arch="resnet50_frozen", weights="random", data__split="source", data__leaky=True),
        make_run("d", arch="cnn_4to16", weights="random", data__split="patients, 5 folds", protocol="published"),
        make_run("e", arch="cnn_4to32", weights="random", data__split="4 folds"),
    ]
    rows = rows_from(runs, tmp_path)
    plain = rows["cnn_4x4 clean seed 1"]
    assert (plain.prepare, plain.reason) == (("--split", "patients", "--split_seed", "42"), "")
    flags = "--arch cnn_4x4 --protocol clean --seed 1 --weights random --bf16 false --fp16 false"
    assert " ".join(plain.train).startswith(flags)
    changed = next(row for name, row in rows.items() if name.startswith("resnet50 clean"))
    assert changed.train[-5:] == ("--normalize", "caffe", "--recipe", *changes)
    assert "--weights imagenet --bf16 true" in " ".join(changed.train)  # never random ones in their place
    frozen = rows["resnet50_frozen clean seed 1, weights random"]
    assert (frozen.prepare[1], frozen.train[7]) == ("source", "random")
    pooled = next(row for name, row in rows.items() if name.startswith("cnn_4to16"))
    assert pooled.prepare[1] == "patients" and pooled.train[pooled.train.index("--folds") + 1] == "patients"
    folds = next(row for name, row in rows.items() if name.startswith("cnn_4to32"))
    assert folds.prepare[1] == "grouped" and folds.train[folds.train.index("--folds") + 1] == "4"
    assert len({row.folder for row in rows.values()}) == 5


def test_what_a_raw_folder_is_not_enough_for_says_why(make_run, tmp_path):
    runs = [
        make_run("a", data__simulated=True),
        make_run("b", arch="cnn_4x4", weights="random", training__schedule_fraction=0.5),
        make_run("c", arch="cnn_4to16", weights="random", fold=2),
        make_run("d", arch="cnn_4to32", weights="random", data__split="2 sites, one left out at a time"),
        make_run("e", arch="resnet_small", weights="random", data__name="x, site=oslo held out"),
        make_run("f", arch="cnn_32to256", weights="runs/mine, sha256 0123abcd"),  # ImageNet's would be another run
        make_run("g", arch="hybrid_cnn_vit", weights="random", data__name="x, two classes"),
        make_run(
            *("h",),
            arch="cnn_six_block",
            weights="random",
            recipe=["stages.0.epochs=3"],
            training__schedule_fraction=0.05,  # of 30 epochs, so that half of its own were run
        ),
    ]
    reasons = [row.reason for row in rows_from(runs, tmp_path).values()]
    assert all(reasons) and len(set(reasons)) == 7
    done = run_here("reproduce.py", tmp_path, "--table", tmp_path / "seeds.csv", "--list")
    assert done.returncode == 0 and all(reason in done.stdout for reason in reasons)
    done = run_here("reproduce.py", tmp_path, "--table", tmp_path / "seeds.csv", "--check", "resnet50 clean seed 1")
    assert (done.returncode, "cannot be made again: it is of the simulated set" in done.stderr) == (2, True)
    done = run_here("reproduce.py", tmp_path, "--table", tmp_path / "seeds.csv", "--check", "")
    assert (done.returncode, "--check: no row ''" in done.stderr) == (2, True)


def test_the_row_to_check_is_named_with_its_split_where_it_must_be(make_run, tmp_path):
    runs = [make_run("a"), make_run("b", data__split="source", data__leaky=True)]
    write_seeds(read_runs(runs), tmp_path / "seeds.csv")
    rows = rows_of(read_table(tmp_path / "seeds.csv", SEEDS, TEXT))
    assert chosen(rows, "resnet50 clean seed 1 @ source").split == "source"
    with pytest.raises(ValueError, match=r"stands on several splits: .* @ grouped; .* @ source"):
        chosen(rows, "resnet50 clean seed 1")
    with pytest.raises(ValueError, match=r"no row 'resnet50 clean seed 2 @ source'.*did you mean"):
        chosen(rows, "resnet50 clean seed 2 @ source")
    with pytest.raises(ValueError, match=r"no row 'resnet50': did you mean resnet50 clean seed 1 @ grouped or"):
        chosen(rows, "resnet50")
    for arguments, words in (
        ([tmp_path / "absent"], "no such folder"),
        ([tmp_path, "--table", tmp_path / "absent.csv"], "no such file; give --table"),
    ):
        done = run_here("reproduce.py", *arguments)
        assert (done.returncode, words in done.stderr) == (2, True)


def test_rows_of_two_data_sets_are_never_taken_for_each_other(make_run, tmp_path):
    runs = [
        make_run("a", data__name="one"),
        make_run("b", arch="efficientnet_b0_binary", weights="random", data__name="two, two classes"),
    ]
    write_seeds(read_runs(runs), tmp_path / "seeds.csv")
    flags = [tmp_path, "--table", tmp_path / "seeds.csv", "--out", tmp_path / "out"]
    done = run_here("reproduce.py", *flags)
    assert (done.returncode, "several data sets: give --data, one of one; two" in done.stderr) == (2, True)
    assert not (tmp_path / "out").exists()
    counts = [run_here("reproduce.py", *flags, "--list", *own).stdout.count("@") for own in ([], ["--data", "two"])]
    assert counts == [2, 1]
    done = run_here("reproduce.py", *flags, "--data", "three")
    assert (done.returncode, "seeds.csv holds runs of one; two" in done.stderr) == (2, True)
    done = run_here("reproduce.py", tmp_path, "--ablations", "--data", "one", "--list")
    assert (done.returncode, "--data is of a table" in done.stderr) == (2, True)


def test_outlines_go_to_the_preparation_and_a_failed_command_is_the_exit_status(make_run, tmp_path, monkeypatch):
    write_seeds(read_runs([make_run("a", arch="cnn_4x4", weights="random")]), tmp_path / "seeds.csv")
    outlines, commands = tmp_path / "outlines.csv", []
    flags = [tmp_path, "--table", tmp_path / "seeds.csv", "--out", tmp_path / "out", "--outlines", outlines]
    assert "no such file" in run_here("reproduce.py", *flags).stderr
    outlines.touch()

    def run(command):
        commands.append(command)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr("brainmri.cli.reproduce.subprocess.run", run)
    done = run_here("reproduce.py", *flags)
    assert (done.returncode, "not made again: brainmri prepare_data ended with status 3" in done.stdout) == (1, True)
    assert len(commands) == 1 and commands[0][-2:] == ["--outlines", str(outlines)]
    assert pd.read_csv(tmp_path / "out" / "reproduced.csv")["reason"].str.contains("status 3").all()
    # The same folder for other images would train on those that it holds.
    (tmp_path / "out" / "data").mkdir()
    assert run_here("reproduce.py", *flags).returncode == 1
    (tmp_path / "other").mkdir()
    for changed in ([tmp_path / "other", *flags[1:]], flags[:-2]):
        done = run_here("reproduce.py", *changed)
        assert (done.returncode, "holds data of another SOURCE, or with other --outlines" in done.stderr) == (2, True)
    assert len(commands) == 2
    assert run_here("reproduce.py", *flags[:1], "--ablations", *flags[3:]).returncode == 1
    assert pd.read_csv(tmp_path / "out" / "reproduced.csv")["run"].tolist() == ["cnn_4x4 clean seed 1"]
    assert len(pd.read_csv(tmp_path / "out" / "ablations.csv")) == len(ABLATIONS)


def test_each_ablation_is_one_system_of_its_own_that_its_recipe_allows(tmp_path):
    systems = set()
    for one, row in zip(ABLATIONS, ablation_rows(42), strict=True):
        recipe = resolve(ABLATED, "clean", list(one.changes))  # every key exists, and the changes go together
        systems.add((recipe.model_dump_json(), one.formula, one.weights, one.split))
        assert row.prepare[:2] == ("--split", one.split) and row.accuracy is None
        changes = row.train[row.train.index("--recipe") + 1 :] if one.changes else ()
        assert changes == one.changes
    assert len(systems) == len(ABLATIONS) == len({row.folder for row in ablation_rows(42)})
    plain = resolve(ABLATED)
    off = resolve(ABLATED, "clean", list(next(one.changes for one in ABLATIONS if one.name == "no augmentation")))
    assert plain.augmentations() and not off.augmentations()
    assert plain.duplicate_aware_sampling and plain.input.normalize not in {one.formula for one in ABLATIONS}

    done = run_here("reproduce.py", tmp_path, "--ablations", "--list")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "as it is, seed 42 @ patients: efficientnet_lite0_quick, changed"
    assert len(done.stdout.splitlines()) == len(ABLATIONS)
    done = run_here("reproduce.py", tmp_path, "--ablations", "--check", "no augmentation, seed 43 @ patients")
    assert (done.returncode, "did you mean" in done.stderr) == (2, True)


@pytest.mark.slow
def test_a_row_is_trained_from_the_raw_folder_and_its_accuracy_comes_back(tmp_path, monkeypatch, capfd):
    raw = make_phantom(tmp_path / "phantom", subjects=32, size=32, slices_per_subject=4, progress=False)
    for record in ("simulated.json", "groups.csv", "outlines.csv"):  # so that they count as anybody's images
        (raw / record).unlink(missing_ok=True)
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    assert run_here("prepare_data.py", raw, tmp_path / "data", "--layout", "imagefolder").returncode == 0
    command = ["--arch", "cnn_4x4", "--recipe", *RECIPE, "stages.0.epochs=1", "--bf16", "false", "--seed", "7"]
    first = tmp_path / "first"
    done = run_here("train.py", *command, "--data_dir", tmp_path / "data", "--output_dir", first)
    assert done.returncode == 0, done.stderr
    table = tmp_path / "seeds.csv"
    write_seeds(read_runs([first]), table)
    reproduce = [raw, "--table", table, "--out", tmp_path / "out"]

    done = run_here("reproduce.py", *reproduce)
    assert done.returncode == 0, done.stdout + done.stderr + capfd.readouterr().out
    found = pd.read_csv(tmp_path / "out" / "reproduced.csv").iloc[0]
    assert found["accuracy_now"] == pytest.approx(found["accuracy"])
    assert found["within"] and found["same_data"]
    (run,) = (tmp_path / "out" / "runs").glob("grouped*")
    before = (run / "result.json").read_bytes()

    # What was never measured has nothing to come back to.
    row = ablation_rows(42)[0]
    assert row.outcome(run)["accuracy_now"] == found["accuracy_now"] and row.outcome(run)["within"] is None

    # The same again trains nothing; an interval that the accuracy misses is said, and is the exit status.
    stored = pd.read_csv(table, keep_default_na=False)
    stored.assign(ci_low=0.0, ci_high=0.01, fingerprint="other").to_csv(table, index=False)
    name = stored["run"][0]
    done = run_here("reproduce.py", *reproduce, "--check", f"{name} @ grouped")
    assert done.returncode == 1
    assert "DOES NOT COME BACK; the data are others than then" in done.stdout
    assert (run / "result.json").read_bytes() == before

    # A row that cannot be trained does not hide the others.
    stored.assign(normalize="nothing").to_csv(table, index=False)
    done = run_here("reproduce.py", *reproduce)
    assert (done.returncode, "brainmri train ended with status 2" in done.stdout) == (1, True), done.stdout
    assert Path(tmp_path / "out" / "reproduced.csv").is_file()
