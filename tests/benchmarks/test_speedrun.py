"""The time to 95 %: what the table says of runs, which entries count, and two seeds trained in turns."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import speedrun
from brainmri.reporting.html import insert
from brainmri.runs.leak import runs_of
from brainmri.schemas import read_result

from ..training.conftest import RECIPE, phantom  # noqa: F401

ROOT = Path(__file__).parents[2]
TWO_CORES = {"data__simulated": False, "environment__hardware": "AMD EPYC, 2 cores"}


def entry(make_run, name, seeds, minutes=10.0, accuracy=0.96, **changes):
    return [
        make_run(
            f"{name}-{seed}",
            arch=name,
            seed=seed,
            weights="random",
            training__time_to_converge_s=60 * (minutes + seed % 3),
            test__accuracy=accuracy + 0.001 * (seed % 3),
            **(TWO_CORES | changes),
        )
        for seed in range(42, 42 + seeds)
    ]


@pytest.mark.integration
def test_ten_seeds_above_the_goal_are_a_record_and_others_say_what_they_lack(make_run):
    runs = entry(make_run, "cnn_4x4", 10)
    runs += entry(make_run, "cnn_4to16", 10, minutes=2, accuracy=0.9)
    runs += entry(make_run, "cnn_4to32", 1, minutes=1)
    runs += entry(make_run, "resnet_small", 2, minutes=20, environment__hardware="AMD EPYC, 64 cores")
    runs += entry(
        make_run, "hybrid_cnn_vit", 1, minutes=21, recipe=["stages.0.epochs=3"], training__schedule_fraction=0.2
    )
    runs += entry(make_run, "cnn_32to256", 1, minutes=22, training__schedule_fraction=0.2)
    runs += entry(make_run, "cnn_six_block", 10, data__split="source", data__leaky=True)
    found = runs_of(runs)
    table = speedrun.scored(found)
    pd.testing.assert_frame_equal(speedrun.scored(pd.concat([found, found])), table)  # two tables with the same runs
    with pytest.raises(ValueError, match=r"several results of .*: no seed is run again"):
        speedrun.scored(pd.concat([found, found.assign(accuracy=0.97)]))
    assert table["recipe"].tolist() == [
        "cnn_4to32",
        "cnn_4to16",
        "cnn_4x4",
        "resnet_small",
        "hybrid_cnn_vit",
        "cnn_32to256",
    ]
    found = table.set_index("recipe")
    assert found["lacks"].to_dict() == {
        "cnn_4to32": "1 of 10 seeds",
        "cnn_4to16": "below 95 %",
        "cnn_4x4": "",
        "resnet_small": "2 of 10 seeds; not on 2 cores",
        "hybrid_cnn_vit": "1 of 10 seeds",  # a shorter schedule is a recipe as any other
        "cnn_32to256": "1 of 10 seeds; a part of the schedule",
    }
    record = found.loc["cnn_4x4"]
    assert (record["seeds"], record["minutes"]) == (10, pytest.approx(10.9))
    # Student's interval of ten values: 2.262 standard errors either way.
    minutes = pd.Series([10.0 + seed % 3 for seed in range(42, 52)])
    assert record["minutes_high"] - record["minutes"] == pytest.approx(2.262157 * minutes.std() / 10**0.5)
    lines = speedrun.markdown(table).splitlines()
    assert "| 1 | 1.0 | 96.0 % |" in lines[2]  # one seed has no interval
    assert lines[4].startswith("| `cnn_4x4` | 10 | 10.9 [10.3, 11.5] | 96.1 % [96.0, 96.2] |")
    assert lines[4].endswith(" yes |")
    with pytest.raises(ValueError, match=r"no run of cnn_six_block on the split by group"):
        speedrun.scored(runs_of(runs), ["cnn_six_block"])


def test_the_page_states_what_the_committed_runs_give():
    page = (ROOT / "docs" / "speedrun.md").read_text(encoding="utf-8")
    table = speedrun.scored(runs_of([ROOT / "results" / "speedrun" / "seeds.csv"]))
    assert insert(page, speedrun.markdown(table), "speedrun", Path("page.md")) == page


@pytest.mark.slow  # several trainings
def test_seeds_are_trained_in_turns_and_a_finished_one_never_again(phantom, tmp_path, monkeypatch, capfd):  # noqa: F811
    import os

    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    before = os.sched_getaffinity(0)
    command = ["run", str(phantom), "--arch", "cnn_4x4", "--recipe", *RECIPE, "stages.0.epochs=1", "--seeds", "2"]
    command += ["--cores", str(min(before)), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["speedrun", *command])
    try:
        assert speedrun.main() == 0
        printed = capfd.readouterr().out
        folders = sorted((tmp_path / "out").glob("cnn*"))
        assert [folder.name for folder in folders] == ["cnn_4x4-changed-42", "cnn_4x4-changed-43"]
        assert "simulated images; 2 of 10 seeds; not on 2 cores; below 95 %" in printed
        assert read_result(folders[0]).environment.threads == 1
        first = (folders[0] / "result.json").stat().st_mtime_ns
        assert speedrun.main() == 0
        assert (folders[0] / "result.json").stat().st_mtime_ns == first
        record = ["--against", "cnn_4x4", "--against_seeds"]
        monkeypatch.setattr("sys.argv", ["speedrun", *command, *record, "43"])
        assert speedrun.main() == 0
        assert [path.name for path in (tmp_path / "out").glob("cnn_4x4-4*")] == ["cnn_4x4-43"]
        monkeypatch.setattr("sys.argv", ["speedrun", *command, *record, "43", "44"])
        with pytest.raises(ValueError, match="--against_seeds: 44 is no seed of the entry"):
            speedrun.main()
        monkeypatch.setattr("sys.argv", ["speedrun", *command, "--cores", "9999"])
        with pytest.raises(ValueError, match="9999 cannot be used"):
            speedrun.main()
    finally:
        os.sched_setaffinity(0, before)
