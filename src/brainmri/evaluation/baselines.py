"""The trivial baselines of a data set: read, computed once, and kept in the cache."""

from __future__ import annotations

import os

import numpy as np

from brainmri.data.dataset import PreparedData
from brainmri.data.file_digests import content_fingerprint
from brainmri.data.pixel_cache import Summaries
from brainmri.data.storage import cache_folder
from brainmri.metrics.baselines import (
    majority_accuracy,
    nearest_neighbour_accuracy,
    statistics_accuracy,
)
from brainmri.schemas import Baselines, read, write

BASELINES_VERSION = 2  # raise it when a baseline is computed in another way: stored ones are then made anew


def compute_baselines(data: PreparedData, summaries: Summaries) -> Baselines:
    """Accuracies (0..1) on the test split of `data` of three baselines that know its training and validation splits.

    They have nothing to choose on validation, so they may look those images up too.

    summaries: of the images of `data` (`image_summaries`).

    Returns:
        `majority`: always the most frequent class (ties: the first in the alphabet).
        `nearest_neighbour`: see `nearest_neighbour_accuracy`.
        `global_statistics`: gradient-boosted trees (scikit-learn's defaults, seed 0) on `global_statistics`.

    Raises:
        ValueError: if the training or the test split is empty.
    """
    train = np.concatenate([data.rows("train"), data.rows("validation")])
    test = data.rows("test")
    if not len(train) or not len(test):
        raise ValueError(
            f"baselines need a training and a test split, but {data.root} has {len(train)} training and {len(test)} "
            "test images: prepare the data again with another --split or a larger --test"
        )
    train_labels, test_labels = data.labels(train), data.labels(test)
    thumbs, statistics = summaries.thumbnails, summaries.statistics
    return Baselines(
        majority=majority_accuracy(train_labels, test_labels),
        nearest_neighbour=nearest_neighbour_accuracy(thumbs[train], train_labels, thumbs[test], test_labels),
        global_statistics=statistics_accuracy(statistics[train], train_labels, statistics[test], test_labels),
    )


def streamed_baselines(counts: dict[str, dict[str, int]]) -> Baselines:
    """The baselines of a set whose training images are streamed, from the numbers of images by split and label.

    Only `majority` is known; the other two would need every training image once more.
    """
    known = {label: counts["train"][label] + counts["validation"][label] for label in sorted(counts["test"])}
    most = max(known, key=lambda label: known[label])
    return Baselines(majority=counts["test"][most] / sum(counts["test"].values()))


def cached_baselines(data: PreparedData, summaries: Summaries) -> Baselines:
    """The trivial baselines of these files and this split, computed once and kept in the cache."""
    path = cache_folder() / f"floors-v{BASELINES_VERSION}" / f"{content_fingerprint(data)}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")  # another run may be at it too
        write(compute_baselines(data, summaries), unfinished)
        unfinished.replace(path)
    return read(path, Baselines, "Remove it: it is made anew.")
