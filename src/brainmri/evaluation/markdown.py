"""Tables as Markdown text, and their place in a README."""

from pathlib import Path


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; every row has as many cells as the header. A cell may hold `|` and line breaks."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def insert(readme: str, content: str, name: str) -> str:
    """The README's text with `content` between the markers `<!-- NAME:start -->` and `<!-- NAME:end -->`.

    Raises:
        ValueError: the markers do not stand exactly once each, in their order.
    """
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    if readme.count(start) != 1 or readme.count(end) != 1 or readme.index(start) > readme.index(end):
        raise ValueError(f"The README must hold {start} and, after it, {end}, each exactly once; put them in.")
    before, after = readme.split(start)[0], readme.split(end)[1]
    return f"{before}{start}\n{content}\n{end}{after}"


def readme_with(path: Path, content: str, name: str, *, overwrite: bool) -> str:
    """The text of the README `path` with `content` in its place (see `insert`).

    Raises:
        ValueError: something else stands there and `overwrite` is not given; or as of `insert`.
    """
    old = path.read_text(encoding="utf-8")
    new = insert(old, content, name)
    standing = old.split(f"<!-- {name}:start -->")[1].split(f"<!-- {name}:end -->")[0].strip()
    if standing and new != old and not overwrite:
        raise ValueError(f"{path} holds another text between its markers ({name}): give --overwrite to replace it")
    return new


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
