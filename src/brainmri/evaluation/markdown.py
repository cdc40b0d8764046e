"""Tables as Markdown text."""


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; every row has as many cells as the header. A cell may hold `|` and line breaks."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
