"""The filled checklists of a run, for its report and as a file beside the model (`reporting.md`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from brainmri.reporting.checklists.claim import CLAIM
from brainmri.reporting.checklists.evidence import Answer, Checklist, Evidence, Kind
from brainmri.reporting.checklists.tripod import TRIPOD_AI
from brainmri.reporting.model_card import card_templates

SHEET = "reporting.md"
CHECKLISTS = (CLAIM, TRIPOD_AI)
STATE: dict[Kind, str] = {"answered": "answered", "not applicable": "not applicable", "open": "open: only you can say"}


@dataclass(frozen=True)
class Row:
    """An item as it is shown."""

    number: str
    name: str
    answer: Answer

    @property
    def state(self) -> str:
        return STATE[self.answer.kind]

    @property
    def text(self) -> str:
        """The answer, and what is left to say."""
        besides = f" Only you can say besides: {self.answer.besides}" if self.answer.besides else ""
        return f"{self.answer.text}{besides}"


@dataclass(frozen=True)
class FilledChecklist:
    """A checklist with the answers of a run, in the order of its items."""

    name: str
    citation: str
    rows: list[Row]

    @property
    def count(self) -> str:
        """How many items are in which state: "44 items: 30 answered, 2 not applicable, 12 open"."""
        found = Counter(row.answer.kind for row in self.rows)
        return f"{len(self.rows)} items: " + ", ".join(f"{found[kind]} {kind}" for kind in STATE)


def filled(evidence: Evidence) -> list[FilledChecklist]:
    """Every checklist, filled from a run."""
    return [_filled(checklist, evidence) for checklist in CHECKLISTS]


def _filled(checklist: Checklist, evidence: Evidence) -> FilledChecklist:
    rows = [Row(item.number, item.name, item.answer(evidence)) for item in checklist.items]
    return FilledChecklist(checklist.name, checklist.citation, rows)


def write_sheet(evidence: Evidence, folder: Path) -> Path:
    """Write `reporting.md` into `folder`."""
    text = (
        card_templates()
        .get_template("reporting.md.jinja")
        .render(title=evidence.result.title, checklists=filled(evidence))
    )
    path = folder / SHEET
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
