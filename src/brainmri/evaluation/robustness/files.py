"""The folder `robustness`: robustness.json, robustness.csv and two figures; and what is told of it in a few lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from brainmri.evaluation.pages import embedded_figures
from brainmri.evaluation.results import interval, json_text, percent
from brainmri.evaluation.robustness.corruptions import STRENGTHS
from brainmri.evaluation.robustness.worst_groups import PARTS

if TYPE_CHECKING:
    from brainmri.evaluation.robustness.study import RobustnessStudy

FIGURES = {
    "robustness": "Accuracy against the strength of each corruption",
    "corruptions": "One picture under each corruption",
}


def write_study(study: RobustnessStudy, folder: Path) -> None:
    """Write the files of a study into `folder`, which is made if need be.

    `robustness.csv` has the rows of `robustness.json`; an interval X_ci95 is two columns there, X_low and X_high.
    """
    from brainmri.evaluation.robustness import figures

    contents = study.contents
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "robustness.json").write_text(json_text(contents), encoding="utf-8", newline="\n")
    table = pd.DataFrame([_flat(row) for row in contents["rows"]])
    table.to_csv(folder / "robustness.csv", index=False, float_format="%.6g", lineterminator="\n")
    name = f"{contents['name']} on {contents['data']['name']} ({contents['split']})"
    figures.curves(contents, folder / "figures" / "robustness.png", title=name)
    figures.montage(study.example, study.example_name, folder / "figures" / "corruptions.png")


def read_study(folder: Path) -> tuple[dict[str, Any] | None, list[tuple[str, str, str]]]:
    """The contents of `robustness.json` and the figures for a page; (None, []) if the folder holds no study."""
    path = folder / "robustness.json"
    if not path.is_file():
        return None, []
    return json.loads(path.read_text(encoding="utf-8")), embedded_figures(folder / "figures", FIGURES)


def study_summary(contents: dict[str, Any], folder: Path) -> str:
    """Accuracy by kind and strength and the worst groups, in a few lines."""
    rows = contents["rows"]
    lines = [f"\nRobustness: {contents['images']['statement']}", f"Accuracy {percent(rows[0]['accuracy'])} clean"]
    lines.append(f"  {'at strength':12s}" + "".join(f"{k:>9d}" for k in range(1, STRENGTHS + 1)))
    for kind in contents["corruptions"]:
        cells = [f"{percent(row['accuracy']):>9s}" for row in rows if row["kind"] == kind]
        lines.append(f"  {kind:12s}" + "".join(cells))
    groups = contents["groups"]
    for part in PARTS:
        if groups[part] is not None and (one := groups[part]["worst"]):
            name = ", ".join(one[key] or "unknown" for key in PARTS[part])
            figures = f"{percent(one['accuracy'])} {interval(one['accuracy_ci95'])} of {one['n']:,} images"
            lines.append(f"Worst {part.replace('_', ' ')}: {name}, {figures} (clean)")
    return "\n".join([*lines, f"The study is in {folder}"])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with two numbers in place of each interval."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key.endswith("_ci95"):
            low, high = value or (None, None)
            flat |= {key.replace("ci95", "low"): low, key.replace("ci95", "high"): high}
        else:
            flat[key] = value
    return flat
