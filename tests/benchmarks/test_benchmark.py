"""scripts/benchmark.py in a subprocess, on a tiny phantom set. Times are not tested, only what is said of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from PIL import Image

from benchmarks.timing import comparison
from brainmri.data.phantom.generate import make_phantom
from brainmri.data.prepare import prepare

from ..scripts import run_here

ROOT = Path(__file__).parents[2]
TINY = ["--archs", "cnn_4x4", "--recipe", "input.size=32", "model.arguments.image_size=32", "batch_size=8"]
TINY += ["--images", "16", "--repeats", "2"]
ENTRIES = {"title", "reference", "images", "seconds", "medians", "images_per_second", "ratios", "target", "met"}
WAYS = {
    "pipeline": [
        {"ours", *(f"{kind}'s transformations, {workers} workers" for workers in (0, 2))}
        for kind in ("recipe", "example")
    ],
    "epoch": [{"ours", "usual, 0 workers", "usual, 2 workers"}],
    "step": [{"SliceTrainer", "bare loop"}],
    "precision": [{"fp32", "bf16"}],
    "augmentation": [{"ours", "torchvision v2, one by one", "kornia"}] * 2,
    "inference": [{"eager fp32", "bf16 autocast", "ONNX Runtime", "OpenVINO"}] * 2,
    "startup": [{path.name for path in (ROOT / "scripts").glob("*.py")} - {"train.py"}, {"train.py"}],
}
Benchmark = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """benchmark(*arguments): run the script to its end, on the tiny set unless --data_dir is given."""
    folder = tmp_path_factory.mktemp("benchmark")
    raw = make_phantom(folder / "raw", subjects=24, size=32, slices_per_subject=6, progress=False)
    ready = prepare(raw, folder / "ready", layout="imagefolder", groups=raw / "groups.csv", name="phantom tiny")
    cache = str(folder / "cache")
    environment = os.environ | {
        "BRAINMRI_CACHE": cache,
        "HF_HOME": cache,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        data = () if "--data_dir" in arguments else ("--data_dir", str(ready))
        command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), *arguments, *data]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    return run


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(["pipeline", "epoch", "step", "precision"], marks=pytest.mark.slow),
        pytest.param(["augmentation", "inference"], marks=pytest.mark.slow),
        pytest.param(["startup"], marks=pytest.mark.slow),
    ],
)
def test_a_part_leaves_its_figures(benchmark: Benchmark, parts: list[str], tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("<!-- benchmark:start -->\n<!-- benchmark:end -->\n")
    done = benchmark("--only", *parts, *TINY, "--out", str(tmp_path / "out"), "--readme", str(readme))
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert set(report) == {"environment", "data", "repeats", "parts"}
    assert (report["data"], report["repeats"]) == ("phantom tiny", 2)
    assert {"hardware", "threads", "torch"} <= set(report["environment"])
    assert list(report["parts"]) == parts
    for part in parts:
        assert part in done.stdout
        found = report["parts"][part]
        assert [set(one["medians"]) | set(one.get("not_installed", {})) for one in found] == WAYS[part]
        for one in found:
            assert set(one) >= {*ENTRIES, "made"}
            assert one["title"] in done.stdout
            assert f"| {part} | {one['title']} | " in readme.read_text()
            _check(one, repeats=2)
            if part == "inference":
                _check_predictions(one)
        with Image.open(tmp_path / "out" / f"{part}.png") as image:
            assert min(image.size) > 200
            assert np.asarray(image.convert("L")).std() > 5


@pytest.mark.integration
def test_grouping_leaves_a_row_for_each_size(benchmark: Benchmark, tmp_path: Path) -> None:
    earlier = {"title": "measured before"}
    report: dict = {"repeats": 5, "parts": {"step": [earlier]}}
    (tmp_path / "benchmark.json").write_text(json.dumps(report))
    refused = benchmark("--only", "grouping", "--sizes", "100", "--repeats", "5", "--out", str(tmp_path))
    assert refused.returncode == 2
    assert "holds something that this command did not make" in refused.stderr
    assert json.loads((tmp_path / "benchmark.json").read_text()) == report
    for size, kept in (("100", []), ("50", [earlier])):  # what was measured by a report of another setting goes
        report["parts"]["step"] = [earlier]
        (tmp_path / "benchmark.json").write_text(json.dumps(report))
        flags = ["--overwrite"] if size == "100" else []
        done = benchmark("--only", "grouping", "--sizes", size, "--repeats", "5", "--out", str(tmp_path), *flags)
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / "benchmark.json").read_text())
        assert report["parts"].get("step", []) == kept
    rows = report["parts"]["grouping"]
    assert [row["size"] for row in rows] == [100, 50]  # the row of the first command stays
    assert all(row["seconds"] >= 0 and 1 <= row["groups"] <= row["size"] for row in rows)
    assert (tmp_path / "grouping.png").is_file()


@pytest.mark.slow
def test_the_demo_is_measured_slice_by_slice(benchmark: Benchmark, tmp_path: Path) -> None:
    done = benchmark("--only", "demo", *TINY[:-2], "--repeats", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    judged, parts = json.loads((tmp_path / "benchmark.json").read_text())["parts"]["demo"]
    assert set(judged["medians"]) == {"judged"}
    assert set(parts["medians"]) == {"preprocessing alone", "network alone", "map"}
    for one in (judged, parts):
        _check(one, repeats=40)
        assert all(one["p95"][name] >= value for name, value in one["medians"].items())
    assert judged["target"] == {"at_most": 0.06}
    assert "(95 %: " in done.stdout


@pytest.mark.slow
def test_features_are_measured_against_their_own_cost(benchmark: Benchmark, tmp_path: Path) -> None:
    tiny = ["model.arguments.architecture=test_resnet", "input.size=32", "batch_size=8"]
    options = ["--archs", "resnet50_frozen", "--recipe", *tiny, "--images", "16", "--repeats", "1"]
    done = benchmark("--only", "features", *options, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (one,) = json.loads((tmp_path / "benchmark.json").read_text())["parts"]["features"]
    assert set(one["medians"]) == {"one pass over the views", "50 epochs on features"}
    assert one["images"] == 4 * 16
    _check(one, repeats=1)


def _check(one: dict, repeats: int) -> None:
    reference = one["reference"]
    for name, seconds in one["seconds"].items():
        assert len(seconds) == repeats
        assert min(seconds) > 0
        assert one["medians"][name] == median(seconds)
        if one["images"]:
            assert one["images_per_second"][name] == pytest.approx(one["images"] / median(seconds))
    assert set(one["ratios"]) == (set(one["medians"]) - {reference} if reference else set())
    for name, ratio in one["ratios"].items():
        assert ratio == pytest.approx(one["medians"][name] / one["medians"][reference])


def _check_predictions(one: dict) -> None:
    differences = dict(one["largest_difference"])
    assert set(differences) == set(one["medians"])
    assert differences.pop("eager fp32") == 0
    assert differences.pop("bf16 autocast") < 0.05
    assert all(value < 1e-4 for value in differences.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "pipeline", "speed"], "unknown part speed"),
        (["--data_dir", "nowhere"], "no such folder"),
        (["--repeats", "0"], "--repeats"),
        (["--images", "0"], "--images"),
    ],
)
def test_mistakes_are_named(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run_here("benchmark.py", *arguments, "--out", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr


def test_all_ratios_have_to_meet_the_target() -> None:
    seconds = {"ours": [1.0, 3.0, 2.0], "slow": [20.0] * 3, "less slow": [9.0, 8.0, 10.0]}
    one = comparison("one", seconds, reference="ours", images=4, at_least=5)
    assert one["ratios"] == {"slow": 10, "less slow": 4.5}
    assert one["images_per_second"]["ours"] == 2
    assert one["target"] == {"at_least": 5}
    assert one["met"] is False
    assert comparison("one", seconds, reference="ours", at_least=4.5)["met"] is True
    assert comparison("one", seconds, reference="ours", at_most=9)["met"] is False
    assert comparison("one", seconds, at_most=20)["met"] is True
    assert comparison("one", seconds, reference="ours")["met"] is None
