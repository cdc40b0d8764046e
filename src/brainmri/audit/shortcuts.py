"""What tells the class without looking at the brain: size, border, brightness, sharpness, format of the files.

Where the classes of a data set come from different sources, such traits name the source and with it the class. A
network learns them as readily as a tumour, and is lost in images from elsewhere.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import laplace
from tqdm.auto import tqdm

from brainmri.data.checking import WORKERS
from brainmri.data.statistics import global_statistics
from brainmri.io.read import read_image
from brainmri.schemas import Shortcuts, TraitAccuracy

FOLDS = 5
SIDE = 224  # pixels that sharpness and letters are looked at in
CORNER = 0.2  # of the side
TRAITS: dict[str, list[str]] = {  # a trait and what measures it
    "size": ["width", "height"],
    "aspect": ["aspect"],
    "file": ["format", "bytes_per_pixel"],
    "colour": ["colour"],
    "border": ["frame", "corner", "bright_frame"],
    "brightness": ["mean", "dark"],
    "contrast": ["deviation"],
    "sharpness": ["sharpness"],
    "letters": ["corner_edges"],
}


def shortcuts(table: pd.DataFrame) -> Shortcuts | None:
    """How well boosted trees tell the label from each trait alone, and from all: of images of groups not trained on.

    Args:
        table: of `brainmri.audit.duplicates.repetitions`, rows of one data set.

    Returns:
        Accuracies are pooled over the folds. None with one label only, or fewer groups of a label than folds.
    """
    if table["label"].nunique() < 2 or table.groupby("label")["group_id"].nunique().min() < FOLDS:
        return None
    with ThreadPoolExecutor(WORKERS) as pool:
        files = [Path(path) for path in table["path"]]
        rows = list(tqdm(pool.map(_measured, files), total=len(files), desc="traits", unit="file", disable=None))
    measured = pd.DataFrame(rows)
    measured["format"] = pd.factorize(table["format"])[0]
    measured["bytes_per_pixel"] = table["bytes"].to_numpy() / (measured["width"] * measured["height"])
    labels, groups = pd.factorize(table["label"])[0], pd.factorize(table["group_id"])[0]
    choices = {**TRAITS, "all of these": list(measured)}
    found = [
        TraitAccuracy(trait=trait, accuracy=_accuracy(measured[columns].to_numpy(np.float64), labels, groups))
        for trait, columns in choices.items()
    ]
    return Shortcuts(
        folds=FOLDS,
        majority=float(table["label"].value_counts(normalize=True).max()),
        traits=sorted(found, key=lambda row: -row.accuracy),
    )


def _accuracy(values: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    trees = HistGradientBoostingClassifier(max_depth=3, random_state=0)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # groups of several labels
        predicted = cross_val_predict(trees, values, labels, groups=groups, cv=folds)
    return float(np.mean(predicted == labels))


def _measured(path: Path) -> dict[str, float]:
    image = read_image(path).image
    mean, deviation, frame, corner, dark, colour, bright_frame = global_statistics(image)
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float32)
    edges = np.abs(laplace(grey))
    end = round(CORNER * SIDE)
    corners = [
        edges[rows, columns] for rows in (slice(end), slice(-end, None)) for columns in (slice(end), slice(-end, None))
    ]
    return {
        "width": image.width,
        "height": image.height,
        "aspect": image.width / image.height,
        "colour": colour,
        "frame": frame,
        "corner": corner,
        "bright_frame": bright_frame,
        "mean": mean,
        "dark": dark,
        "deviation": deviation,
        "sharpness": edges.mean() / max(grey.std(), 1.0),
        "corner_edges": max(float(part.mean()) for part in corners),
    }
