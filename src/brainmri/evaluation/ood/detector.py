"""The OOD detector: how far an image is from those of the training, and how far is too far.

Chosen among others by what they refuse of real images (`benchmarks.ood_candidates`; docs/LOG.md has the
figures). Two distances count, since each sees what the other does not: photographs, documents and inverted scans have
another brightness, border or colour, which a network trained on grey slices may ignore; other body parts and turned
heads have not, and only the network's features tell them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from brainmri.errors import reading
from brainmri.schemas import EARLIER_ARRAYS, read_uncertainty

ARRAYS = "uncertainty.safetensors"
LOST_AT_MOST = 0.05  # share of the validation images that are refused
DIRECTIONS = 64  # principal components of the features, at most half of them
LEAST_DEVIATION = 1e-3  # of features of length 1, for what a network never lets vary
LEAST_IMAGES = 20  # validation images with a prediction, for a unit of its own
# Statistics tell photographs and documents, not wrong answers: a slice of another look is refused no more than need be.
STATISTICS_LOST, STATISTICS_MARGIN = 0.01, 1.5
# Of the seven `global_statistics`: one level of 255, and one in a hundred of the pixels. A set of grey images has no
# colourfulness at all, and one that is saved as a coloured JPEG a little.
LEAST_STATISTICS = np.array([1, 1, 1, 1, 0.01, 1, 0.01])
METHOD = (
    "Two Mahalanobis distances; the larger counts. One is of the features (what enters the last layer, scaled to "
    "length 1) from the training images of the class that the network names, with the variances within the classes "
    f"along at most {DIRECTIONS} principal components and one for every other direction; its unit is what 95 % of the "
    "validation images with this class stay below. The other is of seven statistics of the whole image (brightness, "
    "contrast, border, corners, dark share, colour, bright share of the border) from those of all training images, "
    f"in units of {STATISTICS_MARGIN:g} times what 99 % of the validation images stay below."
)
FIELDS = ("means", "directions", "deviations", "statistics_mean", "statistics_whitening", "units")


@dataclass(frozen=True)
class OODDetector:
    """A Gaussian around the features of each class of the training images, and one around their global statistics.

    "No training image of this class looked like this": what a network has learnt to be healthy is no reason to trust it
    where it names a tumour. Chosen on tumours of a source that training lacked and on volumes (docs/LOG.md).

    Attributes:
        layer: the name of the model's layer whose input the features are.
        threshold: the model abstains from an image with a higher score.
        means: (C, D) of the classes, or (1, D) of all images in the file of an earlier version.
        directions: (K, D), orthogonal, of length 1. deviations: (K + 1,), along them, and along each direction left.
        statistics_mean: (7,). statistics_whitening: (7, 7), makes their deviations 1 and independent.
        units: of the distance from each of `means`, and last of that of the statistics. All arrays are float32.
    """

    layer: str
    threshold: float
    means: NDArray[np.float32]
    directions: NDArray[np.float32]
    deviations: NDArray[np.float32]
    statistics_mean: NDArray[np.float32]
    statistics_whitening: NDArray[np.float32]
    units: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        layer: str,
        classes: int,
        train: tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.int64]],
        validation: tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.int64]],
    ) -> OODDetector:
        """Fit the distances on training images, and units and threshold on validation images.

        At most `LOST_AT_MOST` of the validation images are refused.

        Args:
            layer: where the features come from (`classifier_layer`). classes: their number C.
            train: features (N, D), `global_statistics` (N, 7) and class numbers (N,) of at least one image.
            validation: the same, with the class that the network names in place of the true one.
        """
        from scipy.linalg import svd

        features, labels = unit_length(train[0]), np.asarray(train[2])
        means = np.stack(
            [(features[labels == k] if (labels == k).any() else features).mean(axis=0) for k in range(classes)]
        )
        # numpy's own (gesdd) ends on some sound matrices with "did not converge", always the same ones.
        _, spread, directions = svd(features - means[labels], full_matrices=False, lapack_driver="gesvd")
        variances = np.zeros(features.shape[1])
        variances[: len(spread)] = spread**2 / len(features)
        kept = min(DIRECTIONS, len(spread), max(1, features.shape[1] // 2))
        deviations = np.sqrt(np.append(variances[:kept], variances[kept:].mean() if len(variances) > kept else 0))
        statistics = np.asarray(train[1], dtype=np.float64)
        away = statistics - statistics.mean(axis=0)
        covariance = away.T @ away / len(away) + np.diag(LEAST_STATISTICS**2)
        values, axes = np.linalg.eigh(covariance)
        arrays = (
            *(means, directions[:kept], np.maximum(deviations, LEAST_DEVIATION)),
            *(statistics.mean(axis=0), axes / np.sqrt(values), np.ones(classes + 1)),
        )
        rule = cls(layer, np.inf, *(np.ascontiguousarray(array, np.float32) for array in arrays))
        of_features, of_statistics = rule.distances(*validation).T
        units = np.full(classes + 1, exceeded_by(LOST_AT_MOST, of_features))
        for k in range(classes):
            if (own := validation[2] == k).sum() >= LEAST_IMAGES:
                units[k] = exceeded_by(LOST_AT_MOST, of_features[own])
        units[-1] = STATISTICS_MARGIN * exceeded_by(STATISTICS_LOST, of_statistics)
        rule = replace(rule, units=np.maximum(units.astype(np.float32), np.finfo(np.float32).tiny))
        return replace(rule, threshold=exceeded_by(LOST_AT_MOST, rule.score(*validation)))

    def distances(
        self, features: NDArray[np.floating], statistics: NDArray[np.floating], predicted: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """(N, 2): how far the features and the statistics are away, in their units.

        Args:
            features: (N, D). statistics: `global_statistics` (N, 7). predicted: (N,) classes that the network names.
        """
        mean = np.asarray(predicted) if len(self.means) > 1 else np.zeros(len(features), dtype=np.int64)
        away = unit_length(features) - self.means[mean]
        # Not by BLAS, whose threads take ten times as long for a batch, where other threads classify meanwhile.
        along = np.einsum("nd,kd->nk", away, self.directions.astype(np.float64))
        left = np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        *own, rest = self.deviations.astype(np.float64)
        of_features = np.sqrt(((along / own) ** 2).sum(axis=1) + left / rest**2)
        white = (np.asarray(statistics, dtype=np.float64) - self.statistics_mean) @ self.statistics_whitening
        return np.stack([of_features / self.units[mean], np.linalg.norm(white, axis=1) / self.units[-1]], axis=1)

    def score(
        self, features: NDArray[np.floating], statistics: NDArray[np.floating], predicted: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """(N,): the larger of the two `distances`; a score above the threshold is too far."""
        return self.distances(features, statistics, predicted).max(axis=1)

    def rejected(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether images with these scores are refused."""
        return scores > self.threshold

    def save(self, folder: Path) -> None:
        """Write the arrays to `uncertainty.safetensors`; layer and threshold stand in `uncertainty.json`."""
        save_file({name: np.ascontiguousarray(getattr(self, name)) for name in FIELDS}, Path(folder) / ARRAYS)

    @classmethod
    def load(cls, folder: Path) -> OODDetector:
        """The rule beside the model of a run.

        Raises:
            FileNotFoundError: the folder lacks `uncertainty.json` or `uncertainty.safetensors`.
            ValueError: `uncertainty.json` says why there is no rule.
        """
        uncertainty = read_uncertainty(folder)
        found = uncertainty.ood
        if found is None:
            raise ValueError(f"{folder}: no OOD detector ({uncertainty.ood_reason})")
        if found.arrays not in (ARRAYS, EARLIER_ARRAYS):  # a name that a stranger may have chosen
            raise ValueError(f"{folder}: uncertainty.json names {found.arrays!r} and not {ARRAYS}")
        file = Path(folder) / found.arrays
        with reading(file):
            arrays = load_file(file)
            if "mean" in arrays:  # of an earlier version: one Gaussian for all classes
                arrays["means"] = arrays["mean"][None]
            return cls(found.layer, found.threshold, **{name: arrays[name] for name in FIELDS})


def exceeded_by(share: float, values: NDArray[np.float64]) -> float:
    """The smallest of the values (N,) that at most this share of them is larger than."""
    return float(np.sort(values)[len(values) - 1 - int(share * len(values))])


def unit_length(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows of length 1 (of length 0 where all features are 0, as those of a rectifier may be)."""
    rows = np.asarray(features, dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
