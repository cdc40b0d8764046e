"""The OOD detector of a finished run: fitted, tried on OOD test sets, recorded, and written beside the model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from brainmri.data.dataset import PreparedData
from brainmri.data.pixel_cache import image_summaries, pixel_cache
from brainmri.evaluation.ood.detector import ARRAYS, LOST_AT_MOST, METHOD, OODDetector
from brainmri.evaluation.ood.features import Seen, see, see_cached
from brainmri.evaluation.ood.probe_sets import HELD_BACK, AbsentPackage, ProbeSet, probe_sets
from brainmri.io.decode import upright_8_bit
from brainmri.metrics.bootstrap import group_bootstrap
from brainmri.metrics.detection import abstention
from brainmri.models.layers import NoClassifierLayer, classifier_layer, folded
from brainmri.schemas import Abstention, OODRecord, OODTestResult, Rejection, TestRejection, ValidationRejection
from brainmri.training.train import MOST_FEATURES

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

logger = logging.getLogger(__name__)
Answer = Callable[[list[Image.Image]], NDArray[np.bool_]]  # which of some images are refused
# Images of each split at most, so that the pass over them stays short. 1,000 or 2,000 training images refuse a point
# more of what they should, and tell wrong answers from right ones no better than 500 (docs/LOG.md).
MOST = {"train": 500, "validation": MOST_FEATURES, "test": MOST_FEATURES}


def fit_ood_detector(
    run_dir: Path,
    model: PreTrainedModel,
    processor: BaseImageProcessor,
    data: PreparedData,
    scored: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float32]]] | None = None,
) -> OODRecord | str:
    """Fit the rule of `model` on the data it was trained on, write `uncertainty.safetensors`, and return its `record`.

    The images are those of the training's cache, which are the pixels that whoever uses the rule will see. A network
    without one last layer gets no rule; the reason is returned.

    scored: of splits that the model has just scored, probabilities (N, C) and features (N, D) of all their images: they
    take no second pass.
    """
    started = time.perf_counter()
    model.eval()
    rows = {split: some_rows(data, split) for split in MOST}
    example = processor(images=[Image.new("RGB", (64, 64))], return_tensors="pt")
    try:
        layer = classifier_layer(model, example["pixel_values"].to(model.device))
    except NoClassifierLayer as reason:
        return f"No rule for refusing an image was fitted: {reason}."
    logger.info(
        "Fitting the OOD detector, by which the model abstains, on %d training images, and trying it on images of "
        "other kinds (--ood false leaves it out)",
        len(rows["train"]),
    )
    if model.device.type == "cpu":
        model = folded(model, torch.randn(example["pixel_values"].shape, generator=torch.Generator().manual_seed(0)))
    size = example["pixel_values"].shape[-1]
    cached = pixel_cache(data, size), image_summaries(data, size).statistics
    seen = {
        split: Seen(*scored[split], cached[1][chosen])
        if scored and split != "train" and split in scored and len(scored[split][1]) == len(chosen)
        else see_cached(*cached, chosen, model, processor, layer)
        for split, chosen in rows.items()
    }
    rule = OODDetector.fit(
        layer,
        len(data.classes),
        (seen["train"].features, seen["train"].statistics, data.labels(rows["train"])),
        seen["validation"].evidence,
    )
    rule.save(run_dir)
    rejected = {split: rule.rejected(rule.score(*of_split.evidence)) for split, of_split in seen.items()}
    found = ood_record(
        rule,
        fitted_images=len(rows["train"]),
        validation=rejected["validation"],
        test=rejected["test"],
        test_labels=data.labels(rows["test"]),
        test_predicted=seen["test"].logits.argmax(axis=1),
        test_groups=data.index["group_id"].iloc[rows["test"]].tolist(),
        test_sites=data.index["site"].iloc[rows["test"]].tolist(),
        classes=data.classes,
        # The development sets chose the kind of rule, so that they say less of it, and take as long again.
        probes=probe_records(
            (probe for probe in probe_sets(data) if probe.use == HELD_BACK), partial(_rejected, rule, model, processor)
        ),
    )
    logger.info("OOD detector: fitted and tried on other images in %.0f s", time.perf_counter() - started)
    return found


def _rejected(
    rule: OODDetector, model: PreTrainedModel, processor: BaseImageProcessor, images: list[Image.Image]
) -> NDArray[np.bool_]:
    """(N,) whether images of any mode and size are refused."""
    seen = see((upright_8_bit(image) for image in images), model, processor, rule.layer)
    return rule.rejected(rule.score(*seen.evidence))


def some_rows(data: PreparedData, split: str) -> NDArray[np.int64]:
    """Rows of a split, at most `MOST` of them; of the training split each image only once."""
    rows = data.rows(split)
    if split == "train":
        rows = rows[~data.index["duplicate_id"].iloc[rows].duplicated().to_numpy()]
    if len(rows) <= MOST[split]:
        return rows
    return np.sort(np.random.default_rng(0).permutation(rows)[: MOST[split]])


def ood_record(
    rule: OODDetector,
    *,
    fitted_images: int,
    validation: NDArray[np.bool_],
    test: NDArray[np.bool_],
    test_labels: NDArray[np.int64],
    test_predicted: NDArray[np.int64],
    test_groups: Sequence[str],
    test_sites: Sequence[str],
    classes: list[str],
    probes: list[OODTestResult],
) -> OODRecord:
    """The detector's part of `uncertainty.json`.

    Args:
        fitted_images: how many training images the rule was fitted on.
        validation, test: (N,) what it refuses of these splits.
        test_labels, test_predicted, test_groups, test_sites: (N,) class numbers, group ids and sites of the test split.
        classes: the C label names.
        probes: as `probe_records` gives them.
    """
    per_class = {name: test[test_labels == k] for k, name in enumerate(classes)}
    effect = abstention(test, test_labels, test_predicted, test_groups, test_sites, classes)
    of_test = rejection(test, test_predicted == test_labels, test_groups, effect)
    return OODRecord(
        method=METHOD,
        layer=rule.layer,
        features=rule.means.shape[1],
        arrays=ARRAYS,
        fitted_on="train",
        fitted_images=fitted_images,
        threshold=rule.threshold,
        threshold_from="validation",
        lost_at_most=LOST_AT_MOST,
        validation=ValidationRejection(n=len(validation), rejected=float(validation.mean())),
        test=TestRejection(
            **dict(of_test),
            rejected_per_class={name: float(own.mean()) if len(own) else None for name, own in per_class.items()},
        ),
        probes=probes,
    )


def rejection(
    rejected: NDArray[np.bool_],
    correct: NDArray[np.bool_],
    groups: Sequence[str],
    effect: Abstention | None = None,
) -> Rejection:
    """How many of some images are refused, and how many of the others are classified rightly.

    Args:
        rejected, correct: (N,), N at least 1.
        groups: (N,) group ids, by which the intervals are resampled.
        effect: what abstaining changes for finding tumours, if that is known.
    """
    kept = ~rejected
    ids = np.asarray(groups, dtype=str)
    return Rejection(
        n=len(rejected),
        rejected=float(rejected.mean()),
        rejected_ci95=group_bootstrap(rejected, groups),
        kept=int(kept.sum()),
        kept_accuracy=float(correct[kept].mean()) if kept.any() else None,
        kept_accuracy_ci95=group_bootstrap(correct[kept], ids[kept].tolist()) if kept.any() else None,
        abstention=effect,
    )


def probe_records(probes: Iterable[ProbeSet], answer: Answer) -> list[OODTestResult]:
    """The share of each set that is refused, with its exact binomial interval. answer: which of some images are."""
    return [_probe_record(probe, answer) for probe in probes]


def _probe_record(probe: ProbeSet, answer: Answer) -> OODTestResult:
    known = {"name": probe.name, "source": probe.source, "use": probe.use, "meaning": probe.meaning}
    try:
        images = probe.images()
    except AbsentPackage as reason:
        return OODTestResult(**known, n=0, rejected=None, ci95=None, absent=str(reason))
    rejected = answer(images)
    from scipy.stats import binomtest  # half a second to import

    interval = binomtest(int(rejected.sum()), len(rejected)).proportion_ci(0.95)
    return OODTestResult(
        **known,
        n=len(rejected),
        rejected=float(rejected.mean()),
        ci95=[float(interval.low), float(interval.high)],
        absent=None,
    )
