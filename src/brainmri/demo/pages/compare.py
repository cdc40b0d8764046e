"""Compare: the leaderboard with baselines and intervals, plots, tumours found, and one run's own page and report."""

# Without postponed annotations: `gr.api` reads the types of the endpoints as they are.
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import gradio as gr

from brainmri.demo.model import DemoModel, file_of
from brainmri.demo.pages.components import file_text, heading, paragraph
from brainmri.demo.pages.leaderboard import Ranking, rankings, records
from brainmri.demo.pages.outside import outside, outside_page
from brainmri.demo.pages.plots import COSTS, accuracy_against
from brainmri.reporting.comparison_plots import BASELINE_LABELS
from brainmri.reporting.html import embedded_figures, render, shown
from brainmri.wording import DASH, data_title

if TYPE_CHECKING:
    from brainmri.schemas import RunResult


def build(models: Sequence[DemoModel], results: Path | None) -> None:
    """The page, inside a tab, with the endpoints `/leaderboard` and `/report_of`.

    Args:
        models: the loaded models, in the order in which they are offered.
        results: the folder with comparison.csv and perhaps detection.csv, seeds.csv, and folders of these, or None.
    """
    sets = {one.title: one for one in rankings(models, results)}
    named = {model.name: model for model in models}

    gr.HTML(heading("Compare", "Systems are compared on one test set at a time, beside what needs no network at all."))
    if sets:
        first = next(iter(sets.values()))
        choice = gr.Dropdown(
            list(sets), value=first.title, label="Data and split", info="Leak-free ones first.", interactive=True
        )
        table = gr.HTML(leaderboard_page(first), js_on_load=file_text("sort.js"), elem_id="leaderboard")
        with gr.Row():
            plots = [
                gr.Plot(
                    accuracy_against(first, cost),
                    label=f"Accuracy against {title}",
                    show_label=False,
                    elem_classes="chart",
                )
                for cost, title in COSTS.items()
            ]
        tumours = gr.HTML(detections_page(first))

        def show(title: str) -> list[Any]:
            chosen = sets[title]
            charts = [accuracy_against(chosen, cost) for cost in COSTS]
            return [leaderboard_page(chosen), *charts, detections_page(chosen)]

        choice.change(show, choice, [table, *plots, tumours], api_visibility="private", show_progress="hidden")
    else:
        gr.HTML(paragraph("There is nothing to compare: no results folder, and no loaded model has a result."))
    if page := outside_page(outside(models, results)):
        gr.HTML(page)
    if named:
        _one_model(named)

    def leaderboard(test_set: str = "") -> list[dict[str, Any]]:
        """The leaderboard of one test set, or of every one; leaky ones carry `leaky`, simulated ones `simulated`.

        Parameters:
            test_set: the title of a data set and split as the page offers it; empty for all, leak-free ones first.
        """
        if test_set and test_set not in sets:
            raise gr.Error(f"Unknown test set. Known ones: {'; '.join(sets)}", print_exception=False)
        return [row for title, one in sets.items() if test_set in ("", title) for row in records(one)]

    def report_of(model: str) -> dict[str, Any]:
        """All that was measured of a loaded model: `result` (result.json) and `uncertainty` (uncertainty.json), null
        where absent.

        Parameters:
            model: the name of a model as the page offers it.
        """
        if model not in named:
            raise gr.Error(f"Unknown model. Loaded ones: {'; '.join(named)}", print_exception=False)
        found = {"result": named[model].result, "uncertainty": named[model].uncertainty}
        return {name: record.as_json() if record else None for name, record in found.items()}

    gr.api(leaderboard, api_name="leaderboard")
    gr.api(report_of, api_name="report_of")


def leaderboard_page(chosen: Ranking) -> str:
    """HTML: the list of a test set, sortable."""
    return render(
        "leaderboard.html.jinja",
        packages=("demo/pages/templates",),
        chosen=chosen,
        rows=records(chosen),
        floors=BASELINE_LABELS,
        dash=DASH,
    )


def detections_page(chosen: Ranking) -> str:
    """HTML: the tumours that the runs of a test set find; nothing where that was not counted."""
    if chosen.detections.empty:
        return ""
    rows = chosen.detections.astype(object).where(chosen.detections.notna(), None).to_dict("records")
    return render("detections.html.jinja", packages=("demo/pages/templates",), chosen=chosen, detections=rows)


def _one_model(named: dict[str, DemoModel]) -> None:
    """One model's own page, with its report to read here or to take away."""
    first = next(iter(named.values()))
    gr.HTML(heading("One model", "Everything that its run measured. Runs that are not loaded stand in the table only."))
    choice = gr.Dropdown(list(named), value=first.name, label="Model", interactive=True)
    with gr.Row():
        read = gr.Button("Read its report here", min_width=200)
        fetch = gr.Button("Get its report as a file", min_width=200)
    saved = gr.File(label="Report (HTML, opens without a network)", visible=False, interactive=False)
    frame = gr.HTML()
    page = gr.HTML(run_page(first))

    def show(name: str) -> tuple[str, str, dict[str, Any]]:
        return run_page(named[name]), "", gr.update(value=None, visible=False)

    def report(name: str) -> Path:
        if (file := file_of(named[name].place, "report.html")) is None:
            raise gr.Error(f"{name} comes without a report.", print_exception=False)
        return file

    def framed(name: str) -> str:
        return report_frame(report(name), name)

    def copied(name: str) -> Iterator[dict[str, Any]]:
        source = report(name)
        with TemporaryDirectory(prefix="brainmri-report-") as folder:  # Gradio keeps its own copy, for a while
            copy = Path(folder) / "report.html"
            copy.write_bytes(source.read_bytes())
            yield gr.update(value=str(copy), visible=True)

    choice.change(show, choice, [page, frame, saved], api_visibility="private", show_progress="hidden")
    read.click(framed, choice, frame, api_visibility="private")
    fetch.click(copied, choice, saved, api_visibility="private")


FIGURES = {
    "reliability": "Reliability of the confidence on the test split",
    "confident_errors": "Test images that were classified wrongly with the most confidence, one of a group",
}
ERRORS = 12  # the most confident ones


def run_page(model: DemoModel) -> str:
    """HTML: warnings, accuracy beside the baselines, per class, confusion, calibration, sets, OOD detector, errors.

    The names of test files are shown for simulated images only; other images only if the run folder has a figure of
    them, which published repositories of real data lack.
    """
    result = model.result
    if result is None:
        return paragraph(f"{model.name} comes without result.json: nothing is known of it.")
    return render(
        "one_run.html.jinja",
        packages=("demo/pages/templates",),
        figures=[figure for name in FIGURES for figure in _figure(model.place, name)],
        matrix=_matrix(result),
        uncertainty=model.uncertainty,
        errors=_errors(model.place) if result.data.simulated else [],
        data_title=data_title(result.data),
        **shown(result),
    )


def report_frame(report: Path, name: str) -> str:
    """HTML: a run's report in a frame that may run no script and reach nothing of this page."""
    text = escape(report.read_text(encoding="utf-8"))
    return f'<div class="brainmri"><iframe sandbox="" title="Report of {escape(name)}" srcdoc="{text}"></iframe></div>'


def _figure(place: str, name: str) -> list[tuple[str, str, str]]:
    file = file_of(place, f"figures/{name}.png")
    return embedded_figures(file.parent, {name: FIGURES[name]}) if file else []


def _matrix(result: "RunResult") -> list[tuple[str, list[dict[str, Any]]]]:
    """For each true class: `count`, `share` of its images and whether the answer was `right`, by what was said."""
    if result.test is None:
        return []
    return [
        (
            label,
            [
                {"count": count, "share": count / max(sum(row), 1), "right": place == said}
                for said, count in enumerate(row)
            ],
        )
        for place, (label, row) in enumerate(zip(result.data.classes, result.test.confusion_matrix, strict=True))
    ]


def _errors(place: str) -> list[dict[str, Any]]:
    """The test images that were classified wrongly with the most confidence, one of a group."""
    import pandas as pd

    file = file_of(place, "predictions.csv")
    if file is None:
        return []
    table = pd.read_csv(file, dtype={"split": str, "label": str, "predicted": str}, keep_default_na=False)
    table = table[(table["split"] == "test") & (table["label"] != table["predicted"])]
    table = table.assign(probability=table.filter(regex="^p_").astype(float).max(axis=1))
    table = table.sort_values("probability", ascending=False, kind="stable").drop_duplicates("group_id").head(ERRORS)
    rows = table[["file_name", "label", "predicted", "probability"]].to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]
