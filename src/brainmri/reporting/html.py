"""Pages from templates, with their figures inside, so that they open without a network. Markdown tables too."""

from __future__ import annotations

import base64
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.evaluation.kinds import kind_rows, types_statement
from brainmri.evaluation.run_warnings import start_of_training, warnings_of
from brainmri.schemas import RunResult
from brainmri.wording import (
    DASH,
    PATIENT_UNIT,
    POOLING,
    baseline_rows,
    bounds,
    change,
    duration,
    epochs,
    interval,
    leak_statement,
    limits,
    loss_of_training,
    number,
    percent,
    published_figure,
    with_interval,
)

if TYPE_CHECKING:
    import jinja2


def render(template: str, *, packages: tuple[str, ...] = (), **values: Any) -> str:
    """The text of a template of this package (`NAME.html.jinja`), or of `packages`, which are looked into first.

    packages: folders of templates inside brainmri, such as "demo/pages/templates". What they include may stand here.

    Raises:
        jinja2.UndefinedError: if the template uses a name that is not in `values`.
    """
    return _templates(packages).get_template(template).render(values)


@lru_cache
def _templates(packages: tuple[str, ...]) -> jinja2.Environment:
    """Kept, since the demo renders an answer for every slice, and a template is compiled once in an environment."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("brainmri", name) for name in (*packages, "reporting/templates")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, duration=duration, number=number, interval=interval, epochs=epochs)
    environment.filters["bounds"] = bounds
    environment.globals.update(change=change, pooling_rule=POOLING.__getitem__, patient_unit=PATIENT_UNIT.__getitem__)
    return environment


def shown(result: RunResult) -> dict[str, Any]:
    """What the report and the card of a run both show, under the names that their templates use."""
    return {
        "result": result,
        "title": result.recipe_title or result.arch,
        "accuracy": with_interval(result.test.accuracy, result.test.accuracy_ci95) if result.test else DASH,
        "published": published_figure(result.published),
        "floors": baseline_rows(result),
        "loss_of_training": loss_of_training(result.training),
        "start_of_training": start_of_training(result),
        "warnings": warnings_of(result),
        "leak_statement": leak_statement(result),
        "limits": limits(result),
        "kind_rows": kind_rows(result.kinds) if result.kinds else [],
        "types_statement": types_statement(result.kinds) if result.kinds else None,
        "dash": DASH,
    }


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Write the HTML file `path` from a template (see `render`) and return the path."""
    path.write_text(render(template, **values), encoding="utf-8", newline="\n")
    return path


def embedded_figures(folder: Path, captions: dict[str, str]) -> list[tuple[str, str, str]]:
    """(key, caption, data URI) of the figures `KEY.png` that the folder has; the others are left out."""
    found = []
    for key, caption in captions.items():
        path = folder / f"{key}.png"
        if path.is_file():
            found.append((key, caption, "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")))
    return found


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; every row has as many cells as the header. A cell may hold `|` and line breaks."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def insert(text: str, content: str, name: str, path: Path) -> str:
    """The text of a document with `content` between the markers `<!-- NAME:start -->` and `<!-- NAME:end -->`.

    path: of the document, to name it.

    Raises:
        ValueError: the markers do not stand exactly once each, in their order.
    """
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"{path} must hold {start} and, after it, {end}, each exactly once: put them in")
    before, after = text.split(start)[0], text.split(end)[1]
    return f"{before}{start}\n{content}\n{end}{after}"


def readme_with(path: Path, content: str, name: str, *, overwrite: bool) -> str:
    """The text of the document `path` with `content` in its place (see `insert`).

    Raises:
        ValueError: something else stands there and `overwrite` is not given; or as of `insert`.
    """
    old = path.read_text(encoding="utf-8")
    new = insert(old, content, name, path)
    standing = old.split(f"<!-- {name}:start -->")[1].split(f"<!-- {name}:end -->")[0].strip()
    if standing and new != old and not overwrite:
        raise ValueError(f"{path} holds another text between its markers ({name}): give --overwrite to replace it")
    return new


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
