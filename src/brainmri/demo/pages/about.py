"""About: what the demo is and is not, its models, data, licence, citation, interface for programs, and privacy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import yaml

from brainmri import __version__
from brainmri.demo.pages.components import file_text
from brainmri.reporting.html import render
from brainmri.reporting.model_card import citations
from brainmri.wording import BASELINES, RESEARCH_ONLY, data_title, duration, with_interval

if TYPE_CHECKING:
    from brainmri.demo.model import DemoModel

HUB = "https://huggingface.co"


def retention(keep: float, static_demo: str | None) -> str:
    """What happens to an upload, and how to send none, as Markdown.

    Args:
        keep: seconds until it is deleted. static_demo: the address of the demo that runs in the browser, or None.
    """
    kept = f"What you upload goes to this server and is deleted after {_time(keep)}; nothing else of it is kept."
    if static_demo:
        return f"{kept} [The demo that runs in your browser]({static_demo}) sends nothing."
    return f"{kept} `brainmri demo --static` writes a page that runs in the browser and sends nothing."


def build(models: Sequence[DemoModel], citation: Path | None, keep: float) -> None:
    """The page, inside a tab.

    Args:
        models: the loaded models.
        citation: the file CITATION.cff, or None.
        keep: seconds until an upload is deleted.
    """
    gr.HTML(about_page(models, keep), js_on_load=file_text("here.js"))
    if citation:
        gr.Textbox(
            bibtex(yaml.safe_load(citation.read_text(encoding="utf-8"))),
            label="Citation of the software (BibTeX)",
            buttons=["copy"],
            interactive=False,
            lines=7,
        )


def about_page(models: Sequence[DemoModel], keep: float) -> str:
    """HTML of the page; every figure in it is of the loaded models."""
    sources = [source for model in models if model.result for source in citations(model.result.data)]
    return render(
        "about.html.jinja",
        packages=("demo/pages/templates",),
        research_only=RESEARCH_ONLY,
        floors=list(BASELINES.values()),
        models=[_described(model) for model in models],
        sources=list(dict.fromkeys(sources)),
        version=__version__,
        keep=_time(keep),
    )


def _time(seconds: float) -> str:
    return duration(seconds).replace(".0 ", " ")


def bibtex(citation: dict[str, Any]) -> str:
    """The software's entry of a CITATION.cff, as BibTeX."""
    authors = " and ".join(
        "{" + (author.get("name") or f"{author['given-names']} {author['family-names']}") + "}"
        for author in citation["authors"]
    )
    lines = {"author": authors, "title": f"{{{citation['title']}}}", "version": f"{{{citation['version']}}}"}
    lines["note"] = f"{{Software, licence {citation['license']}}}"
    return "@software{brainmri,\n" + ",\n".join(f"  {key} = {value}" for key, value in lines.items()) + "\n}"


def _described(model: DemoModel) -> dict[str, Any]:
    """Name, card, classes and, where they were measured, accuracy and data of a model."""
    repo_id, _, revision = model.place.partition("@")
    local = Path(model.place).is_dir()
    result = model.result
    test = result.test if result else None
    return {
        "name": model.name,
        "card": None if local else "/".join([HUB, repo_id, *(["tree", revision] if revision else [])]),
        "classes": model.classes,
        "title": (result.recipe_title or result.arch) if result else None,
        "accuracy": with_interval(test.accuracy, test.accuracy_ci95) if test else None,
        "data": data_title(result.data) if result else None,
        "weights": result.weights if result else None,
    }
