"""The folder of an evaluation: evaluation.json, predictions.csv, figures and evaluation.html."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.evaluation import figures
from brainmri.evaluation.pages import embedded_figures, write_page
from brainmri.evaluation.predictions import write_predictions
from brainmri.evaluation.results import (
    DASH,
    FLOORS,
    RESEARCH_ONLY,
    SINGLE_SLICES,
    interval,
    percent,
    with_interval,
)
from brainmri.evaluation.robustness.files import read_study

if TYPE_CHECKING:
    from brainmri.evaluation.scoring.scores import Evaluation

FIGURES = {"confusion_matrix": "Confusion matrix", "reliability": "Reliability of the confidence"}
ONE_DATA_SET = (
    "The figures hold for images like these. Images from other scanners, hospitals or sources can be classified far "
    "worse, or for other reasons: a network can learn the source of an image instead of the disease."
)


def write_evaluation(evaluation: Evaluation, out: Path, study: Path | None = None) -> None:
    """Write the four parts of an evaluation into the folder `out`, which is made if need be.

    study: the folder of a study of robustness, made with this evaluation, that the page shows too.
    """
    contents, classes = evaluation.contents, evaluation.contents["classes"]
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(contents, indent=2, ensure_ascii=False, allow_nan=False)
    (out / "evaluation.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    write_predictions(evaluation.predictions, out / "predictions.csv")
    name = f"{contents['name']} on {_data_title(contents)}"
    figures.confusion_matrix(
        contents["scores"]["confusion_matrix"],
        classes,
        out / "figures" / "confusion_matrix.png",
        title=f"Confusion matrix: {name}",
    )
    figures.reliability(
        evaluation.labels,
        evaluation.probabilities,
        contents["calibration"]["temperature"] if contents["calibration"] else None,
        out / "figures" / "reliability.png",
        title=f"Reliability: {name}",
        calibrated=evaluation.calibrated,
    )
    robustness, robustness_figures = read_study(study) if study else (None, [])
    write_page(
        out / "evaluation.html",
        "evaluation.html.jinja",
        evaluation=contents,
        data_title=_data_title(contents),
        accuracy=with_interval(contents["scores"]),
        floors=_floors(contents),
        figures=embedded_figures(out / "figures", FIGURES) + robustness_figures,
        robustness=robustness,
        limits=[RESEARCH_ONLY, ONE_DATA_SET, SINGLE_SLICES],
        dash=DASH,
    )


def summary(contents: dict[str, Any], out: Path) -> str:
    """Accuracy with its interval, recall by class, and everything that must be known, in a few lines."""
    scores = contents["scores"]
    lines = [f"\n{contents['name']} on {_data_title(contents)}: {scores['n']:,} images of {scores['groups']:,} groups"]
    lines.append(f"Accuracy {with_interval(scores)} (95 % interval, resampled by group)")
    for label, one in scores["per_class"].items():
        if one["support"]:
            lines.append(f"  recall {label:38s} {percent(one['recall'])} of {one['support']:,} images")
    if found := contents["detection"]:
        for what, title in (("sensitivity", "tumours found"), ("specificity", "others left alone")):
            if found["all"][what] is not None:
                lines.append(f"  {title:44s} {percent(found['all'][what])} {interval(found['all'][f'{what}_ci95'])}")
    if refused := contents["reject"]:
        kept = f"accuracy on the others {percent(refused['kept_accuracy'])} {interval(refused['kept_accuracy_ci95'])}"
        lines.append(f"  {'refused by its reject rule':44s} {percent(refused['rejected'])}, {kept}")
    lines += [f"  floor: {name:37s} {percent(value)}" for name, value in _floors(contents) if value is not None]
    lines += [contents["relation"], *filter(None, [contents["missing_reason"]])]
    lines += [f"{headline.upper()}: {sentence}" for headline, sentence in contents["warnings"]]
    return "\n".join([*lines, f"Everything is in {out}: open {out / 'evaluation.html'}"])


def _data_title(contents: dict[str, Any]) -> str:
    part = "all splits" if contents["split"] == "all" else f"{contents['split']} split"
    return f"{contents['data']['name']} ({part})"


def _floors(contents: dict[str, Any]) -> list[tuple[str, float | None]]:
    return [(name, contents["floors"][key]) for key, name in FLOORS.items()]
