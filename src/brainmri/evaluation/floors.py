"""Trivial floors: what a classifier without any understanding scores on the same split.

An accuracy means little until it is well above these three. All are fitted on the training split only and scored on
the test split. Definitions: a nearest-neighbour look-up by correlation of 64x64 thumbnails, and boosted trees on seven
global statistics of an image (brightness, border, background, colour), which know nothing of what is in the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from tqdm import tqdm

from brainmri.data.images import prepared_picture
from brainmri.data.thumbnails import thumbnail

if TYPE_CHECKING:
    from brainmri.data.dataset import PreparedData

FRAME = 0.06  # width of the frame, as a share of the side
DARK = 5  # a pixel at or below this level (0..255) counts as background
BRIGHT = 40  # a frame pixel above this level counts as bright
BLOCK = 1024  # test rows compared at once
FLOORS_VERSION = 1  # raise it when a floor is computed in another way: stored ones are then made anew
TRAIN_BLOCK = 16384  # training rows compared at once; one comparison holds BLOCK x TRAIN_BLOCK floats (64 MiB)


def compute_floors(data: PreparedData) -> dict[str, float]:
    """Accuracies (0..1) on the test split of `data` of three floors that know its training and validation splits.

    They have nothing to choose on validation, so they may look those images up too.

    Returns:
        `majority`: always the most frequent class (ties: the first in the alphabet).
        `nearest_neighbour`: see `nearest_neighbour_accuracy`.
        `global_statistics`: gradient-boosted trees (scikit-learn's defaults, seed 0) on `global_statistics`.

    Raises:
        ValueError: if the training or the test split is empty, or a file cannot be read any more.
    """
    train = np.concatenate([data.rows("train"), data.rows("validation")])
    test = data.rows("test")
    if not len(train) or not len(test):
        raise ValueError(
            f"floors need a training and a test split, but {data.root} has {len(train)} training and {len(test)} "
            "test images: prepare the data again with another --split or a larger --test"
        )
    rows = np.concatenate([train, test])
    names = data.index["file_name"].iloc[rows]
    train_labels, test_labels = data.labels(train), data.labels(test)
    thumbs = np.empty((len(names), 64, 64), dtype=np.uint8)
    statistics = np.empty((len(names), 7))
    for row, name in enumerate(tqdm(names, desc="floors", disable=None)):
        image = prepared_picture(data.root / name)
        thumbs[row] = thumbnail(image)
        statistics[row] = global_statistics(image)
    count = len(train)
    return {
        "majority": majority_accuracy(train_labels, test_labels),
        "nearest_neighbour": nearest_neighbour_accuracy(thumbs[:count], train_labels, thumbs[count:], test_labels),
        "global_statistics": statistics_accuracy(statistics[:count], train_labels, statistics[count:], test_labels),
    }


def streamed_floors(counts: dict[str, dict[str, int]]) -> dict[str, float | None]:
    """The floors of a set whose training pictures are streamed, from the numbers of images by split and label.

    Only `majority` is known; the other two would need every training picture once more.
    """
    known = {label: counts["train"][label] + counts["validation"][label] for label in sorted(counts["test"])}
    most = max(known, key=lambda label: known[label])
    floors: dict[str, float | None] = {"majority": counts["test"][most] / sum(counts["test"].values())}
    return floors | {"nearest_neighbour": None, "global_statistics": None}


def majority_accuracy(train_labels: np.ndarray, test_labels: np.ndarray) -> float:
    """Accuracy (0..1) of always answering the most frequent training label (ties: the first in sorted order)."""
    values, counts = np.unique(train_labels, return_counts=True)
    return float(np.mean(test_labels == values[np.argmax(counts)]))


def nearest_neighbour_accuracy(
    train_thumbs: np.ndarray, train_labels: np.ndarray, test_thumbs: np.ndarray, test_labels: np.ndarray
) -> float:
    """Accuracy (0..1) of the label of the one training thumbnail with the highest Pearson correlation.

    Thumbnails are uint8 (N, H, W), labels arrays of length N. Of equal correlations the earliest training image wins.
    An image without contrast has correlation 0 with everything. Memory stays bounded: blocks are compared with blocks.
    """
    nearest = np.empty(len(test_thumbs), dtype=np.int64)
    for start in range(0, len(test_thumbs), BLOCK):
        rows = _unit(test_thumbs[start : start + BLOCK])
        best = np.full(len(rows), -np.inf, dtype=np.float32)
        for first in range(0, len(train_thumbs), TRAIN_BLOCK):
            correlation = rows @ _unit(train_thumbs[first : first + TRAIN_BLOCK]).T
            column = correlation.argmax(1)
            value = correlation[np.arange(len(rows)), column]
            better = value > best
            best[better] = value[better]
            nearest[start : start + len(rows)][better] = column[better] + first
    return float(np.mean(np.asarray(train_labels)[nearest] == np.asarray(test_labels)))


def statistics_accuracy(
    train_statistics: np.ndarray, train_labels: np.ndarray, test_statistics: np.ndarray, test_labels: np.ndarray
) -> float:
    """Accuracy (0..1) of gradient-boosted trees on the seven `global_statistics` of each image, arrays (N, 7)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    if len(np.unique(train_labels)) == 1:  # nothing to fit
        return majority_accuracy(train_labels, test_labels)
    trees = HistGradientBoostingClassifier(random_state=0).fit(train_statistics, train_labels)
    return float(trees.score(test_statistics, test_labels))


def global_statistics(image: Image.Image) -> np.ndarray:
    """Seven numbers of a whole image, float64 (7,), levels in 0..255.

    Mean; standard deviation; mean of the outer frame (6 % of the shorter side wide); the largest of the four corner
    means (squares of the frame's width); share of pixels <= 5; colourfulness (mean over the pixels of the largest minus
    the smallest channel; 0 for grey images); share of the frame's pixels above 40. All but colourfulness are of the
    greyscale picture.
    """
    grey = np.asarray(image.convert("L"))
    width = max(1, round(FRAME * min(grey.shape)))
    inner = np.zeros(grey.shape, dtype=bool)
    inner[width:-width, width:-width] = True
    frame = grey[~inner]
    corners = [grey[rows, columns].mean() for rows in _ends(width) for columns in _ends(width)]
    colour = 0.0
    if image.mode != "L":
        red, green, blue = (np.asarray(channel) for channel in image.convert("RGB").split())
        largest = np.maximum(np.maximum(red, green), blue)
        colour = (largest - np.minimum(np.minimum(red, green), blue)).mean()
    return np.array(
        [grey.mean(), grey.std(), frame.mean(), max(corners), (grey <= DARK).mean(), colour, (frame > BRIGHT).mean()]
    )


def _ends(width: int) -> tuple[slice, slice]:
    return slice(None, width), slice(-width, None)


def _unit(thumbs: np.ndarray) -> np.ndarray:
    """Zero mean and unit length, float32 (N, H*W); all zero where there is no contrast."""
    flat = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length > 1e-3, length, np.inf)
