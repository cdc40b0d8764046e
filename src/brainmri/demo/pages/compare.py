"""Compare: the leaderboard with floors and intervals, plots, tumours found, and one run's own page and report."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import gradio as gr

from brainmri.demo.pages.leaderboard import Ranking, rankings, records
from brainmri.demo.pages.one_run import file_of, report_frame, run_page
from brainmri.demo.pages.plots import COSTS, accuracy_against
from brainmri.demo.pages.text import file_text, heading, paragraph
from brainmri.evaluation.comparison_figures import FLOORS
from brainmri.evaluation.pages import render
from brainmri.evaluation.results import DASH

if TYPE_CHECKING:
    from brainmri.demo.models import DemoModel


def build(models: "Sequence[DemoModel]", results: Path | None) -> None:
    """The page, inside a tab, with the endpoints `/leaderboard` and `/report_of`.

    Args:
        models: the loaded models, in the order in which they are offered.
        results: the folder with comparison.csv and perhaps detection.csv, or None.
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
        """All that was measured of a loaded model: `result` (result.json) and `trust` (trust.json), null where absent.

        Parameters:
            model: the name of a model as the page offers it.
        """
        if model not in named:
            raise gr.Error(f"Unknown model. Loaded ones: {'; '.join(named)}", print_exception=False)
        return {"result": named[model].result, "trust": named[model].trust}

    gr.api(leaderboard, api_name="leaderboard")
    gr.api(report_of, api_name="report_of")


def leaderboard_page(chosen: Ranking) -> str:
    """HTML: the list of a test set, sortable."""
    return render(
        "leaderboard.html.jinja",
        packages=("demo/pages",),
        chosen=chosen,
        rows=records(chosen),
        floors=FLOORS,
        dash=DASH,
    )


def detections_page(chosen: Ranking) -> str:
    """HTML: the tumours that the runs of a test set find; nothing where that was not counted."""
    if chosen.detections.empty:
        return ""
    rows = chosen.detections.astype(object).where(chosen.detections.notna(), None).to_dict("records")
    return render("detections.html.jinja", packages=("demo/pages",), chosen=chosen, detections=rows)


def _one_model(named: "dict[str, DemoModel]") -> None:
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
