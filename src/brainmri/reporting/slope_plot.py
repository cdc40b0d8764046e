"""The slope plot of leaks: one line for each recipe, from the split that leaks most to images from elsewhere."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd

from brainmri.reporting.comparison_plots import BASELINE_LABELS
from brainmri.reporting.plots import BLUE, GREEN, GREY, VERMILION, new_figure, open_frame, save_figure

TITLES = {
    "source": "the source's own split\n(leaky)",
    "grouped": "no look-alike image\nin two parts",
    "patients": "no patient\nin two parts",
    "outside": "images from elsewhere\n(mean recall)",
}
SHORT = {"source": "source's split", "grouped": "by group", "patients": "by patient"}  # where a line ends early
COLOURS = [BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
TOP = 100.0  # per cent
GAP = 2.2  # between labels, in points of per cent for a page of ten inches


def slope_plot(table: pd.DataFrame, path: Path, *, title: str) -> Path:
    """Draw a table as `brainmri.runs.leak.leak_table` gives it.

    Baselines are dashed and grey; that of the most frequent class, which no split changes, is left out. Each
    line is named at its right end, in its colour, with the step where it ends if others go on; names keep a distance.

    Args:
        table: `kind` ("model" or "floor"), `recipe`, `protocol`, `weights`, `step` and `accuracy` (0..1, may be NaN).
        path: the PNG file to write.
    """
    table = table[table["recipe"] != "majority"]
    steps = [step for step in TITLES if step in set(table["step"])]
    places = {step: place for place, step in enumerate(steps)}
    lines = [
        line
        for _, line in table[table["accuracy"].notna()].groupby(
            ["kind", "recipe", "protocol", "weights"], dropna=False, sort=False
        )
    ]
    protocols = table.loc[table["kind"] == "model", "protocol"].nunique() > 1
    figure = new_figure(3.4 + 2.1 * len(steps), 8)
    axes = figure.subplots()
    ends = []
    colours = cycle(COLOURS)
    for line in lines:
        first = line.iloc[0]
        floor = first["kind"] == "floor"
        x = line["step"].map(places).to_numpy(dtype=np.int64)
        y = 100 * line["accuracy"].to_numpy(dtype=np.float64)
        colour = GREY if floor else next(colours)
        axes.plot(x, y, "--" if floor else "-", marker="o", markersize=4, color=colour, linewidth=1.2 if floor else 1.8)
        name = BASELINE_LABELS[first["recipe"]] if floor else first["recipe"]
        name += f" ({first['protocol']})" * (protocols and not floor)
        last = str(line["step"].iloc[-1])
        name += f" {y[-1]:.1f}" + ("" if last == steps[-1] else f" ({SHORT[last]})")
        ends.append((float(y[-1]), int(x[-1]), name, colour))
    heights = _spread([end for end, *_ in ends], GAP * (100 - _lowest(table)) / 60)
    for (end, x_end, name, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            name,
            xy=(x_end, end),
            xytext=(len(steps) - 1 + 0.12, height),
            color=colour,
            fontsize=9,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": 3,
                "linestyle": "-" if x_end == len(steps) - 1 else ":",
            },
            annotation_clip=False,
        )
    for place in places.values():
        axes.axvline(place, color="#DDDDDD", linewidth=0.8, zorder=0)
    axes.set_xticks(list(places.values()), [TITLES[step] for step in steps])
    axes.set(ylabel="test accuracy (%)", xlim=(-0.15, len(steps) - 1 + 1.35), ylim=(_lowest(table), 101), title=title)
    open_frame(axes)
    return save_figure(figure, path)


def _lowest(table: pd.DataFrame) -> float:
    return 10 * np.floor(10 * float(table["accuracy"].min())) - 2


def _spread(values: list[float], gap: float) -> list[float]:
    """Heights near the values, in their order, that are `gap` apart at least, none above `TOP`."""
    order = np.argsort(values, kind="stable")
    spread = np.array(values, dtype=np.float64)[order]
    for _ in range(200):
        close = np.flatnonzero(np.diff(spread) < gap - 1e-9)
        for place in close:
            middle = (spread[place] + spread[place + 1]) / 2
            spread[place], spread[place + 1] = middle - gap / 2, middle + gap / 2
        if not len(close):
            break
    ceiling = TOP
    for row in reversed(range(len(spread))):
        spread[row] = min(float(spread[row]), ceiling)
        ceiling = float(spread[row]) - gap
    found = np.empty_like(spread)
    found[order] = spread
    return [float(value) for value in found]
