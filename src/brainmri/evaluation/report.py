"""`report.html`: everything about one run on one page that opens without a network."""

import json
from pathlib import Path

import pandas as pd

from brainmri.evaluation.pages import embedded_figures, write_page
from brainmri.evaluation.predictions import read_predictions
from brainmri.evaluation.results import (
    data_title,
    read_result,
    shown,
)
from brainmri.evaluation.robustness.files import read_study

FIGURES = {
    "class_counts": "Images per class and split",
    "samples": "Training images",
    "augmentation": "Training images before and after augmentation",
    "curves": "Loss and accuracy over the epochs",
    "confusion_matrix": "Confusion matrix of the test split",
    "confident_errors": "Test images that were classified wrongly with the most confidence, one of a group: the label, "
    "and what was said instead",
    "reliability": "Reliability of the confidence on the test split",
}

MAPS = {  # of scripts/explain.py
    "montage": "Test images and their maps; outlined where an expert did",
    "randomisation": "How alike the maps stay as the weights become random ones",
}


def write_figures(run_dir: Path) -> list[Path]:
    """Draw `figures/curves.png`, `confusion_matrix.png` and `reliability.png` from the files of a run folder.

    Raises:
        FileNotFoundError: `result.json`, `history.csv` or `predictions.csv` is missing.
        ValueError: `predictions.csv` does not hold the classes or the test split of `result.json`.
    """
    from brainmri.evaluation import figures

    run_dir = Path(run_dir)
    result = read_result(run_dir)
    data, out = result["data"], run_dir / "figures"
    name = f"{result['arch']} ({result['protocol']}) on {data_title(data)}"
    history = pd.read_csv(run_dir / "history.csv")
    drawn = [figures.curves(history, out / "curves.png", best_epoch=result["training"]["best_epoch"], title=name)]
    if result["test"] is None:
        return drawn
    labels, probabilities = read_predictions(run_dir / "predictions.csv", "test", data["classes"])
    temperature = result["calibration"]["temperature"] if result["calibration"] else None
    matrix = result["test"]["confusion_matrix"]
    drawn.append(
        figures.confusion_matrix(
            matrix, data["classes"], out / "confusion_matrix.png", title=f"Confusion matrix: {name}, test"
        )
    )
    drawn.append(
        figures.reliability(
            labels, probabilities, temperature, out / "reliability.png", title=f"Reliability: {name}, test"
        )
    )
    return drawn


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run folder, from the files of that folder alone; figures are embedded.

    Figures that the folder lacks are left out (see `write_figures`), and so are the studies of maps and of robustness,
    if they were not made.

    Raises:
        FileNotFoundError: `result.json` or `trust.json` is missing.
        ValueError: `result.json` is of another version or lacks keys.
    """
    run_dir = Path(run_dir)
    result = read_result(run_dir)
    maps = run_dir / "explain" / "maps"
    robustness, robustness_figures = read_study(run_dir / "robustness")
    drawn = embedded_figures(run_dir / "figures", FIGURES) + embedded_figures(maps, MAPS)
    return write_page(
        run_dir / "report.html",
        "report.html.jinja",
        figures=drawn + robustness_figures,
        maps=json.loads((maps / "maps.json").read_text(encoding="utf-8")) if (maps / "maps.json").is_file() else None,
        robustness=robustness,
        trust=json.loads((run_dir / "trust.json").read_text(encoding="utf-8")),
        data_title=data_title(result["data"]),
        **shown(result),
    )
