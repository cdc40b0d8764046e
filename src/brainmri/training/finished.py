"""The finished network: what it says of the pictures, and its reject rule."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from brainmri.data.batches import SliceBatches
from brainmri.data.dataset import PreparedData
from brainmri.evaluation.floors import global_statistics
from brainmri.evaluation.reject.answers import answers
from brainmri.evaluation.reject.features import NoClassifierLayer, classifier_layer, features_of
from brainmri.evaluation.reject.probes import probe_sets
from brainmri.evaluation.reject.record import probe_records, record
from brainmri.evaluation.reject.rule import FITTED_ON, RejectRule
from brainmri.training.trainer import SliceTrainer

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """probabilities: float64 (N, C), uncalibrated. features: float32 (N, D), of the last layer; D = 0 if not asked."""

    probabilities: NDArray[np.float64]
    features: NDArray[np.float32]


def finished_model(trainer: SliceTrainer) -> PreTrainedModel:
    """The trained model, out of mixed precision and compilation, so that whoever loads it gets the same probabilities.

    The trainer predicts with it from here on.
    """
    trainer.accelerator.native_amp = False  # else a trainer that has not trained (features did) wraps its model anew
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False, keep_torch_compile=False)
    trainer.model = model.eval()
    trainer.compute_metrics = None  # all figures are made of what is predicted
    return cast("PreTrainedModel", model)


def last_layer(model: PreTrainedModel, trainer: SliceTrainer, pictures: SliceBatches) -> tuple[str | None, str]:
    """The name of the model's last layer; or None, and the reason why there is no reject rule.

    pictures: any, by which it is found; `trainer` prepares them.
    """
    example = trainer._prepare_inputs(pictures.__getitems__(range(min(2, len(pictures)))))["pixel_values"]
    try:
        return classifier_layer(model, example), ""
    except NoClassifierLayer as reason:
        return None, f"No rule for refusing an image was fitted: {reason}."


def predict(trainer: SliceTrainer, batches: SliceBatches, layer: str | None) -> Scored:
    """What the finished model says of the rows of `batches`, in float32; every process must call it.

    layer: the one whose input the features are (`last_layer`).
    """
    with features_of(trainer.model, layer) as trainer.features:
        predictions: Any = trainer.predict(batches).predictions
    logits, features = predictions if layer else (predictions, np.empty((len(predictions), 0), np.float32))
    return Scored(softmax(np.asarray(logits, dtype=np.float64), axis=1), features)


def pictures_to_fit(data: PreparedData, train: SliceBatches) -> SliceBatches:
    """Some of the training pictures, each only once: the reject rule is fitted on their features."""
    distinct = data.index.iloc[train.rows].drop_duplicates("picture_id").index.to_numpy()
    chosen = np.random.default_rng(0).permutation(distinct)[:FITTED_ON]
    return SliceBatches(train.pixels, chosen, data.labels(chosen))


def fit_reject_rule(
    run_dir: Path,
    model: PreTrainedModel,
    processor: BaseImageProcessor,
    layer: str,
    to_fit: SliceBatches,
    fitted: Scored,
    scored: dict[str, Scored],
    data: PreparedData,
) -> dict[str, Any]:
    """Fit the rule, write its arrays into `run_dir`, try it on pictures that it should refuse, and return its record.

    to_fit: of `pictures_to_fit`; fitted: what was predicted for them. scored: of the validation and the test split.
    """
    started = time.perf_counter()
    seen = {"train": fitted, **{split: scored[split] for split in ("validation", "test")}}
    rows = {"train": to_fit.rows, **{split: data.rows(split) for split in ("validation", "test")}}
    train, validation, test = ((seen[split].features, _statistics(data, rows[split])) for split in seen)
    rule = RejectRule.fit(layer, train, validation)
    rule.save(run_dir)
    found = record(
        rule,
        fitted_images=len(to_fit),
        validation=rule.rejected(rule.score(*validation)),
        test=rule.rejected(rule.score(*test)),
        test_labels=data.labels(rows["test"]),
        test_probabilities=scored["test"].probabilities,
        test_groups=data.index["group_id"].iloc[rows["test"]].tolist(),
        classes=data.classes,
        probes=probe_records(probe_sets(data), partial(answers, model=model, processor=processor, rule=rule)),
    )
    logger.info("Reject rule: fitted and tried on other pictures in %.0f s", time.perf_counter() - started)
    return found


def _statistics(data: PreparedData, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    found = []
    for name in data.index["file_name"].iloc[rows]:
        with Image.open(data.root / name) as image:
            found.append(global_statistics(image))
    return np.stack(found)
