"""How every page is made: from a template, with its figures inside, so that it opens without a network."""

from __future__ import annotations

import base64
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.evaluation.results import duration, interval, number, percent

if TYPE_CHECKING:
    import jinja2


def render(template: str, *, packages: tuple[str, ...] = (), **values: Any) -> str:
    """The text of a template of this package (`NAME.html.jinja`), or of `packages`, which are looked into first.

    packages: folders of templates inside brainmri, such as "demo/pages". What they include may stand here.

    Raises:
        jinja2.UndefinedError: if the template uses a name that is not in `values`.
    """
    return _templates(packages).get_template(template).render(values)


@lru_cache
def _templates(packages: tuple[str, ...]) -> jinja2.Environment:
    """Kept, since the demo renders an answer for every slice, and a template is compiled once in an environment."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("brainmri", name) for name in (*packages, "evaluation")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, duration=duration, number=number, interval=interval)
    return environment


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
