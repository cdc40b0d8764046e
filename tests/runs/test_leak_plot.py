"""The slope plot of leaks and its table, from run folders, tables of runs and evaluations."""

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from brainmri.models.introspect import resolve
from brainmri.reporting.slope_plot import _spread
from brainmri.runs.leak import leak_table
from brainmri.runs.table import read_runs, write_seeds
from brainmri.schemas.dataset import DataSummary

from ..scripts import run_here

SPLITS = {"source": 0.97, "grouped": 0.93, "patients": 0.9}


def runs_on(make_run, arch, accuracies=SPLITS, seed=1, **changes):
    return [
        make_run(
            f"runs/{arch}-{split}-{seed}-{len(changes)}",
            arch=arch,
            seed=seed,
            data__split=split,
            data__leaky=split == "source",
            data__fingerprint=split,
            test__accuracy=accuracy,
            **({"normalize": resolve(arch).input.normalize} | changes),
        )
        for split, accuracy in accuracies.items()
    ]


@pytest.mark.integration
def test_each_recipe_is_a_line_from_the_leaky_split_to_the_patients(make_run, tmp_path):
    runs = runs_on(make_run, "resnet50") + runs_on(make_run, "resnet50", {"patients": 0.8}, seed=2)
    runs += runs_on(make_run, "cnn_4x4", {"source": 0.8, "grouped": 0.7})
    runs += runs_on(make_run, "cnn_4to32", {"source": 0.8})  # on one split only: no line
    runs += runs_on(make_run, "vit_base", weights="random")  # not what the recipe means
    done = run_here("leak_plot.py", *runs, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "2 recipes, 3 steps" in done.stdout
    table = pd.read_csv(tmp_path / "out" / "leak.csv")
    models = table[table["kind"] == "model"]
    found = [(row.recipe, row.step, round(row.accuracy, 6), row.seeds) for row in models.itertuples()]
    assert found == [
        ("cnn_4x4", "source", 0.8, 1),
        ("cnn_4x4", "grouped", 0.7, 1),
        ("resnet50", "source", 0.97, 1),
        ("resnet50", "grouped", 0.93, 1),
        ("resnet50", "patients", 0.85, 2),
    ]
    floors = table[table["kind"] == "floor"]
    assert set(floors["recipe"]) == {"majority", "nearest_neighbour", "global_statistics"}
    assert floors.groupby("recipe").size().tolist() == [3, 3, 3]
    with Image.open(tmp_path / "out" / "leak.png") as image:
        assert image.width > 900
    # The same from the committed table of these runs.
    write_seeds(read_runs(runs), tmp_path / "seeds.csv")
    assert run_here("leak_plot.py", tmp_path / "seeds.csv", "--out", tmp_path / "again").returncode == 0
    for name in ("leak.csv", "leak.png"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_what_does_not_stand_on_one_line_is_refused(make_run, tmp_path):
    runs = runs_on(make_run, "resnet50")
    other = runs_on(make_run, "cnn_4x4", data__name="other")
    done = run_here("leak_plot.py", *runs, *other, "--out", tmp_path / "out")
    assert (done.returncode, "runs of several data sets" in done.stderr) == (2, True), done.stderr
    changed = json.loads((other[1] / "result.json").read_text())
    changed["data"] |= {"name": json.loads((runs[0] / "result.json").read_text())["data"]["name"], "fingerprint": "new"}
    (other[1] / "result.json").write_text(json.dumps(changed))
    done = run_here("leak_plot.py", *runs, other[1], "--out", tmp_path / "out")
    assert (done.returncode, "several preparations of one split (grouped" in done.stderr) == (2, True), done.stderr
    done = run_here("leak_plot.py", runs[0], "--out", tmp_path / "out")
    assert (done.returncode, "no recipe was run, as it is and in full, on two" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out").exists()


def evaluated(run: Path, out: Path, accuracy: float | None, *, own: bool = False) -> Path:
    """What `brainmri evaluate` writes of a run on other images, as far as the plot looks at it."""
    result = json.loads((run / "result.json").read_text())
    summary = {key: value for key, value in result["data"].items() if key in DataSummary.model_fields}
    content = {key: result[key] for key in ("command", "created", "environment", "floors")}
    content |= {"name": run.name, "kind": "run", "split": "all", "own_data": own, "relation": "other images"}
    content |= {"run": {key: result[key] for key in ("arch", "protocol", "seed", "weights", "created")}}
    content["run"]["data"] = {key: result["data"][key] for key in ("name", "fingerprint")}
    content |= {"data": summary | {"name": "volumes", "fingerprint": "v", "split": "grouped"}, "classes": ["a", "b"]}
    content |= {
        "scores": result["test"] | {"balanced_accuracy": accuracy, "accuracy": 0.9},
        "model_classes": [],
        "data_classes": {},
    }
    content |= dict.fromkeys(("missing_reason", "detection", "calibration", "calibration_reason", "ood", "ood_reason"))
    content |= {"left_out": {}, "warnings": [], "missing": [], "schema_version": 2}
    out.mkdir()
    (out / "evaluation.json").write_text(json.dumps(content))
    return out


def test_images_from_elsewhere_are_the_last_step(make_run, tmp_path):
    runs = runs_on(make_run, "resnet50") + runs_on(make_run, "resnet50", seed=2)
    outside = [evaluated(runs[2], tmp_path / "one", 0.5), evaluated(runs[5], tmp_path / "two", 0.6)]
    done = run_here("leak_plot.py", *runs, "--outside", *outside, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    last = pd.read_csv(tmp_path / "out" / "leak.csv").query("kind == 'model'").iloc[-1]
    assert (last["step"], last["data"], last["seeds"], round(last["accuracy"], 6)) == ("outside", "volumes", 2, 0.55)
    assert last["measure"] == "mean recall"  # nine of ten images may be of one class
    one_class = evaluated(runs[2], tmp_path / "one_class", None)
    done = run_here("leak_plot.py", *runs, "--outside", one_class, "--out", tmp_path / "other")
    assert (done.returncode, "mean recall needs images of two classes" in done.stderr) == (2, True), done.stderr
    own = evaluated(runs[2], tmp_path / "own", 0.5, own=True)
    done = run_here("leak_plot.py", *runs, "--outside", own, "--out", tmp_path / "other")
    assert (done.returncode, "on data that are not its own" in done.stderr) == (2, True), done.stderr


def test_a_run_counts_once_and_as_its_recipe_is_packaged(make_run, tmp_path):
    runs = runs_on(make_run, "resnet50")
    write_seeds(read_runs(runs), tmp_path / "seeds.csv")
    other = runs_on(make_run, "resnet50", {"patients": 0.2}, seed=2, normalize="caffe")  # changes alone do not say so
    outside = evaluated(runs[2], tmp_path / "one", 0.5)
    places = [*runs, *other, tmp_path / "seeds.csv", "--outside", outside, outside, "--out", tmp_path / "out"]
    done = run_here("leak_plot.py", *places)
    assert done.returncode == 0, done.stderr
    models = pd.read_csv(tmp_path / "out" / "leak.csv").query("kind == 'model'")
    assert [*zip(models["step"], models["seeds"], models["accuracy"].round(6), strict=True)] == [
        *((split, 1, accuracy) for split, accuracy in SPLITS.items()),
        ("outside", 1, 0.5),
    ]
    again = evaluated(runs[2], tmp_path / "again", 0.6)
    done = run_here("leak_plot.py", *runs, "--outside", outside, again, "--out", tmp_path / "no")
    assert (done.returncode, "several results of one recipe, split and seed (resnet50 clean 1)" in done.stderr) == (
        2,
        1,
    )
    # An evaluation of another run: of another seed, by another formula, or by a changed recipe.
    changed = make_run("changed", arch="resnet50", seed=1, data__fingerprint="patients", created="2026-01-02T03:04:05")
    for run in (*runs_on(make_run, "resnet50", {"patients": 0.8}, seed=3), other[0], changed):
        strange = evaluated(run, tmp_path / f"of-{run.name}", 0.5)
        done = run_here("leak_plot.py", *runs, "--outside", strange, "--out", tmp_path / "no")
        assert (done.returncode, "which is none of the runs that count" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "no").exists()


def test_a_recipe_of_the_hub_counts_where_the_hub_is_out_of_reach(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr("brainmri.runs.leak.packaged", lambda *_: (_ for _ in ()).throw(OSError("no network")))
    runs = read_runs(runs_on(make_run, "resnet50")).assign(recipe="hf:OWNER/absent")
    assert leak_table(runs, []).query("kind == 'model'")["recipe"].unique() == ["hf:OWNER/absent"]


def test_names_keep_their_distance_and_their_order():
    heights = _spread([90.0, 90.1, 90.05, 50.0], 2)
    assert heights[3] == 50
    assert heights[0] < heights[2] < heights[1]
    assert min(abs(a - b) for a in heights for b in heights if a is not b) >= 2 - 1e-6
    assert _spread([99.0, 99.5, 99.7], 2) == [96, 98, 100]  # none runs into the title
