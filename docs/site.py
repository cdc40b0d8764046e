"""Hooks of mkdocs: what the pages show from `results/` goes into the site, and links to it hold there too.

The pages write `../results/...`, as the files lie in the repository, so that the links also work where the Markdown is
read as it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
SHOWN = (".csv", ".png", ".json", ".md")
LINK = re.compile(r"\]\(\.\./(results/[^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of `results/`; its Markdown goes as text, not as pages."""
    for path in sorted((ROOT / "results").rglob("*")):
        if path.suffix in SHOWN:
            name = path.relative_to(ROOT).as_posix()
            shown = name.replace(".md", ".md.txt")
            files.append(File.generated(config, shown, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point `../results/...` of a page at the files that `on_files` added."""
    up = "../" * page.file.src_uri.count("/")
    return LINK.sub(lambda link: f"]({up}{link[1].replace('.md', '.md.txt')})", markdown)
