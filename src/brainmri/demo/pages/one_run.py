"""One model's own page: everything its run folder or repository says of it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.demo.pages.text import paragraph
from brainmri.evaluation.pages import embedded_figures, render
from brainmri.evaluation.results import data_title, shown

if TYPE_CHECKING:
    from brainmri.demo.models import DemoModel

FIGURES = {
    "reliability": "Reliability of the confidence on the test split",
    "confident_errors": "Test images that were classified wrongly with the most confidence, one of a group",
}
ERRORS = 12  # the most confident ones


def run_page(model: DemoModel) -> str:
    """HTML: warnings, accuracy beside the floors, per class, confusion, calibration, sets, reject rule, errors.

    The names of test files are shown for simulated pictures only; other pictures only if the run folder has a figure of
    them, which published repositories of real data lack.
    """
    result = model.result
    if result is None:
        return paragraph(f"{model.name} comes without result.json: nothing is known of it.")
    return render(
        "one_run.html.jinja",
        packages=("demo/pages",),
        figures=[figure for name in FIGURES for figure in _figure(model.place, name)],
        matrix=_matrix(result),
        trust=model.trust,
        errors=_errors(model.place) if result["data"]["simulated"] else [],
        data_title=data_title(result["data"]),
        **shown(result),
    )


def report_frame(report: Path, name: str) -> str:
    """HTML: a run's report in a frame that may run no script and reach nothing of this page."""
    text = escape(report.read_text(encoding="utf-8"))
    return f'<div class="brainmri"><iframe sandbox="" title="Report of {escape(name)}" srcdoc="{text}"></iframe></div>'


def file_of(place: str, name: str) -> Path | None:
    """A file of a run folder or of a repository on the Hub (`OWNER/NAME[@REVISION]`); None where it has none."""
    if Path(place).is_dir():
        file = Path(place) / name
        return file if file.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repo_id, _, revision = place.partition("@")
    try:
        return Path(hf_hub_download(repo_id, name, revision=revision or None))
    except (EntryNotFoundError, LocalEntryNotFoundError):  # not published, or not in the cache and no network
        return None


def _figure(place: str, name: str) -> list[tuple[str, str, str]]:
    file = file_of(place, f"figures/{name}.png")
    return embedded_figures(file.parent, {name: FIGURES[name]}) if file else []


def _matrix(result: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """For each true class: `count`, `share` of its images and whether the answer was `right`, by what was said."""
    if result["test"] is None:
        return []
    return [
        (
            label,
            [
                {"count": count, "share": count / max(sum(row), 1), "right": place == said}
                for said, count in enumerate(row)
            ],
        )
        for place, (label, row) in enumerate(
            zip(result["data"]["classes"], result["test"]["confusion_matrix"], strict=True)
        )
    ]


def _errors(place: str) -> list[dict[str, Any]]:
    """The test pictures that were classified wrongly with the most confidence, one of a group."""
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
