"""What a visitor of the demo waits for: a slice judged, its parts, and its map."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.case import Material
from benchmarks.timing import comparison, in_turns
from brainmri.demo.model import open_models
from brainmri.models.build import build_model
from brainmri.models.load import save_model
from brainmri.models.preprocessing import image_processor

SLICES = 40  # of one repetition, one after the other, as visitors bring them
TARGET = 0.06  # seconds for a slice without the map
JUDGED = "judged"


def measure(material: Material, repeats: int, weights: str) -> list[dict[str, Any]]:
    """Seconds of single slices of the test split: judged (without an OOD detector), its preprocessing, network and map.

    weights: as of `build_model`; speed does not depend on them.
    """
    model, _ = build_model(material.recipe, material.data.classes, weights)
    settings = material.recipe.input
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, image_processor(settings.size, settings.normalize), Path(folder))
        (opened,) = open_models([folder])
    names = material.data.index["file_name"].iloc[np.resize(material.data.rows("test"), SLICES)]
    images = [Image.open(material.data.root / name).copy() for name in names]
    pixels = opened.preprocessed(images[0]).numpy()
    jobs: dict[str, Callable[[Image.Image], object]] = {
        JUDGED: lambda image: opened.judge([image]),
        "preprocessing alone": opened.preprocessed,
        "network alone": lambda _: opened.network(pixels),
        "map": opened.map,
    }
    for job in jobs.values():  # warm
        job(images[0])
    ways = {name: partial(_of_next, job, cycle(images)) for name, job in jobs.items()}
    title = f"{material.arch}, single slices"
    seconds = in_turns(ways, repeats * SLICES, f"demo {title}")
    late = {name: float(np.percentile(values, 95)) for name, values in seconds.items()}
    rows = [
        comparison(title, {JUDGED: seconds.pop(JUDGED)}, images=1, at_most=TARGET),
        comparison(f"{title}: parts of it, and the map", seconds, images=1),
    ]
    return [row | {"p95": {name: late[name] for name in row["medians"]}} for row in rows]


def _of_next(job: Callable[[Image.Image], object], images: Iterator[Image.Image]) -> Callable[[], object]:
    return partial(job, next(images))
