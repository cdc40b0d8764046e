"""The study `maps`: Grad-CAM maps of a trained network, whether they depend on what it learnt, and where they point."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from brainmri.data.outlines import Polygon, outline_mask, widened
from brainmri.evaluation.explanation import maps_figures
from brainmri.evaluation.explanation.grad_cam import TargetLayer, enlarged, grad_cam, layer_named, target_layer
from brainmri.evaluation.explanation.pictures import Pictures
from brainmri.evaluation.explanation.pointing import (
    GAUSSIAN_WIDTH,
    centred_gaussian,
    energy_inside,
    pointing_hits,
    tolerance_in_pixels,
)
from brainmri.evaluation.explanation.randomisation import layers_from_the_top, randomisation_check, verdict
from brainmri.evaluation.explanation.subject import Subject, stranger
from brainmri.evaluation.intervals import group_bootstrap, group_bootstrap_mean
from brainmri.evaluation.results import number, with_interval

BATCH = 32
CHECKED = 32  # pictures of the randomisation check; its ten steps with each stranger would take long on all
STRANGERS = 3  # networks with random weights, as one alone may point at the middle by luck
METHODS = {
    "network": "Grad-CAM of the network",
    "random": f"Grad-CAM, random weights (mean of {STRANGERS})",
    "gaussian": "centred Gaussian",
    "brightness": "brightness",
    "chance": "chance (share of the picture)",
}
SCORES = ("pointing", "pointing_tolerant", "energy")


@dataclass(frozen=True)
class MapsStudy:
    """What was found.

    record: `maps.json`. table: `maps.csv`, a row for each of the N pictures. pictures: those. maps: float (N, s, s) on
    the grid of the layer. polygons: the outlines of each picture, None where no outlines were given. text: to print.
    """

    record: dict[str, Any]
    table: pd.DataFrame
    pictures: Pictures
    maps: NDArray[np.float32]
    polygons: list[list[Polygon]] | None
    text: str


def study(
    model: Subject,
    pictures: Pictures,
    outlines: dict[str, list[Polygon]] | None = None,
    class_name: str | None = None,
    layer_name: str | None = None,
) -> MapsStudy:
    """The maps of the pictures: of all of them against their outlines, or, without outlines, of up to 32.

    Args:
        pictures: with outlines, those that have one.
        outlines: of `read_outlines`; a picture is known by its `source`.
        class_name: the class whose evidence is shown; None takes the predicted one of each picture.
        layer_name: the layer to compute the maps at; None takes `target_layer`.

    Raises:
        ValueError: there is no such class or layer.
    """
    if class_name is not None and class_name not in model.classes:
        raise ValueError(f"--class {class_name}: the model knows {', '.join(model.classes)}")
    if outlines is None:
        pictures = pictures.chosen(_spread(pictures.table["label"], CHECKED))
    polygons = None if outlines is None else [outlines[source] for source in pictures.table["source"]]
    sample = pictures.network_input(slice(0, 2))
    layer = layer_named(model.network, sample, layer_name) if layer_name else target_layer(model.network, sample)

    classes = None if class_name is None else np.full(len(pictures), model.classes.index(class_name))
    maps, logits = _maps(model.network, layer, pictures, classes, "Grad-CAM")
    probabilities = torch.from_numpy(logits).softmax(1).numpy()
    explained = logits.argmax(1) if classes is None else classes
    table = pictures.table.assign(
        predicted=[model.classes[k] for k in logits.argmax(1)],
        explained=[model.classes[k] for k in explained],
        probability=probabilities[np.arange(len(explained)), explained],
        empty=maps.max(axis=(1, 2)) == 0,
    )
    record: dict[str, Any] = {
        "schema_version": 1,
        "model": model.title,
        "remarks": model.remarks,
        "layer": layer.name,
        "places": [layer.side, layer.side],
        "class": class_name or "predicted",
        "images": len(pictures),
        "test_images": pictures.among,
        "empty_maps": int(table["empty"].sum()),
        "empty_random_maps": None,
        "tolerance_pixels": None,
        "gaussian_standard_deviation": None,
        "scores": None,
    }
    strangers = [stranger(model, seed) for seed in range(STRANGERS)]
    if polygons is not None:  # a stranger is asked as the network was: for its own prediction, if no class was given
        others = [_maps(network, layer, pictures, classes, "Grad-CAM, random weights")[0] for network in strangers]
        record["empty_random_maps"] = float(np.mean([one.max(axis=(1, 2)) == 0 for one in others]) * len(pictures))
        table = table.join(_scored(pictures, polygons, maps, others))
        record["tolerance_pixels"] = tolerance_in_pixels(pictures.side)
        record["gaussian_standard_deviation"] = GAUSSIAN_WIDTH
        record["scores"] = _summary(table)
    record["randomisation"] = _randomisation(model, strangers, layer, pictures, explained, sample)
    return MapsStudy(record, table, pictures, maps, polygons, _text(record))


def write(found: MapsStudy, out: Path, title: str) -> None:
    """Write `maps.json`, `maps.csv`, `maps.txt`, `montage.png` and `randomisation.png` into the folder `out`.

    title: of the figures and the text; should name the model.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "maps.json").write_text(json.dumps(found.record, indent=1), encoding="utf-8")
    found.table.to_csv(out / "maps.csv", index=False, float_format="%.6g", lineterminator="\n")
    (out / "maps.txt").write_text(f"{title}\n\n{found.text}", encoding="utf-8")
    maps_figures.montage(found, out / "montage.png", title=title)
    maps_figures.randomisation_curve(found.record["randomisation"], out / "randomisation.png", title=title)


def _spread(labels: pd.Series, n: int) -> NDArray[np.int64]:
    """Positions of up to n pictures, the classes in turn, always the same ones; in the order of the table."""
    drawn = labels.reset_index(drop=True).sample(frac=1, random_state=0)
    turn = drawn.groupby(drawn).cumcount()
    return np.sort(turn.sort_values(kind="stable").index[:n].to_numpy(np.int64))


def _maps(
    network: nn.Module, layer: TargetLayer, pictures: Pictures, classes: NDArray[np.int64] | None, task: str | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Maps (N, s, s) and logits (N, C) of all pictures, with a progress bar where there is a terminal and a `task`."""
    maps: list[NDArray[np.float32]] = []
    logits: list[NDArray[np.float32]] = []
    with tqdm(total=len(pictures), desc=task, unit="image", disable=None if task else True) as progress:
        for start in range(0, len(pictures), BATCH):
            batch = slice(start, start + BATCH)
            pixels = pictures.network_input(batch)
            chosen = None if classes is None else torch.from_numpy(classes[batch])
            for found, values in zip((maps, logits), grad_cam(network, layer, pixels, chosen), strict=True):
                found.append(values.float().numpy())
            progress.update(len(pixels))
    return np.concatenate(maps), np.concatenate(logits)


def _scored(
    pictures: Pictures,
    polygons: list[list[Polygon]],
    maps: NDArray[np.float32],
    others: list[NDArray[np.float32]],
) -> pd.DataFrame:
    """Columns METHOD_SCORE for each picture, at the resolution of the pictures; of `others` their mean."""
    side, parts = pictures.side, []
    tolerance, gaussian = tolerance_in_pixels(side), centred_gaussian(side)
    for start in range(0, len(pictures), BATCH):
        batch = slice(start, start + BATCH)
        masks = np.stack([outline_mask(one, side) for one in polygons[batch]])
        wide = np.stack([widened(mask, tolerance) for mask in masks])

        def judged(drawn: NDArray[Any], masks: Any = masks, wide: Any = wide) -> NDArray[np.float64]:
            hits = [pointing_hits(drawn, masks), pointing_hits(drawn, wide)]
            return np.stack([*hits, energy_inside(drawn, masks)], axis=1)

        network, *random = (judged(enlarged(torch.from_numpy(one[batch]), side).numpy()) for one in (maps, *others))
        floors = [np.mean(random, axis=0)]
        floors += [judged(np.broadcast_to(one, masks.shape)) for one in (gaussian, pictures.brightness(batch))]
        uniform = [share.mean(axis=(1, 2)) for share in (masks, wide, masks)]
        parts.append(np.concatenate([network, *floors, np.stack(uniform, axis=1)], axis=1))
    columns = [f"{method}_{score}" for method in METHODS for score in SCORES]
    return pd.DataFrame(np.concatenate(parts), columns=columns)


def _summary(table: pd.DataFrame) -> dict[str, Any]:
    """For each class and for all: pictures, groups, and of each method the means of its scores with intervals.

    Of a floor also `lead`: by how much the network is above it, picture by picture.
    """
    scopes = {"all": table, **{str(label): rows for label, rows in table.groupby("label")}}
    found: dict[str, Any] = {}
    for name, rows in scopes.items():
        groups = rows["group_id"].tolist()
        one: dict[str, Any] = {"images": len(rows), "groups": rows["group_id"].nunique(), "methods": {}}
        for method in METHODS:
            values = {}
            for score in SCORES:
                mine, network = (rows[f"{key}_{score}"].to_numpy() for key in (method, "network"))
                # Hits that are all 1, or all 0, need the exact interval.
                interval = group_bootstrap if set(mine) <= {0.0, 1.0} and score != "energy" else group_bootstrap_mean
                values[score] = {"mean": float(mine.mean()), "ci95": interval(mine, groups)}
                if method != "network":
                    lead = network - mine
                    values[score]["lead"] = float(lead.mean())
                    values[score]["lead_ci95"] = group_bootstrap_mean(lead, groups)
            one["methods"][method] = values
        found[name] = one
    return found


def _randomisation(
    model: Subject,
    strangers: list[nn.Module],
    layer: TargetLayer,
    pictures: Pictures,
    explained: NDArray[np.int64],
    sample: torch.Tensor,
) -> dict[str, Any]:
    """`randomisation_check` on up to 32 pictures: means with intervals for each step, and the verdict."""
    which = _spread(pictures.table["label"], CHECKED)
    few, classes = pictures.chosen(which), explained[which]
    layers = layers_from_the_top(model.network, sample)
    progress = tqdm(desc="weight randomisation", unit="step", disable=None)

    def explain(network: nn.Module) -> NDArray[np.float32]:
        progress.update()
        return _maps(network, layer, few, classes, None)[0]

    with progress:
        steps = randomisation_check(model.network, strangers, layers, explain)
    record: dict[str, Any] = {"images": len(few), "layers": len(layers), "steps": []}
    for step in steps:
        known = ~np.isnan(step["similarity"])
        one: dict[str, Any] = {"layer": step["layer"], "layers": step["layers"], "judged": int(known.sum())}
        for key in ("rank_correlation", "similarity"):
            groups = few.table["group_id"][known].tolist()
            one[key] = float(step[key][known].mean()) if groups else None
            one[f"{key}_ci95"] = group_bootstrap_mean(step[key][known], groups) if groups else None
        record["steps"].append(one)
    record["verdict"] = verdict(record["steps"][-1]["rank_correlation"])
    return record


def _text(record: dict[str, Any]) -> str:
    lines = [
        f"Maps at {record['layer']} ({'x'.join(map(str, record['places']))} places) for the {record['class']} class"
    ]
    if record["scores"]:
        lines[0] += f", {record['images']:,} of {record['test_images']:,} test images have an outline"
    if record["empty_maps"]:
        lines.append(f"{record['empty_maps']:,} maps are empty: nothing speaks for the class there (they miss).")
    if record["empty_random_maps"]:
        lines.append(
            f"Of each network with random weights {record['empty_random_maps']:,.0f} maps are empty (they miss)."
        )
    if record["scores"]:
        lines += ["", _score_table(record), "", *_leads(record["scores"]["all"]["methods"])]
    last = record["randomisation"]["steps"][-1]
    lines += ["", *record["remarks"], record["randomisation"]["verdict"]]
    lines.append(
        f"({last['judged']} of {record['randomisation']['images']} pictures have maps to compare, "
        f"{record['randomisation']['layers']} layers; structural similarity at the end {number(last['similarity'], 2)})"
    )
    return "\n".join(lines) + "\n"


def _score_table(record: dict[str, Any]) -> str:
    heads = ["hit", f"hit within {record['tolerance_pixels']} px", "energy inside"]
    rows = []
    for scope, one in record["scores"].items():
        for method, values in one["methods"].items():
            name = f"{scope} ({one['images']:,})" if method == "network" else ""
            cells = [{"accuracy": values[s]["mean"], "accuracy_ci95": values[s]["ci95"]} for s in SCORES]
            rows.append([name, METHODS[method], *map(with_interval, cells)])
    lines = [["class (images)", "map", *heads], *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join("  ".join(f"{text:<{w}}" for text, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _leads(methods: dict[str, Any]) -> list[str]:
    """Whether the network is above each floor, all classes together, by interval."""
    lines = ["95 % intervals, resampled by group. The network's maps, all classes, against"]
    for method in list(METHODS)[1:]:
        parts = []
        for score, word in zip(SCORES, ("hit", "hit with tolerance", "energy"), strict=True):
            lead, interval = (methods[method][score][key] for key in ("lead", "lead_ci95"))
            known = "" if interval is None else f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
            parts.append(f"{word} {100 * lead:+.1f}{known}")
        lines.append(f"  {METHODS[method]}: {', '.join(parts)} points")
    return lines
