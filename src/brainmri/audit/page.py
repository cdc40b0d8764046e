"""`audit.html`: everything an audit found on one page that opens without a network."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from brainmri.audit.summary import EXAMPLES, NAMES, across_table, verdicts

SHOWN = 50  # contradictory pictures and rejected files that the page lists; audit.json has all


def write_page(audit: dict[str, Any], folder: Path) -> Path:
    """Write `audit.html` into `folder`, with the figures of example pairs that stand there.

    audit: of `brainmri.audit.summary.summary`.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("brainmri", "audit"), jinja2.PackageLoader("brainmri", "evaluation")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = [
        (caption, "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii"))
        for kind, caption in EXAMPLES.items()
        if (path := folder / f"{kind}.png").is_file()
    ]
    page = environment.get_template("audit.html.jinja").render(
        audit=audit,
        names=NAMES,
        verdicts=verdicts(audit),
        across=across_table(audit),
        contradictory=next(kind for kind in audit["kinds"] if kind["kind"] == "same_picture")["contradictory"],
        figures=figures,
        shown=SHOWN,
    )
    path = folder / "audit.html"
    path.write_text(page, encoding="utf-8", newline="\n")
    return path
