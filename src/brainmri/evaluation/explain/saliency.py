"""The study `maps`: Grad-CAM maps of a trained network, whether they depend on what it learnt, and where they point."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from brainmri.data.dataset import open_prepared
from brainmri.data.masks import Polygon, polygon_mask, widened
from brainmri.data.pixel_cache import PixelCache, pixel_cache
from brainmri.evaluation.explain.grad_cam import TargetLayer, enlarged, grad_cam, layer_named, target_layer
from brainmri.evaluation.explain.sanity_checks import (
    GAUSSIAN_WIDTH,
    centred_gaussian,
    energy_inside,
    layers_from_the_top,
    pointing_hits,
    randomisation_check,
    tolerance_in_pixels,
    verdict,
)
from brainmri.evaluation.explain.subject import InspectedModel, randomly_initialised
from brainmri.metrics.bootstrap import group_bootstrap, group_bootstrap_mean
from brainmri.models.preprocessing import Normalization, normalized
from brainmri.recipe import Recipe
from brainmri.schemas import MapScore, MapScores, MapsResult, Randomisation, RandomisationStep
from brainmri.wording import number, with_interval

BATCH = 32
CHECKED = 32  # images of the randomisation check; its ten steps with each stranger would take long on all
RANDOM_NETWORKS = 3  # networks with random weights, as one alone may point at the middle by luck
METHODS = {
    "network": "Grad-CAM of the network",
    "random": f"Grad-CAM, random weights (mean of {RANDOM_NETWORKS})",
    "gaussian": "centred Gaussian",
    "brightness": "brightness",
    "chance": "chance (share of the image)",
}
SCORES = ("pointing", "pointing_tolerant", "energy")


@dataclass(frozen=True)
class MapsStudy:
    """What was found.

    record: `maps.json`. table: `maps.csv`, a row for each of the N images. images: those. maps: float (N, s, s) on
    the grid of the layer. polygons: the outlines of each image, None where no outlines were given. text: to print.
    """

    record: MapsResult
    table: pd.DataFrame
    images: Images
    maps: NDArray[np.float32]
    polygons: list[list[Polygon]] | None
    text: str


def saliency_study(
    model: InspectedModel,
    images: Images,
    outlines: dict[str, list[Polygon]] | None = None,
    class_name: str | None = None,
    layer_name: str | None = None,
) -> MapsStudy:
    """The maps of the images: of all of them against their outlines, or, without outlines, of up to 32.

    Args:
        images: with outlines, those that have one.
        outlines: of `read_outlines`; an image is known by its `source`.
        class_name: the class of the model whose evidence is shown; None takes the predicted one of each image.
        layer_name: the layer to compute the maps at; None takes `target_layer`.

    Raises:
        ValueError: there is no such layer.
    """
    if outlines is None:
        images = images.chosen(_spread(images.table["label"], CHECKED))
    polygons = None if outlines is None else [outlines[source] for source in images.table["source"]]
    sample = images.network_input(slice(0, 2))
    layer = layer_named(model.network, sample, layer_name) if layer_name else target_layer(model.network, sample)

    classes = None if class_name is None else np.full(len(images), model.classes.index(class_name))
    maps, logits = _maps(model.network, layer, images, classes, "Grad-CAM")
    empty = (np.ptp(maps, axis=(1, 2)) == 0) | _blank(images)  # such a map points nowhere
    maps[empty] = 0
    probabilities = torch.from_numpy(logits).softmax(1).numpy()
    explained = logits.argmax(1) if classes is None else classes
    table = images.table.assign(
        predicted=[model.classes[k] for k in logits.argmax(1)],
        explained=[model.classes[k] for k in explained],
        probability=probabilities[np.arange(len(explained)), explained],
        empty=empty,
    )
    strangers = [randomly_initialised(model, seed) for seed in range(RANDOM_NETWORKS)]
    empty_random_maps, scores = None, None
    if polygons is not None:  # a stranger is asked as the network was: for its own prediction, if no class was given
        others = [_maps(network, layer, images, classes, "Grad-CAM, random weights")[0] for network in strangers]
        empty_random_maps = float(np.mean([one.max(axis=(1, 2)) == 0 for one in others]) * len(images))
        table = table.join(_scored(images, polygons, maps, others))
        scores = _summary(table)
    record = MapsResult.model_validate(
        {
            "model": model.title,
            "remarks": model.remarks,
            "layer": layer.name,
            "places": [layer.side, layer.side],
            "class": class_name or "predicted",
            "images": len(images),
            "test_images": images.among,
            "empty_maps": int(table["empty"].sum()),
            "empty_random_maps": empty_random_maps,
            "tolerance_pixels": tolerance_in_pixels(images.side) if scores else None,
            "gaussian_standard_deviation": GAUSSIAN_WIDTH if scores else None,
            "scores": scores,
            "randomisation": _randomisation(model, strangers, layer, images, explained, sample),
        }
    )
    return MapsStudy(record, table, images, maps, polygons, _text(record))


def _spread(labels: pd.Series, n: int) -> NDArray[np.int64]:
    """Positions of up to n images, the classes in turn, always the same ones; in the order of the table."""
    drawn = labels.reset_index(drop=True).sample(frac=1, random_state=0)
    turn = drawn.groupby(drawn).cumcount()
    return np.sort(turn.sort_values(kind="stable").index[:n].to_numpy(np.int64))


def _blank(images: Images) -> NDArray[np.bool_]:
    """Which images are of one brightness, (N,)."""
    starts = range(0, len(images), BATCH)
    return np.concatenate([np.ptp(images.brightness(slice(s, s + BATCH)), axis=(1, 2)) == 0 for s in starts])


def _maps(
    network: nn.Module, layer: TargetLayer, images: Images, classes: NDArray[np.int64] | None, task: str | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Maps (N, s, s) and logits (N, C) of all images, with a progress bar where there is a terminal and a `task`."""
    maps: list[NDArray[np.float32]] = []
    logits: list[NDArray[np.float32]] = []
    with tqdm(total=len(images), desc=task, unit="image", disable=None if task else True) as progress:
        for start in range(0, len(images), BATCH):
            batch = slice(start, start + BATCH)
            pixels = images.network_input(batch)
            chosen = None if classes is None else torch.from_numpy(classes[batch])
            for found, values in zip((maps, logits), grad_cam(network, layer, pixels, chosen), strict=True):
                found.append(values.float().numpy())
            progress.update(len(pixels))
    return np.concatenate(maps), np.concatenate(logits)


def _scored(
    images: Images,
    polygons: list[list[Polygon]],
    maps: NDArray[np.float32],
    others: list[NDArray[np.float32]],
) -> pd.DataFrame:
    """Columns METHOD_SCORE for each image, at the resolution of the images; of `others` their mean."""
    side, parts = images.side, []
    tolerance, gaussian = tolerance_in_pixels(side), centred_gaussian(side)
    for start in range(0, len(images), BATCH):
        batch = slice(start, start + BATCH)
        masks = np.stack([polygon_mask(one, side) for one in polygons[batch]])
        wide = np.stack([widened(mask, tolerance) for mask in masks])

        def judged(drawn: NDArray[Any], masks: Any = masks, wide: Any = wide) -> NDArray[np.float64]:
            hits = [pointing_hits(drawn, masks), pointing_hits(drawn, wide)]
            return np.stack([*hits, energy_inside(drawn, masks)], axis=1)

        network, *random = (judged(enlarged(torch.from_numpy(one[batch]), side).numpy()) for one in (maps, *others))
        floors = [np.mean(random, axis=0)]
        floors += [judged(np.broadcast_to(one, masks.shape)) for one in (gaussian, images.brightness(batch))]
        uniform = [share.mean(axis=(1, 2)) for share in (masks, wide, masks)]
        parts.append(np.concatenate([network, *floors, np.stack(uniform, axis=1)], axis=1))
    columns = [f"{method}_{score}" for method in METHODS for score in SCORES]
    return pd.DataFrame(np.concatenate(parts), columns=columns)


def _summary(table: pd.DataFrame) -> dict[str, MapScores]:
    """For each class and for all: images, groups, and of each method the means of its scores with intervals.

    Of a baseline also `lead`: by how much the network is above it, image by image.
    """
    scopes = {"all": table, **{str(label): rows for label, rows in table.groupby("label")}}
    found: dict[str, MapScores] = {}
    for name, rows in scopes.items():
        groups = rows["group_id"].tolist()
        methods: dict[str, dict[str, MapScore]] = {}
        for method in METHODS:
            methods[method] = {}
            for score in SCORES:
                mine, network = (rows[f"{key}_{score}"].to_numpy() for key in (method, "network"))
                # Hits that are all 1, or all 0, need the exact interval.
                interval = group_bootstrap if set(mine) <= {0.0, 1.0} and score != "energy" else group_bootstrap_mean
                lead = None if method == "network" else network - mine
                methods[method][score] = MapScore(
                    mean=float(mine.mean()),
                    ci95=interval(mine, groups),
                    lead=None if lead is None else float(lead.mean()),
                    lead_ci95=None if lead is None else group_bootstrap_mean(lead, groups),
                )
        found[name] = MapScores(images=len(rows), groups=rows["group_id"].nunique(), methods=methods)
    return found


def _randomisation(
    model: InspectedModel,
    strangers: list[nn.Module],
    layer: TargetLayer,
    images: Images,
    explained: NDArray[np.int64],
    sample: torch.Tensor,
) -> Randomisation:
    """`randomisation_check` on up to 32 images: means with intervals for each step, and the verdict."""
    which = _spread(images.table["label"], CHECKED)
    few, classes = images.chosen(which), explained[which]
    layers = layers_from_the_top(model.network, sample)
    progress = tqdm(desc="weight randomisation", unit="step", disable=None)

    def explain(network: nn.Module) -> NDArray[np.float32]:
        progress.update()
        return _maps(network, layer, few, classes, None)[0]

    with progress:
        steps = randomisation_check(model.network, strangers, layers, explain)
    found = []
    for step in steps:
        known = ~np.isnan(step.similarity)
        groups = few.table["group_id"][known].tolist()
        correlation, alike = step.rank_correlation[known], step.similarity[known]
        found.append(
            RandomisationStep(
                layer=step.layer,
                layers=step.layers,
                judged=int(known.sum()),
                rank_correlation=float(correlation.mean()) if groups else None,
                rank_correlation_ci95=group_bootstrap_mean(correlation, groups) if groups else None,
                similarity=float(alike.mean()) if groups else None,
                similarity_ci95=group_bootstrap_mean(alike, groups) if groups else None,
            )
        )
    last = found[-1]
    said = verdict(last.rank_correlation, last.rank_correlation_ci95, last.judged, len(few))
    return Randomisation(images=len(few), layers=len(layers), steps=found, verdict=said)


def _text(record: MapsResult) -> str:
    lines = [f"Maps at {record.layer} ({'x'.join(map(str, record.places))} places) for the {record.class_name} class"]
    if record.scores:
        lines[0] += f", {record.images:,} of {record.test_images:,} test images have an outline"
    if record.empty_maps:
        lines.append(
            f"{record.empty_maps:,} maps are empty: nothing speaks for the class there, or the image has "
            "no contrast (they miss)."
        )
    if record.empty_random_maps:
        lines.append(f"Of each network with random weights {record.empty_random_maps:,.0f} maps are empty (they miss).")
    if record.scores:
        table = _score_table(record.scores, record.tolerance_pixels)
        lines += ["", table, "", *_leads(record.scores["all"].methods)]
    check = record.randomisation
    last = check.steps[-1]
    lines += ["", *record.remarks, check.verdict]
    lines.append(f"({check.layers} layers; structural similarity at the end {number(last.similarity, 2)})")
    return "\n".join(lines) + "\n"


def _score_table(scores: dict[str, MapScores], tolerance: int | None) -> str:
    heads = ["hit", f"hit within {tolerance} px", "energy inside"]
    rows = []
    for scope, one in scores.items():
        for method, values in one.methods.items():
            name = f"{scope} ({one.images:,})" if method == "network" else ""
            rows.append([name, METHODS[method], *(with_interval(values[s].mean, values[s].ci95) for s in SCORES)])
    lines = [["class (images)", "map", *heads], *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join("  ".join(f"{text:<{w}}" for text, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _leads(methods: dict[str, dict[str, MapScore]]) -> list[str]:
    """Whether the network is above each baseline, all classes together, by interval."""
    lines = ["95 % intervals, resampled by group. The network's maps, all classes, against"]
    for method in list(METHODS)[1:]:
        parts = []
        for score, word in zip(SCORES, ("hit", "hit with tolerance", "energy"), strict=True):
            one = methods[method][score]
            known = "" if one.lead_ci95 is None else f" [{100 * one.lead_ci95[0]:+.1f}, {100 * one.lead_ci95[1]:+.1f}]"
            parts.append(f"{word} {100 * (one.lead or 0):+.1f}{known}")
        lines.append(f"  {METHODS[method]}: {', '.join(parts)} points")
    return lines


@dataclass(frozen=True)
class Images:
    """table: `file_name`, `source`, `label` and `group_id` of each. cache: their pixels, at `rows`.

    normalize: the formula by which the network gets them. among: how many they were chosen from.
    """

    table: pd.DataFrame
    cache: PixelCache
    rows: NDArray[np.int64]
    normalize: Normalization
    among: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def side(self) -> int:
        return int(self.cache.first.shape[-1])

    def chosen(self, which: NDArray[np.int64]) -> Images:
        """Those at the positions `which`."""
        return replace(self, table=self.table.iloc[which].reset_index(drop=True), rows=self.rows[which])

    def network_input(self, which: slice) -> torch.Tensor:
        """Float (B, 3, side, side)."""
        return normalized(torch.from_numpy(self.cache.read(self.rows[which])).float(), self.normalize)

    def brightness(self, which: slice) -> NDArray[np.float64]:
        """(B, side, side), the mean of the channels, 0..255."""
        return np.asarray(self.cache.read(self.rows[which]).mean(axis=1, dtype=np.float64))


def of_test_split(run_dir: Path, data_dir: Path, recipe: Recipe, outlined: Collection[str] | None = None) -> Images:
    """The test images that a run was scored on; with `outlined` only those whose `source` is in it.

    Raises:
        ValueError: if `data_dir` is no prepared folder, does not hold those images, none of them is outlined, or the
            run has no test split.
    """
    data = open_prepared(data_dir)
    predictions = pd.read_csv(run_dir / "predictions.csv", dtype=str, keep_default_na=False)
    names = predictions.loc[predictions["split"] == "test", "file_name"]
    if names.empty:
        raise ValueError(f"{run_dir}: this run was not scored on a test split: leave the study `maps` out")
    rows = pd.Index(data.index["file_name"]).get_indexer(pd.Index(names))
    if (rows < 0).any():
        raise ValueError(
            f"{data_dir} is not the data that {run_dir} was scored on: it has no {names[rows < 0].iloc[0]}"
        )
    among = len(rows)
    if outlined is not None:
        rows = rows[data.index["source"].iloc[rows].isin(outlined).to_numpy()]
        if not len(rows):  # said before an image is decoded
            raise ValueError(
                f"none of the {len(outlined):,} outlined images ({next(iter(outlined))!r}, ...) is among the "
                f"{among:,} test images: a path must be that of the column `source` of the data's index.csv"
            )
    table = data.index.iloc[rows][["file_name", "source", "label", "group_id"]].reset_index(drop=True)
    cache = pixel_cache(data, recipe.input.size)
    return Images(table, cache, rows.astype(np.int64), recipe.input.normalize, among)


def of_one_image(image: NDArray[np.uint8], name: str, recipe: Recipe) -> Images:
    """One image, uint8 (side, side, 3), of which neither class nor group are known."""
    table = pd.DataFrame({"file_name": [name], "source": "", "label": "", "group_id": ""})
    channels = np.ascontiguousarray(image.transpose(2, 0, 1))[None]
    cache = PixelCache(channels[:, 0], channels, np.zeros(1, np.int64))
    return Images(table, cache, np.zeros(1, np.int64), recipe.input.normalize, 1)
