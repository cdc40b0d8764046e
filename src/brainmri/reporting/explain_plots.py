"""The figures of the explanations and of the saliency study, as PNG files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from brainmri.evaluation.explain.grad_cam import enlarged
from brainmri.evaluation.explain.inspect import image_under_dropout
from brainmri.evaluation.explain.saliency import MapsStudy
from brainmri.evaluation.explain.sanity_checks import HARDLY_CHANGED
from brainmri.reporting.plots import BLUE, GREY, VERMILION, new_figure, open_frame, save_figure, wrapped
from brainmri.schemas import Randomisation, write

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from brainmri.evaluation.explain.inspect import ConvolutionMaps

COLUMNS = 8  # maps in a row
GAP = 0.06  # between two maps, in widths of a map


def convolution_grid(convolution: ConvolutionMaps, path: Path, *, title: str) -> Path:
    """The maps of one convolution in rows of eight; the number of channels that are not shown is stated.

    Args:
        path: the PNG file to write.
        title: should name the model and the image.
    """
    maps = convolution.maps
    columns = min(COLUMNS, len(maps))
    height = maps.shape[1] / maps.shape[2]
    hidden = convolution.channels - len(maps)
    shown = f"the first {len(maps)} channels, {hidden:,} not shown" if hidden else f"all {len(maps)} channels"
    text = f"{convolution.name} ({convolution.kernel}), output {convolution.size}: {shown}"
    names = [f"channel {first}" for first in range(0, len(maps), columns)]
    cell = 7.6 / max(columns, 4)
    figure, axes = _sheet(names, max(columns, 4), height, cell, 0.9, [title, text, _scaling([convolution])])
    for number, one in enumerate(maps):
        _place(axes, one, number // columns, number % columns, height)
    return save_figure(figure, path)


def convolution_overview(
    convolutions: list[ConvolutionMaps], image: NDArray[np.uint8], path: Path, *, title: str
) -> Path:
    """The image, and below it a row for each convolution: its name, its size and its first eight maps.

    Args:
        image: uint8 (H, W, 3), as the network sees it but for the normalisation.
        path: the PNG file to write.
        title: should name the model and the image.
    """
    names = [f"image\n3x{image.shape[0]}x{image.shape[1]}"]
    names += [f"{wrapped(c.name.replace('.', '. '), 26).replace('. ', '.')}\n{c.size}" for c in convolutions]
    text = f"The first {COLUMNS} channels of every convolution"
    figure, axes = _sheet(names, COLUMNS, 1, 0.95, 1.9, [title, text, _scaling(convolutions)])
    _place(axes, image, 0, 0, 1)
    for row, convolution in enumerate(convolutions, 1):
        for column, one in enumerate(convolution.maps[:COLUMNS]):
            _place(axes, one, row, column, 1)
    return save_figure(figure, path)


def dropout_figure(
    image: NDArray[np.uint8],
    logits: dict[float, NDArray[np.float64]],
    table: pd.DataFrame,
    path: Path,
    *,
    title: str,
) -> Path:
    """A row for each probability: the image under dropout, and the distribution of every logit.

    Args:
        image: uint8 (H, W, 3).
        logits: for each probability (masks, C).
        table: of `dropout_table`.
        path: the PNG file to write.
        title: should name the model and the image.
    """
    classes = list(table["class"].unique())
    figure = new_figure(1.9 + 2.1 * len(classes), 1.2 + 1.45 * len(logits))
    grid = figure.subplots(len(logits), 1 + len(classes), sharex="col", squeeze=False)
    drawn = np.concatenate(list(logits.values()))
    for row, (p, values) in zip(grid, logits.items(), strict=True):
        row[0].imshow(image_under_dropout(image, p))
        row[0].set(xticks=[], yticks=[])
        row[0].set_ylabel(f"p = {p:g}", fontsize=11)
        for k, axes in enumerate(row[1:]):
            line = table[(table["p"] == p) & (table["class"] == classes[k])].iloc[0]
            axes.hist(values[:, k], bins=np.histogram_bin_edges(drawn[:, k], 60), color=BLUE)
            axes.axvline(line["mean_in_theory"], color=VERMILION, linewidth=1)
            axes.set_yticks([])
            spread = f"{line['standard_deviation']:.3g} ({line['standard_deviation_in_theory']:.3g})"
            axes.set_title(f"mean {line['mean']:.3g}, sd {spread}", fontsize=8, pad=3)
            open_frame(axes)
    for name, axes in zip(classes, grid[-1, 1:], strict=True):
        axes.set_xlabel(f"logit of {wrapped(name)}", fontsize=9)
        axes.tick_params(labelsize=8)
    text = (
        f"Right: logits under {len(drawn) // len(logits):,} dropout masks on the inputs of the classifier; line: the "
        "logit without dropout; in brackets: the standard deviation in theory. Left: dropout of pixels, those kept "
        "divided by 1−p and clipped at white"
    )
    width = 25 + 23 * len(classes)
    figure.suptitle(f"{fill(title, width)}\n{fill(text, width)}", fontsize=10)
    return save_figure(figure, path)


def _sheet(
    names: list[str], columns: int, height: float, cell: float, margin: float, heading: list[str]
) -> tuple[Figure, Axes]:
    """A page with a row of cells for each name, and the lines of the heading above.

    A cell is `cell` inches wide and `height` times that high; the names stand in a margin of that many inches. All is
    placed by these sizes, because matplotlib's layout cuts off the names on a page of fifty rows.
    """
    edge = 0.1
    lines = [part for line in heading for part in wrap(line, 110)]
    inner, body = columns * (1 + GAP) * cell, len(names) * (1 + GAP) * height * cell
    width, total = margin + inner + edge, body + 0.3 + 0.18 * len(lines)
    figure = new_figure(width, total)
    figure.set_layout_engine("none")
    figure.text(0.5, 1 - edge / total, "\n".join(lines), ha="center", va="top", fontsize=10)
    axes = figure.add_axes((margin / width, edge / total, inner / width, body / total))
    axes.set_xlim(0, columns * (1 + GAP))
    axes.set_ylim(len(names) * (1 + GAP) * height, 0)
    axes.set_xticks([])
    axes.set_yticks([(row * (1 + GAP) + 0.5) * height for row in range(len(names))], names, fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure, axes


def _place(axes: Axes, image: NDArray[np.uint8], row: int, column: int, height: float) -> None:
    """Draw an image (H, W) or (H, W, 3) into its cell."""
    left, top = column * (1 + GAP), row * height * (1 + GAP)
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(left, left + 1, top + height, top), aspect="auto")


def _scaling(convolutions: list[ConvolutionMaps]) -> str:
    text = "each map from its own minimum (black) to its own maximum (white)"
    single = any(c.maps[0].size == 1 for c in convolutions)
    return text + "; one-pixel maps share a scale" * single


PER_CLASS = 6  # images of each class
OUTLINE, MAXIMUM = "#00E5FF", "#39FF14"  # to be seen on grey and on every colour of the maps


def montage(found: MapsStudy, path: Path, *, title: str) -> Path:
    """Up to six images of each class, a fixed choice, and below each its map, both with the outlines.

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
    side = found.images.side
    drawn: Any = None
    for block, name in enumerate(names):
        rows = chosen.index[labels[chosen.index] == name]
        grid[2 * block, 0].set_ylabel(wrapped(name), fontsize=10)
        grid[2 * block + 1, 0].set_ylabel("map", fontsize=10)
        for column, row in enumerate(sorted(rows)):
            above, below = grid[2 * block : 2 * block + 2, column]
            image = found.images.brightness(slice(row, row + 1))[0]
            one = enlarged(torch.from_numpy(found.maps[row : row + 1]), side)[0].numpy()
            highest = float(one.max())
            for axes in (above, below):
                axes.imshow(image, cmap="gray", vmin=0, vmax=255)
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
            below.set_xlabel(fill(PurePosixPath(str(line["file_name"])).name, 24), fontsize=7)
    colours = figure.colorbar(drawn, ax=list(grid.ravel()), shrink=0.4, aspect=40, pad=0.01)
    colours.set_label("evidence for the class, each map scaled to its own maximum", fontsize=9)
    handles = [Line2D([], [], color=MAXIMUM, marker="+", linestyle="none", label="maximum of the map")]
    if found.polygons:
        handles.append(Line2D([], [], color=OUTLINE, label="expert outline"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    places = "x".join(map(str, found.record.places))
    layer = f"{found.record.layer} ({places} places)"
    text = f"Below each image the Grad-CAM map at {layer}; in words the class that it is of, and its probability"
    width = round(12 * figure.get_figwidth())
    figure.suptitle(f"{fill(title, width)}\n{fill(text, width)}", fontsize=10)
    return save_figure(figure, path)


def randomisation_curve(record: Randomisation, path: Path, *, title: str) -> Path:
    """How like the maps stay to the trained network's while its layers get random weights, from the classifier down.

    Args:
        record: the part `randomisation` of `maps.json`.
        path: the PNG file to write.
        title: should name the model.
    """
    steps = record.steps
    places = np.arange(len(steps))
    figure = new_figure(8.5, 5.2)
    axes = figure.subplots()
    for key, name, colour, marker in [
        ("rank_correlation", "rank correlation (Spearman)", BLUE, "o"),
        ("similarity", "structural similarity", VERMILION, "s"),
    ]:
        values = np.array([np.nan if getattr(step, key) is None else getattr(step, key) for step in steps])
        bounds = [getattr(step, f"{key}_ci95") or (np.nan, np.nan) for step in steps]
        low, high = np.array(bounds).T
        axes.plot(places, values, color=colour, marker=marker, label=name)
        axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
    label = f"above at the end: hardly changed ({HARDLY_CHANGED:g})"
    axes.axhline(HARDLY_CHANGED, color=GREY, linestyle=":", label=label)
    names = ["trained", *(f"{step.layer or 'input'} ({step.layers})" for step in steps[1:])]
    axes.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_ylabel("likeness to the trained network's maps")
    axes.set_ylim(min(-0.25, axes.get_ylim()[0]), 1.05)
    axes.set_xlabel("random weights down to this layer (number of layers)")
    axes.legend(frameon=False, fontsize=9)
    open_frame(axes)
    of = f"{steps[-1].judged} of {record.images} images"
    text = f"{title}: weight randomisation, mean of {of}, 95 % interval by group"
    figure.suptitle(f"{fill(text, 95)}\n{fill(record.verdict, 95)}", fontsize=10)
    return save_figure(figure, path)


def write_maps(found: MapsStudy, out: Path, title: str) -> None:
    """Write `maps.json`, `maps.csv`, `maps.txt`, `montage.png` and `randomisation.png` into the folder `out`.

    title: of the figures and the text; should name the model.
    """
    out.mkdir(parents=True, exist_ok=True)
    write(found.record, out / "maps.json")
    found.table.to_csv(out / "maps.csv", index=False, float_format="%.6g", lineterminator="\n")
    (out / "maps.txt").write_text(f"{title}\n\n{found.text}", encoding="utf-8")
    montage(found, out / "montage.png", title=title)
    randomisation_curve(found.record.randomisation, out / "randomisation.png", title=title)
