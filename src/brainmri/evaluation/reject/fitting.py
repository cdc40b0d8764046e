"""The reject rule of a finished run: fitted, tried on pictures that it should refuse, and written beside the model."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainmri.data.dataset import PreparedData
from brainmri.data.images import prepared_picture
from brainmri.evaluation.reject.answers import answers
from brainmri.evaluation.reject.features import NoClassifierLayer, classifier_layer, see
from brainmri.evaluation.reject.probes import probe_sets
from brainmri.evaluation.reject.record import probe_records, record
from brainmri.evaluation.reject.rule import RejectRule

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

logger = logging.getLogger(__name__)
# Pictures of each split at most, so that the pass over them stays short. 2,000 training pictures refuse no more.
MOST = {"train": 1000, "validation": 5000, "test": 5000}


def fitted_beside(
    run_dir: Path, model: PreTrainedModel, processor: BaseImageProcessor, data: PreparedData
) -> dict[str, Any] | str:
    """Fit the rule of `model` on the data it was trained on, write `trust.safetensors`, and return its `record`.

    The pictures are read from their files, as whoever uses the rule will read them. A network without one last layer
    gets no rule; the reason is returned.
    """
    started = time.perf_counter()
    model.eval()
    rows = {split: some_rows(data, split) for split in MOST}
    example = processor(images=next(pictures(data, rows["train"])).convert("RGB"), return_tensors="pt")
    try:
        layer = classifier_layer(model, example["pixel_values"].to(model.device))
    except NoClassifierLayer as reason:
        return f"No rule for refusing an image was fitted: {reason}."
    seen = {split: see(pictures(data, chosen), model, processor, layer) for split, chosen in rows.items()}
    rule = RejectRule.fit(layer, seen["train"][1:], seen["validation"][1:])
    rule.save(run_dir)
    rejected = {split: rule.rejected(rule.score(*of_split[1:])) for split, of_split in seen.items()}
    found = record(
        rule,
        fitted_images=len(rows["train"]),
        validation=rejected["validation"],
        test=rejected["test"],
        test_labels=data.labels(rows["test"]),
        test_predicted=seen["test"].logits.argmax(axis=1),
        test_groups=data.index["group_id"].iloc[rows["test"]].tolist(),
        classes=data.classes,
        probes=probe_records(probe_sets(data), partial(answers, model=model, processor=processor, rule=rule)),
    )
    logger.info("Reject rule: fitted and tried on other pictures in %.0f s", time.perf_counter() - started)
    return found


def some_rows(data: PreparedData, split: str) -> NDArray[np.int64]:
    """Rows of a split, at most `MOST` of them; of the training split each picture only once."""
    rows = data.rows(split)
    if split == "train":
        rows = rows[~data.index["picture_id"].iloc[rows].duplicated().to_numpy()]
    if len(rows) <= MOST[split]:
        return rows
    return np.sort(np.random.default_rng(0).permutation(rows)[: MOST[split]])


def pictures(data: PreparedData, rows: NDArray[np.int64]) -> Iterator[Image.Image]:
    """The pictures at `rows`, one after the other."""
    for name in data.index["file_name"].iloc[rows]:
        yield prepared_picture(data.root / name)
