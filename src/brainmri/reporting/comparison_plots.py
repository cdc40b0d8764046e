"""The figures of a comparison, one of each kind for every test split: what was measured here, and no published figure.

A network that ran only a part of its schedule says so in its name, and is never marked as the fastest.
"""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brainmri.reporting.plots import BLUE, GREY, VERMILION, new_figure, open_frame, save_figure, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

BASELINE_LABELS = {
    "majority": "most frequent class",
    "nearest_neighbour": "nearest training image",
    "global_statistics": "trees on 7 statistics",
}
MACHINE_COLOURS = ["#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]  # of Okabe and Ito; none marks the best
LOG_FROM = 10  # a logarithmic axis where the largest value is so many times the smallest


def accuracy_and_minutes(models: pd.DataFrame, baselines: dict[str, float], path: Path, *, title: str) -> Path:
    """Bars of the test accuracy with its interval and the baselines, beside bars of the minutes to converge.

    The best bar has a colour of its own. Where the times are of several machines each machine has one instead, since
    they do not compare.

    Args:
        models: `name`, `accuracy`, `ci_low`, `ci_high` (0..1, the bounds may be NaN), `minutes` (may be NaN),
            `schedule_fraction` and `machine`, one row per bar from the top.
        baselines: accuracy in 0..1 by the names of `BASELINE_LABELS`.
        path: the PNG file to write.
        title: names the data set and split.
    """
    places = np.arange(len(models))
    figure = new_figure(12.5, 2.1 + 0.42 * len(models))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.35, 1])

    accuracy = 100 * models["accuracy"].to_numpy()
    best = accuracy == accuracy.max()
    left.barh(places, accuracy, 0.7, color=np.where(best, VERMILION, BLUE))
    left.errorbar(accuracy, places, xerr=_whiskers(models), fmt="none", ecolor="black", capsize=3, linewidth=1.2)
    for place, value in zip(places, accuracy, strict=True):
        left.text(1, place, f"{value:.1f}", va="center", color="white", fontweight="bold", zorder=4)
    for row, (floor, value) in enumerate(sorted(baselines.items(), key=lambda item: item[1])):
        left.axvline(100 * value, color="black", linestyle="--", linewidth=1)
        # Every label on a line of its own, the highest value on top: no label meets another or its leader.
        left.annotate(
            f"{BASELINE_LABELS[floor]} {100 * value:.1f}",
            xy=(100 * value, 1),
            xytext=(0, 6 + 13 * row),
            xycoords=left.get_xaxis_transform(),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            arrowprops={"arrowstyle": "-", "linestyle": "--", "shrinkA": 0, "shrinkB": 0, "relpos": (1, 0)},
        )
    left.set_yticks(places, [wrapped(name, 40) for name in models["name"]])
    left.set(xlim=(0, 100), ylim=(len(models) - 0.4, -0.6), xlabel="test accuracy (%) with 95 % interval by group")

    minutes = models["minutes"].to_numpy(dtype=np.float64)
    several = models["machine"].nunique() > 1
    full = np.where(models["schedule_fraction"] < 1, np.nan, minutes)
    fastest = full == (np.nanmin(full) if np.isfinite(full).any() else -1)
    colours = _machine_colours(models) if several else np.where(fastest, VERMILION, BLUE)
    bars = right.barh(places, np.nan_to_num(minutes), 0.7, color=colours)
    right.bar_label(bars, ["not measured" if np.isnan(value) else f"{value:.1f}" for value in minutes], padding=4)
    right.set_xlim(0, (np.nanmax(minutes) if np.isfinite(minutes).any() else 1) * 1.15)
    right.set_xlabel("time to converge (min)" if several else f"time to converge (min)\n{models['machine'].iloc[0]}")
    right.tick_params(left=False)

    for axes in (left, right):
        open_frame(axes)
    _name_machines(figure, models)
    figure.suptitle(fill(title, 95))
    return save_figure(figure, path)


def accuracy_against_cost(models: pd.DataFrame, baselines: dict[str, float], path: Path, *, title: str) -> Path:
    """Test accuracy with its interval against the minutes to converge and against the number of parameters.

    The baseline of the nearest training image is a line. A network without a measured time stands in the second panel
    only.

    Args:
        models: as for `accuracy_and_minutes`, with `parameters`.
        baselines: accuracy in 0..1 by the names of `BASELINE_LABELS`.
        path: the PNG file to write.
        title: names the data set and split.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    figure = new_figure(15, max(5.0, 1.8 + 0.3 * (len(models) + "".join(_point_names(models)).count("\n"))))
    panels = figure.subplots(1, 2, sharey=True)
    costs = {"minutes": "time to converge (min)", "parameters": "parameters"}
    if models["machine"].nunique() == 1:
        costs["minutes"] += f"\n{models['machine'].iloc[0]}"
    for axes, (cost, unit) in zip(panels, costs.items(), strict=True):
        shown = models[models[cost].notna()]
        x, y = shown[cost].to_numpy(dtype=np.float64), 100 * shown["accuracy"].to_numpy()
        axes.errorbar(x, y, yerr=_whiskers(shown), fmt="none", ecolor=GREY, capsize=3, linewidth=1)
        axes.scatter(x, y, s=45, color=_machine_colours(models)[models[cost].notna()], zorder=3)
        if "nearest_neighbour" in baselines:
            axes.axhline(100 * baselines["nearest_neighbour"], color="black", linestyle="--", linewidth=1)
        if len(x) and x.max() >= LOG_FROM * x.min():
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if x.max() < 100 * x.min() else (1,)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        # Thousands and millions of parameters; a tenth of a minute would be "100m", which reads as a hundred minutes.
        axes.xaxis.set_major_formatter(EngFormatter(sep="") if cost == "parameters" else "{x:g}")
        axes.set_xlabel(unit)
        axes.margins(x=0.08)
        open_frame(axes)
    for axes, cost in zip(panels, costs, strict=True):  # the limits are settled only now
        _label_points(axes, models[models[cost].notna()], cost)
    panels[0].set_ylabel("test accuracy (%) with 95 % interval by group")
    if "nearest_neighbour" in baselines:
        label = f"dashed: {BASELINE_LABELS['nearest_neighbour']}, {100 * baselines['nearest_neighbour']:.1f} %"
        panels[0].set_title(label, loc="left", fontsize=9)
    _name_machines(figure, models)
    figure.suptitle(fill(title, 110))
    return save_figure(figure, path)


def _whiskers(models: pd.DataFrame) -> NDArray[np.float64]:
    """(2, N) lengths in percentage points below and above the accuracy; 0 where there is no interval."""
    below, above = models["accuracy"] - models["ci_low"], models["ci_high"] - models["accuracy"]
    return 100 * np.nan_to_num(np.stack([below, above]).astype(np.float64)).clip(min=0)


def _machine_colours(models: pd.DataFrame) -> NDArray[np.str_]:
    """(N,) a colour per row; blue where all are of one machine."""
    names = sorted(models["machine"].unique())
    colours = dict(zip(names, cycle(MACHINE_COLOURS), strict=False)) if len(names) > 1 else {names[0]: BLUE}
    return models["machine"].map(colours).to_numpy(dtype=str)


def _name_machines(figure: Figure, models: pd.DataFrame) -> None:
    """A legend of the machines' colours, where there are several."""
    from matplotlib.patches import Patch

    if models["machine"].nunique() == 1:
        return
    of_machine = dict(zip(models["machine"], _machine_colours(models), strict=True))
    handles = [Patch(color=colour, label=machine) for machine, colour in sorted(of_machine.items())]
    figure.legend(handles=handles, loc="outside lower center", frameon=False, fontsize=9)


def _point_names(models: pd.DataFrame) -> list[str]:
    return [wrapped(name, 60) for name in models["name"]]


def _label_points(axes: Axes, models: pd.DataFrame, cost: str) -> None:
    """Names in a column right of the panel, each as near to its point's height as its neighbours leave room."""
    from scipy.optimize import isotonic_regression

    models = models.sort_values("accuracy")
    low, high = axes.get_ylim()
    heights = (100 * models["accuracy"].to_numpy() - low) / (high - low)
    names = _point_names(models)
    lines = np.array([1 + name.count("\n") for name in names])
    room = 0.95 * lines / max(lines.sum(), 20)
    # The nearest heights (in squares) that keep their order and the gaps: a monotone fit once the gaps are taken off.
    steps = (room.cumsum() - room / 2) - room[:1] / 2
    fitted = isotonic_regression(heights - steps).x if len(models) else steps
    spread = fitted.clip(0, 1 - steps[-1:]) + steps
    for name, (_, row), height in zip(names, models.iterrows(), spread, strict=True):
        axes.annotate(
            name,
            xy=(row[cost], 100 * row["accuracy"]),
            xytext=(1.03, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "relpos": (0, 0.5), "shrinkA": 0},
        )
