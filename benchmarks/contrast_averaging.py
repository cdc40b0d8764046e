"""Whether averaging the answers over other contrasts of the same image finds more tumours on images from elsewhere.

    python -m benchmarks.contrast_averaging RUN DATA [DATA ...] [--healthy NAME ...] [--images N] [--out FILE.json]

DATA are prepared folders: of the run's own only the test split counts, of another all images. Nothing is trained.
Prints for each folder, and for each site with tumours against all images without one, the area under the ROC curve of
the plain image, of each changed one alone, and of the means, with the interval of the difference by group, in pairs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from sklearn.metrics import roc_auc_score

from brainmri.data.dataset import open_prepared
from brainmri.evaluation.scored import ScoredModel, open_scored
from brainmri.io.read import prepared_image
from brainmri.metrics.bootstrap import auroc_resamples
from brainmri.schemas import json_text

Change = Callable[[Image.Image], Image.Image]
BATCH = 32


def curve(formula: Callable[[float], float]) -> Change:
    """The image with its brightness, 0..1, mapped by a formula."""
    levels = [round(255 * formula(level / 255)) for level in range(256)]
    return lambda image: image.point(levels * len(image.getbands()))


CHANGES: Mapping[str, Change] = {
    "plain": lambda image: image,
    "gamma 0.6": curve(lambda level: level**0.6),
    "gamma 1.6": curve(lambda level: level**1.6),
    "s-curve": curve(lambda level: level * level * (3 - 2 * level)),
    "equalised": ImageOps.equalize,
    "inverted": ImageOps.invert,
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.0)),
    "mirrored": ImageOps.mirror,
}
MEANS: Mapping[str, tuple[str, ...]] = {
    "mean of gammas": ("plain", "gamma 0.6", "gamma 1.6"),
    "mean of monotone maps": ("plain", "gamma 0.6", "gamma 1.6", "s-curve", "equalised"),
    "mean with inverted": ("plain", "inverted"),
    "mean with blurred": ("plain", "blurred"),
    "mean with mirrored": ("plain", "mirrored"),
    "mean of all": tuple(CHANGES),
}


def measure(model: ScoredModel, folder: Path, healthy: set[str], images: int) -> dict[str, Any]:
    """The table of each comparison in one prepared folder. images: at most so many, drawn at random."""
    data = open_prepared(folder)
    own = model.result is not None and data.info.fingerprint == model.result.data.fingerprint
    rows = data.rows("test") if own else np.arange(len(data.index))
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:images])
    index = data.index.iloc[rows]
    assert model.classify is not None
    without = [number for number, name in enumerate(model.classes) if name in healthy]
    scores: dict[str, NDArray[np.float64]] = {}
    for name, change in CHANGES.items():
        parts = []
        for start in range(0, len(index), BATCH):
            files = index["file_name"].iloc[start : start + BATCH]
            parts.append(model.classify([change(prepared_image(data.root / file)) for file in files]))
        scores[name] = 1 - np.concatenate(parts)[:, without].sum(axis=1)
    scores |= {name: np.mean([scores[part] for part in parts], axis=0) for name, parts in MEANS.items()}
    tumour = ~index["label"].isin(healthy).to_numpy()
    sites = index["site"].to_numpy()
    chosen = {"all": np.ones(len(index), dtype=bool)}
    chosen |= {site: (sites == site) | ~tumour for site in dict.fromkeys(sites[tumour]) if site}
    return {
        name: table(scores, tumour, here, index["group_id"].to_numpy(dtype=str))
        for name, here in chosen.items()
        if tumour[here].any() and not tumour[here].all()
    }


def table(
    scores: Mapping[str, NDArray[np.float64]],
    tumour: NDArray[np.bool_],
    here: NDArray[np.bool_],
    groups: NDArray[np.str_],
) -> dict[str, Any]:
    """For each kind of score the area under the ROC curve, and by how much it is above the plain image's."""
    ids = groups[here].tolist()
    plain = auroc_resamples(scores["plain"][here], tumour[here], ids, resamples=1000)
    found: dict[str, Any] = {"images": int(here.sum()), "tumours": int(tumour[here].sum())}
    for name, values in scores.items():
        difference = auroc_resamples(values[here], tumour[here], ids, resamples=1000) - plain
        low, high = np.nanquantile(difference, [0.025, 0.975])
        found[name] = {
            "auroc": round(float(roc_auc_score(tumour[here], values[here])), 4),
            "difference_ci95": [round(float(low), 4), round(float(high), 4)],
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("data", metavar="DATA", nargs="+", type=Path)
    parser.add_argument("--healthy", nargs="+", default=["notumor", "healthy"], help="the classes without a tumour")
    parser.add_argument("--images", type=int, default=1000, help="of each folder, at most (default: 1000)")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model = open_scored(arguments.run, batch_size=BATCH)
    healthy = set(arguments.healthy)
    figures = {folder.name: measure(model, folder, healthy, arguments.images) for folder in arguments.data}
    for folder, tables in figures.items():
        for name, rows in tables.items():
            print(f"{folder}, {name}: {rows['images']:,} images, {rows['tumours']:,} with a tumour")
            print(pd.DataFrame({key: row for key, row in rows.items() if isinstance(row, dict)}).T.to_string(), "\n")
    if arguments.out:
        arguments.out.write_text(json_text(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
