"""Audit: a small data set as a zip, and what leaks in it; the same flow as scripts/audit.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import gradio as gr

from brainmri.demo.pages.components import Files, Uploaded, heading
from brainmri.demo.unpack import unpack_dataset
from brainmri.io.archive import shown_name
from brainmri.io.limits import LIMITS, UploadError
from brainmri.reporting.html import embedded_figures, render

if TYPE_CHECKING:
    from brainmri.audit.duplicates import Called
    from brainmri.schemas import AuditReport

MEMBERS = 2000  # files and folders of one zip; a larger set is for scripts/audit.py
FILES = ("audit.html", "audit.json", "groups.csv")
LAYOUTS = (
    "The zip must hold a folder of images for each class, perhaps inside train, validation and test, such as "
    "train/glioma/1.png."
)
INTRODUCTION = (
    "Which images repeat, across splits, under two labels, in a second data set that should be external? And what "
    f"gives the class away without a look at the brain? {LAYOUTS} Up to {MEMBERS:,} files and folders; larger sets are "
    "for brainmri audit. The zip is deleted soon after the answer, and nothing of it is kept."
)


def build() -> None:
    """The page, inside a tab, with the endpoint `/audit`."""
    gr.HTML(heading("Audit", INTRODUCTION))
    with gr.Row():
        data = Files(label="Data set (zip)", file_types=[".zip"], height=160)
        against = Files(label="Compare against (zip, may be left out)", file_types=[".zip"], height=160)
    look = gr.Button("Look for leaks", variant="primary")
    page = gr.HTML(label="What was found", min_height=80)
    files = gr.File(label="The whole report", file_count="multiple", interactive=False, visible=False)
    with gr.Accordion("Everything that was counted (JSON)", open=False, visible=False) as details:
        counted = gr.JSON(label="audit.json", show_label=False)
    look.click(
        look_for_leaks,
        [data, against],
        [page, counted, files],
        api_name="audit",
        concurrency_limit=1,  # it takes a processor for as long as it lasts
        concurrency_id="audit",
        show_progress_on=page,
    ).success(
        lambda: (gr.update(visible=True), gr.update(visible=True)), None, [files, details], api_visibility="private"
    )


def look_for_leaks(
    data: Uploaded | None,
    against: Uploaded | None = None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio is asked for one
) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Look for leaks in a data set of images: repetitions within it, across its splits, under two labels, in another
    set, and what gives the class away without a look at the brain.

    Parameters:
        data: a zip with a folder of images for each class, perhaps in train, validation and test; up to 2,000 files.
        against: a second zip of that kind, to be told whether it is external; may be left out.

    Returns:
        The page with the verdicts first (HTML), everything counted (the contents of audit.json), and three files:
        audit.html, audit.json and groups.csv.
    """
    from brainmri.audit.audit import STEPS, audit

    def tell(step: str) -> None:
        progress((STEPS.index(step), len(STEPS)), desc=step)

    if data is None:
        raise gr.Error(f"Choose a zip first. {LAYOUTS}", print_exception=False)
    with TemporaryDirectory(prefix="brainmri-audit-") as folder:
        work = Path(folder)
        try:
            own, called = _unpacked(data, work / "own")
            other, second = _unpacked(against, work / "other") if against else (None, None)
            if second and second.name == called.name:
                second = replace(second, name=f"{second.name} (second)")
            found = audit(own, other, work / "out", called=[called, *([second] if second else [])], tell=tell)
        except ValueError as error:  # UploadError is one
            raise gr.Error(_told(error, work), title="This could not be audited", print_exception=False) from None
        # Gradio copies the files into its own cache before the folder goes.
        yield audit_page(found, work / "out"), found.as_json(), [str(work / "out" / name) for name in FILES]


def audit_page(found: AuditReport, folder: Path) -> str:
    """HTML: verdicts, tables and pairs to look at.

    Args:
        found: what `brainmri.audit.audit.audit` returned.
        folder: what it wrote into.
    """
    from brainmri.audit.report import EXAMPLES, NAMES, SHOWN, across_table, shortcuts_tables, verdicts

    return render(
        "leaks.html.jinja",
        packages=("demo/pages/templates",),
        audit=found,
        names=NAMES,
        verdicts=verdicts(found),
        across=across_table(found),
        shortcuts=shortcuts_tables(found),
        figures=embedded_figures(folder, EXAMPLES),
        shown=SHOWN,
    )


def _unpacked(archive: Uploaded, folder: Path) -> tuple[Path, Called]:
    """The images of a zip, in a folder below `folder`, and what they are called: as their folder, or as the zip.

    Raises:
        UploadError: if it is no zip that can be used, or holds too much.
    """
    from brainmri.audit.duplicates import Called

    found = unpack_dataset(archive.path, folder, replace(LIMITS, archive_members=MEMBERS))
    return found.root, Called(found.name or shown_name(Path(archive.name).stem), found.names)


def _told(error: ValueError, work: Path) -> str:
    """What went wrong, without the folders of this machine."""
    text = str(error)
    for folder in work.iterdir():
        text = text.replace(f"{folder}/", "")
    return text if isinstance(error, UploadError) else f"{text} {LAYOUTS}"
