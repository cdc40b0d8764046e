"""What the pages share: headings in order, and this package's own text files."""

from __future__ import annotations

from html import escape
from importlib import resources


def heading(title: str, sentence: str) -> str:
    """HTML: the heading of a page (h2; the demo's title is the h1) and a sentence beneath it."""
    return f'<div class="brainmri"><h2>{escape(title)}</h2><p>{escape(sentence)}</p></div>'


def paragraph(sentence: str) -> str:
    """HTML: a sentence by itself."""
    return f'<div class="brainmri"><p>{escape(sentence)}</p></div>'


def file_text(name: str) -> str:
    """The text of a file of this package."""
    return resources.files("brainmri").joinpath("demo/pages", name).read_text(encoding="utf-8")
