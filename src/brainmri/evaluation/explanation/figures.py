"""The figures of the explanations, as PNG files."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill, wrap
from typing import TYPE_CHECKING

import numpy as np

from brainmri.evaluation.drawing import new_figure, open_frame, save_figure, wrapped
from brainmri.evaluation.explanation.dropout_study import image_under_dropout
from brainmri.evaluation.figures import BLUE, VERMILION

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from brainmri.evaluation.explanation.feature_maps import ConvolutionMaps

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
