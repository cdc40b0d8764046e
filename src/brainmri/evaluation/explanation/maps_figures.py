"""The figures of the study `maps`, as PNG files."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from brainmri.evaluation.drawing import new_figure, open_frame, save_figure, wrapped
from brainmri.evaluation.explanation.grad_cam import enlarged
from brainmri.evaluation.explanation.randomisation import HARDLY_CHANGED
from brainmri.evaluation.figures import BLUE, GREY, VERMILION

if TYPE_CHECKING:
    from brainmri.evaluation.explanation.maps_study import MapsStudy

PER_CLASS = 6  # pictures of each class
OUTLINE, MAXIMUM = "#00E5FF", "#39FF14"  # to be seen on grey and on every colour of the maps


def montage(found: MapsStudy, path: Path, *, title: str) -> Path:
    """Up to six pictures of each class, a fixed choice, and below each its map, both with the outlines.

    Args:
        found: what to show.
        path: the PNG file to write.
        title: should name the model.
    """
    from matplotlib.lines import Line2D

    labels = found.table["label"]
    chosen = found.table.sample(frac=1, random_state=0).groupby("label").head(PER_CLASS)
    names = sorted(chosen["label"].unique())
    columns = int(chosen["label"].value_counts().max())
    figure = new_figure(max(6.5, 1.75 * columns + 1.2), 1.6 + 4.0 * len(names))
    grid = figure.subplots(2 * len(names), columns, squeeze=False)
    for axes in grid.ravel():
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    side = found.pictures.side
    drawn: Any = None
    for block, name in enumerate(names):
        rows = chosen.index[labels[chosen.index] == name]
        grid[2 * block, 0].set_ylabel(wrapped(name), fontsize=10)
        grid[2 * block + 1, 0].set_ylabel("map", fontsize=10)
        for column, row in enumerate(sorted(rows)):
            above, below = grid[2 * block : 2 * block + 2, column]
            picture = found.pictures.brightness(slice(row, row + 1))[0]
            one = enlarged(torch.from_numpy(found.maps[row : row + 1]), side)[0].numpy()
            highest = float(one.max())
            for axes in (above, below):
                axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
                for polygon in found.polygons[row] if found.polygons else []:
                    closed = np.vstack([polygon, polygon[:1]]) * side - 0.5
                    axes.plot(*closed.T, color=OUTLINE, linewidth=1)
            drawn = below.imshow(one / (highest or 1), cmap="inferno", vmin=0, vmax=1)
            if highest > 0:
                place = np.unravel_index(one.argmax(), one.shape)
                below.plot(place[1], place[0], "+", color=MAXIMUM, markersize=8)
            line = found.table.loc[row]
            text = f"{'empty map, ' * (highest == 0)}{line['explained']} {line['probability']:.2f}"
            above.set_title(wrapped(text, 20), fontsize=8, pad=3)
    colours = figure.colorbar(drawn, ax=list(grid.ravel()), shrink=0.4, aspect=40, pad=0.01)
    colours.set_label("evidence for the class, each map scaled to its own maximum", fontsize=9)
    handles = [Line2D([], [], color=MAXIMUM, marker="+", linestyle="none", label="maximum of the map")]
    if found.polygons:
        handles.append(Line2D([], [], color=OUTLINE, label="expert outline"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    places = "x".join(map(str, found.record["places"]))
    layer = f"{found.record['layer']} ({places} places)"
    text = f"Below each picture the Grad-CAM map at {layer}; in words the class that it is of, and its probability"
    width = round(12 * figure.get_figwidth())
    figure.suptitle(f"{fill(title, width)}\n{fill(text, width)}", fontsize=10)
    return save_figure(figure, path)


def randomisation_curve(record: dict[str, Any], path: Path, *, title: str) -> Path:
    """How like the maps stay to the trained network's while its layers get random weights, from the classifier down.

    Args:
        record: the part `randomisation` of `maps.json`.
        path: the PNG file to write.
        title: should name the model.
    """
    steps = record["steps"]
    places = np.arange(len(steps))
    figure = new_figure(8.5, 5.2)
    axes = figure.subplots()
    for key, name, colour, marker in [
        ("rank_correlation", "rank correlation (Spearman)", BLUE, "o"),
        ("similarity", "structural similarity", VERMILION, "s"),
    ]:
        values = np.array([np.nan if step[key] is None else step[key] for step in steps])
        bounds = [step[f"{key}_ci95"] or (np.nan, np.nan) for step in steps]
        low, high = np.array(bounds).T
        axes.plot(places, values, color=colour, marker=marker, label=name)
        axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
    label = f"above at the end: hardly changed ({HARDLY_CHANGED:g})"
    axes.axhline(HARDLY_CHANGED, color=GREY, linestyle=":", label=label)
    names = ["trained", *(f"{step['layer'] or 'input'} ({step['layers']})" for step in steps[1:])]
    axes.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_ylabel("likeness to the trained network's maps")
    axes.set_ylim(min(-0.25, axes.get_ylim()[0]), 1.05)
    axes.set_xlabel("random weights down to this layer (number of layers)")
    axes.legend(frameon=False, fontsize=9)
    open_frame(axes)
    text = f"{title}: weight randomisation, mean of {record['images']} pictures, 95 % interval by group"
    figure.suptitle(f"{fill(text, 95)}\n{fill(record['verdict'], 95)}", fontsize=10)
    return save_figure(figure, path)
