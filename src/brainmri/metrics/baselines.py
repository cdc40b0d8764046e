"""Trivial baselines: what a classifier without any understanding scores on the same split.

An accuracy means little until it is well above these three. All are fitted on the training split only and scored on
the test split. Definitions: a nearest-neighbour look-up by correlation of 64x64 thumbnails, and boosted trees on seven
global statistics of an image (brightness, border, background, colour), which know nothing of what is in the image.
"""

from __future__ import annotations

import numpy as np

BLOCK = 1024  # test rows compared at once


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


def _unit(thumbs: np.ndarray) -> np.ndarray:
    """Zero mean and unit length, float32 (N, H*W); all zero where there is no contrast."""
    flat = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length > 1e-3, length, np.inf)


TRAIN_BLOCK = 16384  # training rows compared at once; one comparison holds BLOCK x TRAIN_BLOCK floats (64 MiB)
