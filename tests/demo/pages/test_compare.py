"""The leaderboard shows what was committed and what is loaded, and never ranks a leaky split with a leak-free one."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pandas as pd
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from brainmri.demo.pages import compare
from brainmri.demo.pages.compare import report_frame, run_page
from brainmri.demo.pages.leaderboard import rankings, records
from brainmri.demo.pages.outside import outside, outside_page
from brainmri.demo.pages.plots import COSTS, specification
from brainmri.reporting.run_report import write_report
from brainmri.runs.compare import read_comparison
from brainmri.runs.table import system_labels
from tests.conftest import MakeRun
from tests.demo.pages.conftest import Loaded

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "results"


def test_rows_are_those_of_the_committed_table() -> None:
    table = read_comparison(RESULTS / "comparison.csv")
    models, floors = table[table["kind"] == "model"], table[table["kind"] == "floor"]
    expected = {
        (name, row.fingerprint): (row.accuracy, row.ci_low, row.ci_high, row.minutes, row.parameters, row.seeds)
        for name, row in zip(system_labels(models), models.itertuples(), strict=True)
    }
    found = {}
    for one in rankings([], RESULTS):
        fingerprint = one.rows["fingerprint"].iloc[0]
        for row in records(one):
            keys = ("accuracy", "ci_low", "ci_high", "minutes", "parameters", "seeds")
            found[row["name"], fingerprint] = tuple(row[key] for key in keys)
            kept = floors[floors["fingerprint"] == fingerprint].set_index("recipe")["accuracy"]
            assert {key: row[f"floor_{key}"] for key in kept.index} == dict(kept)
    assert len(found) == len(models)
    assert found == expected


def test_leaky_sets_are_lists_of_their_own_after_the_others() -> None:
    sets = rankings([], RESULTS)
    leaky = [one.leaky for one in sets]
    assert leaky == sorted(leaky)
    assert {True, False} <= set(leaky)
    for one in sets:
        rows = records(one)
        assert {row["leaky"] for row in rows} == {one.leaky}
        assert one.rows["fingerprint"].nunique() == 1
        accuracies = [row["accuracy"] for row in rows]
        page = compare.leaderboard_page(one)
        assert page.count("<tr>") == len(rows) + 1
        if one.leaky:
            assert page.count('<span class="mark alarm">leaky</span>') == len(rows)
            assert "Leaky split" in page
            assert 'aria-sort="descending"' not in page
        else:
            assert "leaky" not in page
            assert accuracies == sorted(accuracies, reverse=True)


def test_a_partial_schedule_carries_its_share() -> None:
    sets = rankings([], RESULTS)
    shares = [(row["schedule_share"], row["name"]) for one in sets for row in records(one)]
    assert any(share < 1 for share, _ in shares)
    assert all((share < 1) == ("of the schedule" in name) for share, name in shares)


def test_a_loaded_run_stands_in_the_list_of_its_test_set(make_run: MakeRun, loaded: Loaded) -> None:
    model = loaded(make_run("one"))
    [only] = rankings([model], None)
    [row] = records(only)
    assert (row["accuracy"], row["macro_f1"], row["auroc"]) == tuple(
        pytest.approx(getattr(model.result.test, key)) for key in ("accuracy", "macro_f1", "auroc")
    )
    assert row["loaded_here"] == "one"
    assert row["floor_nearest_neighbour"] == model.result.baselines.nearest_neighbour
    assert len(rankings([model], RESULTS)) == len(rankings([], RESULTS)) + 1
    assert rankings([model], RESULTS)[0].title == only.title  # the set of the first model is offered first
    other = loaded(make_run("leaks", data__leaky=True, data__split="source"))
    assert [one.leaky for one in rankings([other, model], None)] == [False, True]


def test_a_run_that_the_table_has_already_fills_its_row(make_run: MakeRun, loaded: Loaded, tmp_path: Path) -> None:
    from brainmri.runs.compare import compare_runs, write_comparison
    from brainmri.runs.table import read_runs

    runs = [make_run("one"), make_run("two", arch="vgg16", recipe_title="VGG")]
    write_comparison(compare_runs(read_runs(runs)), tmp_path / "results" / "comparison.csv")
    [only] = rankings([loaded(runs[0])], tmp_path / "results")
    rows = {row["recipe"]: row for row in records(only)}
    assert len(rows) == len(only.rows) == 2
    assert rows["resnet50"]["loaded_here"] == "one"
    assert rows["resnet50"]["auroc"] is not None
    assert (rows["vgg16"]["loaded_here"], rows["vgg16"]["auroc"]) == ("", None)


def test_another_seed_of_a_kept_system_is_told_apart(make_run: MakeRun, loaded: Loaded) -> None:
    models = [loaded(make_run(f"seed{seed}", seed=seed)) for seed in (1, 2)]
    [only] = rankings(models, None)
    assert len({row["name"] for row in records(only)}) == 2


def test_simulated_images_are_said_plainly(make_run: MakeRun, loaded: Loaded) -> None:
    model = loaded(make_run("simulated", data__simulated=True))
    [only] = rankings([model], None)
    assert "simulated" in only.title
    assert "No figure in this table is a clinical one" in compare.leaderboard_page(only)
    page = run_page(model)
    assert "Simulated images" in page
    assert re.search(r'<th scope="row">test/\d+\.png</th>', page)  # files are named for simulated images only
    real = run_page(loaded(make_run("real-run")))
    assert "test/" not in real
    assert "Most confident errors" not in real


def test_a_runs_page_has_every_part(make_run: MakeRun, loaded: Loaded) -> None:
    run = make_run("one", data__leaky=True)
    model = loaded(run)
    page = run_page(model)
    headings = ["Per class (test)", "Confusion matrix (test)", "Calibration", "Prediction sets", "Images it refuses"]
    assert [page.index(f"<h3>{title}</h3>") for title in headings] == sorted(
        page.index(f"<h3>{title}</h3>") for title in headings
    )
    assert "Leaky split" in page
    matrix = model.result.test.confusion_matrix
    assert page.count('<td class="right"') == len(matrix)
    assert f"{matrix[0][0]} ({matrix[0][0] / sum(matrix[0]):.1%})".replace("%", " %") in page
    assert "<h1" not in page + "".join(re.findall("<h2", page))


def test_a_model_of_others_has_nothing_to_show() -> None:
    stranger = SimpleNamespace(name="<b>x</b>", place="OWNER/NAME", classes=["a"], result=None, uncertainty=None)
    assert rankings([stranger], None) == []
    page = run_page(stranger)
    assert "comes without result.json" in page
    assert "<b>" not in page


def test_a_report_can_run_nothing_and_leave_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    report = write_report(make_run("one"))
    frame = report_frame(report, 'x" onload="alert(1)')
    assert frame.count("<") == 4  # div and iframe; all else is inside the attribute
    assert 'sandbox=""' in frame
    assert "onload=&quot;" in frame


def test_plots_have_the_points_and_floors_of_the_list() -> None:
    for one in rankings([], RESULTS):
        floors, intervals, points = specification(one, "minutes")["layer"]
        rows = {row["name"]: row for row in records(one)}
        assert {point["name"]: point["accuracy"] for point in points["data"]["values"]} == {
            name: 100 * row["accuracy"] for name, row in rows.items() if row["minutes"] is not None
        }
        assert all(point["low"] < point["accuracy"] < point["high"] for point in intervals["data"]["values"])
        assert len(floors["data"]["values"]) == sum(value is not None for value in one.floors.values())
        low, high = points["encoding"]["y"]["scale"]["domain"]
        assert low <= min(floor["accuracy"] for floor in floors["data"]["values"]) < high
        assert ("leaky" in points["encoding"]["y"]["title"]) == one.leaky


def test_minutes_are_written_as_minutes_and_parameters_in_millions() -> None:
    (one, *_) = rankings([], RESULTS)
    formats = {cost: specification(one, cost)["layer"][2]["encoding"]["x"]["axis"]["format"] for cost in COSTS}
    assert formats == {"minutes": ".3~r", "parameters": ".3~s"}  # "s" makes "100m" of a tenth of a minute


@pytest.mark.integration
def test_programs_get_the_lists_and_the_reports(make_run: MakeRun, loaded: Loaded) -> None:
    model = loaded(make_run("one"))
    with gr.Blocks() as demo:
        compare.build([model], RESULTS)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    try:
        client = Client(url, verbose=False)
        rows = client.predict(api_name="/leaderboard")
        assert rows == json.loads(json.dumps([row for one in rankings([model], RESULTS) for row in records(one)]))
        [only] = client.predict(rows[0]["test_set"], api_name="/leaderboard")
        assert only["loaded_here"] == "one"
        assert client.predict("one", api_name="/report_of")["result"] == json.loads(json.dumps(model.result.as_json()))
        with pytest.raises(AppError, match="Loaded ones: one"):
            client.predict("../etc", api_name="/report_of")
        endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
        assert set(endpoints) == {"/leaderboard", "/report_of"}
        assert all(endpoint["description"] for endpoint in endpoints.values())
        assert endpoints["/leaderboard"]["returns"][0]["type"]["type"] == "array"
    finally:
        demo.close()


def test_without_results_or_models_the_page_says_so() -> None:
    with gr.Blocks() as demo:
        compare.build([], None)
    texts = [block.value for block in demo.blocks.values() if isinstance(block, gr.HTML)]
    assert any("nothing to compare" in text for text in texts)


def test_tumours_of_a_source_that_the_training_lacked_stand_beside_the_accuracy() -> None:
    """Every figure is one of the committed tables."""
    (one, *_) = outside([], RESULTS)
    assert (one.title, one.site, one.leaky) == ("brain-tumor-mri-224, site=elsewhere held out", "elsewhere", False)
    runs = pd.read_csv(RESULTS / "neutralize" / "seeds.csv")
    found = pd.read_csv(RESULTS / "neutralize" / "detection.csv")
    assert one.tumours == found.query("site == 'elsewhere'")["tumours"].max()
    plain = runs[(runs["data"] == one.title) & (runs["changes"] == "stages.0.epochs=8")]
    [row] = [row for row in one.rows if row["name"].endswith("schedule, stages.0.epochs=8")]
    assert row["seeds"] == len(plain) == 2
    assert row["accuracy"] == pytest.approx(plain["accuracy"].mean())
    of_plain = found[found["run"].isin(plain["run"])].set_index("site")
    for key, site, rate in (
        ("outside", "elsewhere", "sensitivity"),
        ("inside", "figshare", "sensitivity"),
        ("left_alone", "all", "specificity"),
    ):
        assert row[key] == pytest.approx(of_plain.loc[site, rate].mean())
    assert row["outside_low"] == of_plain.loc["elsewhere", "sensitivity"].min() < row["outside_high"]
    outsides = [row["outside"] for row in one.rows]
    assert outsides == sorted(outsides, reverse=True)
    more = pd.read_csv(RESULTS / "standardize" / "seeds.csv")  # has runs on the same test images too
    same = pd.concat([runs, more]).query("data == @one.title")
    assert sum(row["seeds"] for row in one.rows) == same["run"].nunique()
    page = outside_page([one])
    assert page.count("<tr>") == len(one.rows) + 1
    assert all("efficientnet" in str(row["name"]) for row in one.rows)  # also of a recipe without changes
    assert f"{row['outside']:.1%}"[:-1] in page
    assert outside_page(outside([], None)) == ""
