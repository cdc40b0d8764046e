"""How the kind of OOD detector was chosen: several scores on the development images of `probes`, none held back.

    python -m benchmarks.ood_candidates RUN DATA

Prints a table for docs/LOG.md: for each score what it refuses of each set of images, at the threshold that 5 % of the
validation images exceed, and what of the test images would be lost.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import logsumexp, softmax

from brainmri.data.dataset import open_prepared
from brainmri.data.pixel_cache import image_summaries, pixel_cache
from brainmri.environment import use_cpu_well
from brainmri.evaluation.ood.detector import LOST_AT_MOST, OODDetector, exceeded_by, unit_length
from brainmri.evaluation.ood.features import Seen, see, see_cached
from brainmri.evaluation.ood.fit import MOST, some_rows
from brainmri.evaluation.ood.probe_sets import DEVELOPMENT, AbsentPackage, probe_sets
from brainmri.models.layers import classifier_layer
from brainmri.models.load import load_classifier, load_processor

NEIGHBOUR = 10
Score = Callable[[Seen], NDArray[np.float64]]


def candidates(train: Seen, labels: NDArray[np.int64], validation: Seen) -> dict[str, Score]:
    """Scores by name, fitted on training images with their class numbers; higher is further away."""
    rule = OODDetector.fit("", train.logits.shape[1], (train.features, train.statistics, labels), validation.evidence)
    neighbour = _neighbour(train)
    return {
        "1 - largest probability": lambda seen: 1 - softmax(seen.logits, axis=1).max(axis=1),
        "energy": lambda seen: -logsumexp(seen.logits, axis=1),
        f"distance to the {NEIGHBOUR}th neighbour": neighbour,
        "Mahalanobis, by class": _mahalanobis(train, labels),
        "Gaussian of the class named": lambda seen: rule.distances(*seen.evidence)[:, 0],
        "Gaussian of statistics": lambda seen: rule.distances(*seen.evidence)[:, 1],
        "neighbour and statistics": _larger(neighbour, lambda seen: rule.distances(*seen.evidence)[:, 1], validation),
        "Gaussians of both (chosen)": lambda seen: rule.score(*seen.evidence),
    }


def _neighbour(train: Seen) -> Score:
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=min(NEIGHBOUR, len(train.features))).fit(unit_length(train.features))
    return lambda seen: index.kneighbors(unit_length(seen.features))[0][:, -1]


def _mahalanobis(train: Seen, labels: NDArray[np.int64]) -> Score:
    """To the nearest class, all with one covariance, shrunk by Ledoit and Wolf's formula."""
    from sklearn.covariance import LedoitWolf

    classes = [train.features[labels == label] for label in np.unique(labels)]
    means = [features.mean(axis=0) for features in classes]
    within = np.concatenate([features - mean for features, mean in zip(classes, means, strict=True)])
    shrunk = LedoitWolf(assume_centered=True).fit(within)
    return lambda seen: np.min([shrunk.mahalanobis(seen.features - mean) for mean in means], axis=0)


def _larger(first: Score, second: Score, validation: Seen) -> Score:
    """The larger of two scores, each in units of the one that 5 % of the validation images exceed."""
    units = [np.quantile(score(validation), 1 - LOST_AT_MOST) for score in (first, second)]
    return lambda seen: np.maximum(first(seen) / units[0], second(seen) / units[1])


def main() -> None:
    run, data = sys.argv[1], open_prepared(sys.argv[2])
    use_cpu_well()
    model, processor = load_classifier(run), load_processor(run)
    rows = {split: some_rows(data, split) for split in MOST}
    example = processor(images=[Image.new("RGB", (64, 64))], return_tensors="pt")
    layer = classifier_layer(model, example["pixel_values"])
    look = partial(see, model=model, processor=processor, layer=layer)
    size = example["pixel_values"].shape[-1]
    cached = pixel_cache(data, size), image_summaries(data, size).statistics
    seen = {split: see_cached(*cached, chosen, model, processor, layer) for split, chosen in rows.items()}
    others = {}
    for probe in probe_sets(data):
        try:
            if probe.use == DEVELOPMENT:
                others[probe.name] = look(probe.images())
        except AbsentPackage as reason:
            print(f"{probe.name}: left out, {reason}")
    print(f"| score | test images lost | {' | '.join(others)} |\n|{'---|' * (2 + len(others))}")
    for name, score in candidates(seen["train"], data.labels(rows["train"]), seen["validation"]).items():
        threshold = exceeded_by(LOST_AT_MOST, score(seen["validation"]))
        shares = [(score(part) > threshold).mean() for part in (seen["test"], *others.values())]
        print(f"| {name} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |", flush=True)


if __name__ == "__main__":
    main()
