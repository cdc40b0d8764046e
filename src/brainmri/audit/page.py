"""`audit.html`: everything an audit found on one page that opens without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from brainmri.audit.summary import EXAMPLES, NAMES, across_table, calibration_tables, shortcuts_tables, verdicts
from brainmri.evaluation import pages

SHOWN = 50  # contradictory pictures and rejected files that the page lists; audit.json has all


def write_page(audit: dict[str, Any], folder: Path) -> Path:
    """Write `audit.html` into `folder`, with the figures of example pairs that stand there.

    audit: of `brainmri.audit.summary.summary`.
    """
    same = next(kind for kind in audit["kinds"] if kind["kind"] == "same_picture")
    return pages.write_page(
        folder / "audit.html",
        "audit.html.jinja",
        audit=audit,
        names=NAMES,
        verdicts=verdicts(audit),
        across=across_table(audit),
        shortcuts=shortcuts_tables(audit),
        calibration=calibration_tables(audit),
        contradictory=same["contradictory"],
        figures=pages.embedded_figures(folder, EXAMPLES),
        shown=SHOWN,
    )
