"""A finished classifier and what its training left beside it; or a table of predictions in its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from brainmri.data.tables import read_csv
from brainmri.evaluation.inference import Inference, infer
from brainmri.evaluation.ood.detector import OODDetector
from brainmri.evaluation.ood.fit import pictures
from brainmri.files import digest, digest_of_files, sha256
from brainmri.models.introspect import on_hub
from brainmri.models.load import class_names, load_classifier, load_processor
from brainmri.schemas import (
    EARLIER_UNCERTAINTY,
    RunResult,
    Uncertainty,
    read_result,
    read_uncertainty,
    uncertainty_file,
)

if TYPE_CHECKING:
    import pandas as pd
    from transformers import BaseImageProcessor, PreTrainedModel

    from brainmri.data.dataset import PreparedData

Record = tuple[RunResult | None, Uncertainty | None, OODDetector | None]  # its detector last
NO_RECORD: Record = (None, None, None)


@dataclass(frozen=True)
class LoadedModel:
    """name: for every figure and text. model: in evaluation mode, on the CPU. classes: the names of its outputs.

    folder: where it lies, None for the Hub; there it is `repository` at `revision` (None: the newest). result, trust,
    rule: `result.json`, `uncertainty.json` and the OOD detector of a run of this project, else None.
    """

    name: str
    model: PreTrainedModel
    processor: BaseImageProcessor
    classes: list[str]
    folder: Path | None = None
    repository: str | None = None
    revision: str | None = None
    result: RunResult | None = None
    uncertainty: Uncertainty | None = None
    rule: OODDetector | None = None


def load_model(place: str, *, trust_remote_code: bool = False) -> LoadedModel:
    """Open a run folder, a folder with a saved model, a Hub repository `OWNER/NAME[@REVISION]`, or `timm:NAME`.

    Raises:
        ValueError: if there is no such thing, it cannot be used (`load_classifier`), or it does not tell classes apart.
        FileNotFoundError: if a run lacks the file of its OOD detector.
    """
    path = Path(place)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(f"{place}: no config.json, so it is neither a finished run nor a folder of a saved model")
        parts = _parts(place, None, trust_remote_code)
        result, uncertainty, rule = _record(path)
        name = result.title if result else path.resolve().name
        return LoadedModel(name, *parts, folder=path, result=result, uncertainty=uncertainty, rule=rule)
    if path.exists():
        raise ValueError(f"{place} is a file: give the folder of a run or of a saved model")
    repository, revision = on_hub(_repository(place))
    parts = _parts(repository, revision, trust_remote_code)
    result, uncertainty, rule = _record_on_hub(repository, revision)
    return LoadedModel(
        place, *parts, repository=repository, revision=revision, result=result, uncertainty=uncertainty, rule=rule
    )


def _parts(
    place: str, revision: str | None, trust_remote_code: bool
) -> tuple[PreTrainedModel, BaseImageProcessor, list[str]]:
    model = load_classifier(place, revision, trust_remote_code=trust_remote_code)
    processor = load_processor(place, revision, trust_remote_code=trust_remote_code)
    classes = class_names(model)
    if len(classes) < 2 or model.config.problem_type == "multi_label_classification":
        raise ValueError(f"{place}: its outputs ({', '.join(classes[:8])}) are not the probabilities of classes")
    return model, processor, classes


def _record(folder: Path) -> Record:
    """What a run left beside its model; nothing for a model that is no run of this project.

    Raises:
        ValueError: if it is the record of other weights, or cannot be read.
    """
    # Other projects may have a result.json too, but hardly both.
    if not (folder / "result.json").is_file() or not uncertainty_file(folder).is_file():
        return NO_RECORD
    result = read_result(folder)
    measured = result.model_sha256  # runs of before did not keep it
    if measured and measured != sha256(folder / "model.safetensors"):
        raise ValueError(f"{folder}: result.json was measured with other weights than its model.safetensors")
    uncertainty = read_uncertainty(folder)
    return result, uncertainty, OODDetector.load(folder) if uncertainty.ood else None


def _record_on_hub(repository: str, revision: str | None) -> Record:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    def fetched(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except EntryNotFoundError:  # most repositories have none; offline: not in the cache
            return None

    result = fetched("result.json")
    if result is None or not (fetched("uncertainty.json") or fetched(EARLIER_UNCERTAINTY)):
        return NO_RECORD
    if found := read_uncertainty(result.parent).ood:
        hf_hub_download(repository, found.arrays, revision=revision)
    return _record(result.parent)


def _repository(place: str) -> str:
    """The Hub's name of what was asked for: timm:NAME and hf:NAME as scripts/train.py takes them."""
    if not place.startswith("timm:"):
        return place.removeprefix("hf:")
    from brainmri.models.introspect import timm_repository

    return timm_repository(place.removeprefix("timm:"))


Classify = Callable[[list[Image.Image]], NDArray[np.float64]]  # RGB images to probabilities (B, C)


@dataclass(frozen=True)
class ScoredModel:
    """What is scored.

    name: for every figure and text. kind: "run", "model" or "predictions". classes: the names of its outputs.
    digest: of all that its answers depend on.
    answers: of images, given as a `PreparedData` and (N,) positions in its index.
    classify: the probabilities of RGB images; None for a table of predictions, which knows no others than its own.
    folder: where it lies, None for the Hub. result, trust: `result.json` and `uncertainty.json` of a run, else None.
    """

    name: str
    kind: str
    classes: list[str]
    digest: str
    infer: Callable[[PreparedData, NDArray[np.int64]], Inference]
    classify: Classify | None = None
    folder: Path | None = None
    result: RunResult | None = None
    uncertainty: Uncertainty | None = None


def open_scored(place: str, *, batch_size: int, trust_remote_code: bool = False) -> ScoredModel:
    """Open a run folder, a folder with a saved model, a Hub repository `OWNER/NAME[@REVISION]`, `timm:NAME` or a CSV.

    A model is read and, on first use, its images are; nothing of the data is needed yet.

    Raises:
        ValueError: if there is no such thing, or it cannot be used; see `load_classifier` and `read_predictions_csv`.
    """
    path = Path(place)
    if path.is_file():
        return _predictions(path)
    opened = load_model(place, trust_remote_code=trust_remote_code)
    model = opened.model.to("cuda") if torch.cuda.is_available() else opened.model  # type: ignore[arg-type]
    answer = partial(infer, model=model, processor=opened.processor, rule=opened.rule, batch_size=batch_size)

    def classify(pictures: list[Image.Image]) -> NDArray[np.float64]:
        return answer(pictures).probabilities

    kind = "run" if opened.result else "model"
    images = partial(image_answers, answer)
    return ScoredModel(
        opened.name,
        kind,
        opened.classes,
        _digest(opened),
        images,
        classify,
        opened.folder,
        opened.result,
        opened.uncertainty,
    )


def _digest(opened: LoadedModel) -> str:
    """Of the weights, and of what is done before and after them."""
    weights = hashlib.sha256()
    for name, tensor in opened.model.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    before = json.loads(json.dumps(opened.processor.to_dict(), default=str))
    record = opened.uncertainty.as_json() if opened.uncertainty else None
    return digest(weights.hexdigest(), before, opened.classes, record)


def _predictions(path: Path) -> ScoredModel:
    table = read_predictions_csv(path)
    classes = [column.removeprefix("p_") for column in table.columns]
    answer = partial(given_answers, path, table)
    return ScoredModel(path.name, "predictions", classes, digest_of_files(path), answer, folder=path.parent)


def image_answers(
    answer: Callable[[Iterable[Image.Image]], Inference], data: PreparedData, rows: NDArray[np.int64]
) -> Inference:
    """`answer` of the images at `rows`, with a progress bar."""
    return answer(tqdm(pictures(data, rows), desc="scoring", total=len(rows), unit="image", disable=None))


def read_predictions_csv(path: Path) -> pd.DataFrame:
    """The probabilities of a `predictions.csv`: columns p_CLASS, float64, by file name. Its other columns are not read.

    Raises:
        ValueError: if it is no such table, names a file twice, or holds something that is no number.
    """
    table = read_csv(path, ["file_name"])
    columns = [column for column in table.columns if column.startswith("p_")]
    if len(columns) < 2:
        raise ValueError(f"{path}: a column p_CLASS for each class is needed; its columns: {', '.join(table.columns)}")
    table.index = table["file_name"].str.replace("\\", "/").str.removeprefix("./")
    if twice := sorted(set(table.index[table.index.duplicated()])):
        raise ValueError(f"{path}: {len(twice)} files stand there more than once, {twice[0]} the first")
    try:
        return table[columns].astype(np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: a probability is no number ({error})") from error


def given_answers(path: Path, table: pd.DataFrame, data: PreparedData, rows: NDArray[np.int64]) -> Inference:
    """The rows of a table of predictions (see `read_predictions_csv`) for the images at `rows`.

    Raises:
        ValueError: if an image is missing.
    """
    names = data.index["file_name"].iloc[rows]
    missing = names[~names.isin(table.index)].tolist()
    if missing:
        raise ValueError(f"{path} lacks {len(missing)} of the {len(names)} images, {missing[0]} the first")
    return Inference(table.loc[names].to_numpy())
