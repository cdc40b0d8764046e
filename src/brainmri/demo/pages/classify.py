"""The page on which slices are classified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup, escape

from brainmri.demo import response
from brainmri.demo.pages.components import Files, ImageUpload, Uploaded
from brainmri.demo.response_text import agreement
from brainmri.io.decode import PLANE
from brainmri.io.limits import LIMITS, UploadError
from brainmri.io.nifti import AXES
from brainmri.io.open import Upload, open_many, open_upload
from brainmri.reporting.html import render
from brainmri.reporting.overlay import legend

if TYPE_CHECKING:
    from brainmri.demo.model import DemoModel

HINT = (
    "Drop a slice here: PNG, JPEG, TIFF (16 bits too), DICOM, or a NIfTI volume. Several files, or a ZIP of them, give "
    "a table."
)
EMPTY = '<p class="hint">The answer will stand here. Upload a slice, or take one of the simulated examples.</p>'
# Pixels of the columns: left to itself a long file name fills the screen of a phone.
WIDTHS: list[str | int] = [190, 160, 220, 110, 190, 130, 110, 150, 100, 130]
OPACITY = "(share) => { document.documentElement.style.setProperty('--map-opacity', share); return []; }"
INTO_VIEW = """() => {  // on a phone the answer stands below what asks for it
  if (window.innerWidth < 700) document.getElementById('answer').scrollIntoView({behavior: 'smooth'});
  return [];
}"""
# All that asks a network waits in one line, and two are asked at a time: more would only share the processors.
JUDGING: dict[str, Any] = {"concurrency_id": "judging", "concurrency_limit": 2}
INTERNAL: dict[str, Any] = {"api_visibility": "private"}
Updates = dict[Any, Any]  # component -> update


def build(models: Sequence[DemoModel], examples: Sequence[Path]) -> None:
    """The page, inside a `gr.Tab`.

    Args:
        models: at least one; the first is chosen.
        examples: images that are one click away.
    """
    # ------------------------------------------------------------------ what is seen
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            files = Files(label="Slices", file_count="multiple", height=150, elem_id="slices")
            gr.Markdown(HINT, elem_classes="hint")
            with gr.Row():
                folder = gr.UploadButton("Choose a folder", file_count="directory", size="sm")
                clear = gr.Button("Start again", size="sm")
            with gr.Accordion("Paste an image, or take one with the camera", open=False):
                pasted = ImageUpload(
                    label="Image", sources=["clipboard", "webcam"], type="filepath", image_mode=None, height=220
                )
            with gr.Group(visible=False) as volume:
                # all that can be: what a visitor has set counts, even where his session is forgotten
                plane = gr.Radio([*AXES, PLANE], value="axial", label="Plane", visible=False)
                index = gr.Slider(0, LIMITS.slices - 1, value=0, step=1, label="Slice", elem_id="slice-number")
            names = gr.CheckboxGroup(
                [model.name for model in models], value=[models[0].name], label="Models", visible=len(models) > 1
            )
            opacity = gr.Slider(0, 1, value=0.5, step=0.05, label="Opacity of the map", elem_id="opacity")
            gr.Examples(
                [str(path) for path in examples],
                pasted,
                label="Simulated slices to try",
                example_labels=[path.stem.replace("simulated-", "").replace("-", ", ") for path in examples],
                elem_id="examples",
            )
        with gr.Column(scale=3, min_width=320):
            answer = gr.HTML(EMPTY, elem_id="answer")
            whole = gr.HTML(visible=False, elem_id="whole")
            table = gr.Dataframe(
                headers=list(response.COLUMNS),
                label="Answers",
                interactive=False,
                visible=False,
                wrap=True,
                column_widths=WIDTHS,
            )
            download = gr.HTML(visible=False)
    hidden: Updates = {part: gr.update(visible=False) for part in (volume, table, download, whole)}

    # ------------------------------------------------------------------ what happens
    def look(
        given: list[Uploaded] | None,
        names: list[str],
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio hands it over
    ) -> Iterator[Updates]:
        """What was uploaded: a slice with its answer, the middle one of a volume, or the table of many."""
        if not given:
            yield hidden | {answer: EMPTY}
            return
        try:
            if is_table(given):
                yield hidden | in_table(given, names, progress)
                return
            upload = open_upload(given[0].path)
            first = upload.planes[0]
            controls = hidden | {
                volume: gr.update(visible=len(upload.planes) > 1 or upload.slices(first) > 1),
                plane: gr.update(choices=list(upload.planes), value=first, visible=len(upload.planes) > 1),
                index: slices_of(upload, first),
            }
            for text in answered(upload, first, upload.middle(first), response.chosen(models, names)):
                yield controls | {answer: text}
            yield {whole: of_whole(upload, response.chosen(models, names))}
        except UploadError as error:
            yield hidden | {answer: alert(error)}

    def look_again(given: list[Uploaded] | None, names: list[str], plane: str, index: float) -> Iterator[str]:
        """Another slice of the volume that is there, or other models for it."""
        if not given or is_table(given):
            yield EMPTY
            return
        try:
            yield from answered(open_upload(given[0].path), plane, int(index), response.chosen(models, names))
        except UploadError as error:
            yield alert(error)

    def in_table(given: list[Uploaded], names: list[str], progress: gr.Progress) -> Updates:
        found: list[list[str]] = []
        images = open_many([one.path for one in given], names=[one.name for one in given])
        for row in response.rows(images, response.chosen(models, names)):
            found.append(row)
            progress((len(found), None), desc="classified", unit="answers")
        count = len({row[0] for row in found})
        link = f'<a download="answers.csv" href="{response.csv_uri(found)}">Download as CSV</a>'
        return {
            answer: f'<p class="hint" role="status">{count:,} files.</p>',
            table: gr.update(value=found, visible=True),
            download: gr.update(value=link, visible=True),
        }

    def ask_others(
        given: list[Uploaded] | None,
        names: list[str],
        plane: str,
        index: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio hands it over
    ) -> Iterator[Updates]:
        """Other models for what is there, whatever it is."""
        if given and is_table(given):
            yield from look(given, names, progress)
            return
        for text in look_again(given, names, plane, index):
            yield {answer: text}
        if given:
            with suppress(UploadError):  # `look_again` has said it
                yield {whole: of_whole(open_upload(given[0].path), response.chosen(models, names))}

    def turn(given: list[Uploaded] | None, names: list[str], plane: str) -> Iterator[Updates]:
        """The middle slice of another plane, and the slider for its slices."""
        if not given:
            yield {answer: EMPTY}
            return
        try:
            upload = open_upload(given[0].path)
            for text in answered(upload, plane, upload.middle(plane), response.chosen(models, names)):
                yield {answer: text, index: slices_of(upload, plane)}
        except UploadError as error:
            yield {answer: alert(error)}

    seen = [answer, volume, plane, index, table, download, whole]
    at = [files, names, plane, index]
    waiting: dict[str, Any] = INTERNAL | JUDGING | {"show_progress_on": answer}
    files.change(look, [files, names], seen, **waiting).then(None, js=INTO_VIEW, **INTERNAL)
    names.input(ask_others, at, seen, **waiting)
    index.input(look_again, at, answer, trigger_mode="always_last", **waiting)
    plane.input(turn, [files, names, plane], [answer, index], **waiting)
    # In the browser, which alone knows the names of the files; what is returned there is the list of all outputs.
    folder.upload(None, folder, files, js="(chosen) => [chosen]", **INTERNAL)
    pasted.change(None, pasted, files, js="(image) => [image ? [image] : null]", **INTERNAL)
    clear.click(None, None, [files, pasted], js="() => [null, null]", **INTERNAL)
    opacity.input(None, opacity, None, js=OPACITY, **INTERNAL)


def is_table(given: Sequence[Uploaded]) -> bool:
    """Whether the answer is a table: several files, or an archive."""
    return response.is_many([one.path for one in given])


def slices_of(upload: Upload, plane: str) -> dict[str, Any]:
    """An update of the slider to the slices of a plane, from 0, at the middle one."""
    count = upload.slices(plane)
    return gr.update(minimum=0, maximum=max(count - 1, 1), value=upload.middle(plane), visible=count > 1)


def of_whole(upload: Upload, models: Sequence[DemoModel]) -> dict[str, Any]:
    """An update: one answer of each model for all slices of a volume; nothing is shown for a single slice."""
    told = response.whole(upload, models)
    text = "".join(f'<p class="together" role="status">{escape(one)}</p>' for one in told)
    return gr.update(value=text, visible=bool(told))


def answered(upload: Upload, plane: str, index: int, models: Sequence[DemoModel]) -> Iterator[str]:
    """The answer of each model as HTML, first without its map, then with it.

    Raises:
        UploadError: if there is no such slice, or it cannot be judged.
    """
    image = upload.image(plane, index)
    judgements = response.judged(image, models, (upload.sequence, plane))
    small = response.shown(image)
    pairs = list(zip(models, judgements, strict=True))
    cards = [response.card(model, judgement) for model, judgement in pairs]
    values = {
        "image": response.data_uri(small),
        "alt": f"The {upload.kind} slice" if plane == "slice" else f"The {plane} slice {index} of the volume",
        "together": agreement({model.name: judgement for model, judgement in pairs}),
        "many": len(models) > 1,
        "legend": Markup(legend()),
    }
    yield answer_page(values, cards)
    for card, (model, judgement) in zip(cards, pairs, strict=True):
        found = response.mapped(small, model, judgement.label)
        card |= {"no_map": found} if isinstance(found, str) else {"map": response.data_uri(found)}
    yield answer_page(values, cards)


def answer_page(values: dict[str, Any], cards: list[dict[str, Any]]) -> str:
    """HTML: a card for each model, which may hold its `map`, a data URI, or `no_map`: why there is none."""
    return render("answer.html.jinja", packages=("demo/pages/templates",), **values, cards=cards)


def alert(error: UploadError) -> str:
    """An error as HTML that a screen reader speaks at once."""
    return f'<p class="alert" role="alert">{escape(str(error))}</p>'
