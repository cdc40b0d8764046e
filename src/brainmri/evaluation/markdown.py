"""Tables as Markdown text, and their place in a README."""


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


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
