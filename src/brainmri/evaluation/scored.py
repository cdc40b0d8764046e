"""What is scored on a data set: a loaded model, or a table of predictions in its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from brainmri.data.duplicates.sketches import read_sketches
from brainmri.data.tables import read_csv
from brainmri.evaluation.inference import Inference, infer
from brainmri.evaluation.load import load_model
from brainmri.evaluation.model import LoadedModel
from brainmri.files import digest, digest_of_files
from brainmri.io.read import prepared_image

if TYPE_CHECKING:
    import pandas as pd

    from brainmri.data.dataset import PreparedData
    from brainmri.schemas import RunResult, Uncertainty

Classify = Callable[[list[Image.Image]], NDArray[np.float64]]  # RGB images to probabilities (B, C)


@dataclass(frozen=True)
class ScoredModel:
    """What is scored.

    name: for every figure and text. kind: "run", "model" or "predictions". classes: the names of its outputs.
    digest: of all that what it says depends on.
    infer: what it says of images, given as a `PreparedData` and (N,) positions in its index.
    classify: the probabilities of RGB images; None for a table of predictions, which knows no others than its own.
    folder: where it lies, None for the Hub. result, uncertainty: of a run its `result.json` and `uncertainty.json`.
    sketches: of a run in a folder those (N, 128) of its training and validation images, by split, if it kept them.
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
    sketches: dict[str, NDArray[np.uint8]] = field(default_factory=dict)


def open_scored(place: str, *, batch_size: int, trust_remote_code: bool = False) -> ScoredModel:
    """Open a run folder, a folder with a saved model, a Hub repository `OWNER/NAME[@REVISION]`, `timm:NAME` or a CSV.

    A model is read and, on first use, its images are; nothing of the data is needed yet.

    Raises:
        ValueError: if there is no such thing, or it cannot be used; see `load_classifier` and `read_predictions_csv`.
    """
    path = Path(place)
    if path.is_file():
        return _predictions(path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return scored(load_model(place, device=device, trust_remote_code=trust_remote_code), batch_size=batch_size)


def scored(opened: LoadedModel, *, batch_size: int) -> ScoredModel:
    """A loaded model as what is scored."""
    answer = partial(
        infer, model=opened.network, processor=opened.processor, rule=opened.ood_detector, batch_size=batch_size
    )

    def classify(images: list[Image.Image]) -> NDArray[np.float64]:
        return answer(images).probabilities

    return ScoredModel(
        opened.name,
        "run" if opened.result else "model",
        opened.classes,
        weights_digest(opened),
        partial(image_answers, answer),
        classify,
        opened.folder,
        opened.result,
        opened.uncertainty,
        read_sketches(opened.folder) if opened.folder and opened.result else {},
    )


def weights_digest(opened: LoadedModel) -> str:
    """Of the weights, and of what is done before and after them: two models with one digest answer alike."""
    weights = hashlib.sha256()
    for name, tensor in opened.network.state_dict().items():
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
    return answer(tqdm(images(data, rows), desc="scoring", total=len(rows), unit="image", disable=None))


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


def images(data: PreparedData, rows: NDArray[np.int64]) -> Iterator[Image.Image]:
    """The images at `rows`, one after the other."""
    for name in data.index["file_name"].iloc[rows]:
        yield prepared_image(data.root / name)
