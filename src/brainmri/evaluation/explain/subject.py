"""The model and the image that are looked into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import BaseImageProcessor, PreTrainedModel

from brainmri.data.dataset import open_prepared
from brainmri.data.phantom.generate import CLASSES, draw_slices, draw_subject
from brainmri.errors import did_you_mean, paths_like, reading
from brainmri.evaluation.load import load_model
from brainmri.evaluation.run_warnings import warnings_of
from brainmri.io.decode import RejectedImage
from brainmri.io.read import read_image
from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.models.layers import bare_network
from brainmri.models.load import class_names
from brainmri.models.preprocessing import image_processor
from brainmri.recipe import Recipe, read_recipe_file
from brainmri.schemas import read_result
from brainmri.training.optimizer import set_frozen

RUN_FILES = [
    *("config.json", "model.safetensors", "predictions.csv", "preprocessor_config.json", "recipe.yaml", "result.json")
]


@dataclass(frozen=True)
class InspectedModel:
    """network: what timm or transformers computes, in evaluation mode. classes: the names of its logits.

    title: of every figure and text; it says so where the weights are random. remarks: sentences that must stand beside
    its figures. recipe: that it was built from.
    """

    network: torch.nn.Module
    recipe: Recipe
    processor: BaseImageProcessor
    classes: list[str]
    title: str
    remarks: list[str]


def trained(run_dir: Path) -> InspectedModel:
    """The model of a run folder. No code of the folder is executed.

    Raises:
        ValueError: if it is no finished run folder, or its weights are incomplete.
    """
    if not run_dir.exists():
        raise ValueError(f"{run_dir}: no such folder{did_you_mean([str(path) for path in paths_like(run_dir)])}")
    if missing := [name for name in RUN_FILES if not (run_dir / name).is_file()]:
        raise ValueError(f"{run_dir} is not the folder of a finished run: it has no {', '.join(missing)}")
    result = read_result(run_dir)
    opened = load_model(run_dir)
    recipe = read_recipe_file(run_dir / "recipe.yaml")
    remarks = [f"{headline}: {sentence}" for headline, sentence in warnings_of(result)]
    return _subject(opened.network, recipe, opened.processor, opened.name, remarks)


def untrained(arch: str) -> InspectedModel:
    """The model of a recipe with random weights, always the same ones, for the classes of the phantom set.

    Raises:
        ValueError: if there is no such recipe.
    """
    recipe = resolve(arch)
    torch.manual_seed(recipe.seed)
    model, _ = build_model(recipe, list(CLASSES), "random")
    processor = image_processor(recipe.input.size, recipe.input.normalize)
    return _subject(model, recipe, processor, f"{arch}, UNTRAINED (random weights)", [])


def randomly_initialised(model: InspectedModel, seed: int) -> torch.nn.Module:
    """The same architecture with random weights of its own, in evaluation mode; the global random state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(10_000_000 + seed)  # not a seed that anyone trains with: those weights would be no stranger's
        return bare_network(build_model(model.recipe, model.classes, "random")[0].eval())


def _subject(
    model: PreTrainedModel, recipe: Recipe, processor: BaseImageProcessor, title: str, remarks: list[str]
) -> InspectedModel:
    set_frozen(model, recipe.stages[-1])  # so that the trainable parameters are those of result.json
    return InspectedModel(bare_network(model.eval()), recipe, processor, class_names(model), title, remarks)


def read_slice(path: Path) -> Image.Image:
    """An 8-bit image, grey or RGB, read as the data preparation reads it.

    Raises:
        ValueError: if the file cannot serve as an image.
    """
    try:
        return read_image(path).image
    except RejectedImage as error:
        raise ValueError(f"{path}: {error}") from error


def first_test_image(run_dir: Path, data_dir: Path) -> Path:
    """The file of the first test image of a run's predictions.

    Raises:
        ValueError: if `data_dir` is no prepared folder, or does not hold that image.
    """
    data = open_prepared(data_dir)
    with reading(run_dir / "predictions.csv"):
        table = pd.read_csv(run_dir / "predictions.csv", dtype=str, keep_default_na=False)
        name = table.loc[table["split"] == "test", "file_name"].iloc[0]
    if name not in set(data.index["file_name"]):
        raise ValueError(f"{data_dir} is not the data that {run_dir} was scored on: it has no {name}")
    return data_dir / name


def phantom_slice() -> Image.Image:
    """The first slice of the phantom set (a simulated glioma), 8-bit grey, 128x128, without making the others."""
    rng = np.random.default_rng([0, 0])  # seed and subject, as `make_phantom` draws them
    _, _, image, _ = draw_slices(rng, draw_subject(rng, 0), 11, 128)[0]
    return Image.fromarray(image)


def preprocessed(image: Image.Image, processor: BaseImageProcessor) -> tuple[torch.Tensor, NDArray[np.uint8]]:
    """What the network gets, float (1, 3, H, W), and the same before scaling and normalisation, uint8 (H, W, 3)."""
    pixels = processor(image, return_tensors="pt")["pixel_values"]
    resized = processor(image, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"][0]
    return pixels, resized.permute(1, 2, 0).to(torch.uint8).numpy()
