"""What a run leaves that an item of a checklist can be answered from, and what an answer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from brainmri.recipe import Recipe, read_recipe_file
from brainmri.schemas import (
    AuditReport,
    DatasetInfo,
    MapsResult,
    RobustnessResult,
    RunResult,
    Uncertainty,
    read,
    read_result,
    read_uncertainty,
)

DATA = "data.json"  # of a run folder: dataset.json of its data, without the names of the source's files
AUDIT = "audit/audit.json"  # of brainmri audit DATA --out RUN/audit

Kind = Literal["answered", "not applicable", "open"]


@dataclass(frozen=True)
class Evidence:
    """A finished run as its files tell of it; None for what an earlier version or nobody wrote.

    Attributes:
        result, uncertainty: of the run. recipe: as it was resolved. data: of the prepared set; see `DATA`.
        audit, robustness, maps: of studies that were made of the data and the model, where they lie in the run folder.
    """

    result: RunResult
    uncertainty: Uncertainty
    recipe: Recipe | None = None
    data: DatasetInfo | None = None
    audit: AuditReport | None = None
    robustness: RobustnessResult | None = None
    maps: MapsResult | None = None


def read_evidence(run_dir: Path) -> Evidence:
    """The evidence in a run folder.

    Raises:
        FileNotFoundError: `result.json` or `uncertainty.json` is missing.
        ValueError: a file is of another version or lacks keys.
    """
    recipe, data, audit = run_dir / "recipe.yaml", run_dir / DATA, run_dir / AUDIT
    robustness, maps = run_dir / "robustness" / "robustness.json", run_dir / "explain" / "maps" / "maps.json"
    return Evidence(
        result=read_result(run_dir),
        uncertainty=read_uncertainty(run_dir),
        recipe=read_recipe_file(recipe) if recipe.is_file() else None,
        data=read(data, DatasetInfo) if data.is_file() else None,
        audit=read(audit, AuditReport, "Make the audit again.") if audit.is_file() else None,
        robustness=read(robustness, RobustnessResult, "Make the study again.") if robustness.is_file() else None,
        maps=read(maps, MapsResult, "Make the maps again.") if maps.is_file() else None,
    )


@dataclass(frozen=True)
class Answer:
    """To one item.

    Attributes:
        kind: "answered" from the run, "not applicable", or "open": only whoever publishes can say.
        text: the answer, the reason, or what is to be said. besides: what the run cannot say of an answered item.
    """

    kind: Kind
    text: str
    besides: str = ""


@dataclass(frozen=True)
class Item:
    """Of a checklist: its number there, our own short name for it, and where the answer comes from."""

    number: str
    name: str
    answer: Callable[[Evidence], Answer]


@dataclass(frozen=True)
class Checklist:
    """citation: of the checklist, whose own words are not repeated here."""

    name: str
    citation: str
    items: list[Item]


def answered(text: str, besides: str = "") -> Answer:
    return Answer("answered", text, besides)


def not_applicable(reason: str) -> Answer:
    return Answer("not applicable", reason)


def only_you(what: str) -> Callable[[Evidence], Answer]:
    """An item that no file of a run can answer."""
    return lambda evidence: Answer("open", what)


def of_patients(
    what: str, simulated: str = "The images are simulated, there are no patients."
) -> Callable[[Evidence], Answer]:
    """An item about people, which no file of a run can answer; not applicable where the images are simulated."""
    return lambda evidence: not_applicable(simulated) if evidence.result.data.simulated else Answer("open", what)
