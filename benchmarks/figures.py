"""The figures of the benchmark: bars of each comparison, and the curves of the grouping."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from benchmarks.tables import target_text
from brainmri.reporting.plots import BLUE, GREY, VERMILION, new_figure, open_frame, save_figure, wrapped


def bars(comparisons: list[dict[str, Any]], path: Path, *, title: str) -> Path:
    """A panel for each comparison: the median of each way as a bar, fastest and slowest repetition as whiskers.

    Args:
        comparisons: as `timing.comparison` makes them.
        path: the PNG file to write.
        title: names the part and the machine.
    """
    counts = [len(one["medians"]) for one in comparisons]
    figure = new_figure(10, 0.9 + 1.15 * len(comparisons) + 0.36 * sum(counts))
    panels = figure.subplots(len(comparisons), 1, squeeze=False, height_ratios=[count + 1 for count in counts])[:, 0]
    for axes, one in zip(panels, comparisons, strict=True):
        names = list(one["medians"])
        scale, unit = (1000 / one["images"], "ms per image") if one["images"] else (1, "seconds")
        times = [scale * np.array(one["seconds"][name]) for name in names]
        middle = np.array([scale * one["medians"][name] for name in names])
        whiskers = [[m - t.min() for m, t in zip(middle, times, strict=True)]]
        whiskers += [[t.max() - m for m, t in zip(middle, times, strict=True)]]
        colours = [VERMILION if name == one["reference"] else BLUE for name in names]
        axes.barh(range(len(names)), middle, 0.7, color=colours)
        axes.errorbar(middle, range(len(names)), xerr=whiskers, fmt="none", ecolor="black", capsize=3, linewidth=1.2)
        longest = max(t.max() for t in times)
        for place, (name, value, all_times) in enumerate(zip(names, middle, times, strict=True)):
            ratio = f"  ({one['ratios'][name]:.2f}x)" if name in one["ratios"] else ""
            axes.text(all_times.max() + 0.015 * longest, place, f"{value:.3g}{ratio}", va="center", fontsize=10)
        if one["reference"] is None and one["target"]:
            axes.axvline(one["target"]["at_most"], color=GREY, linestyle="--", linewidth=1)
        axes.set_yticks(range(len(names)), [wrapped(name, 40) for name in names])
        axes.set(xlim=(0, 1.22 * longest), ylim=(len(names) - 0.4, -0.6), xlabel=unit)
        heading = f"{one['title']}\n{target_text(one)}" if one["target"] else one["title"]
        axes.set_title(heading, loc="left", fontsize=11)
        open_frame(axes)
    figure.suptitle(fill(title, 90))
    return save_figure(figure, path)


def grouping_curves(rows: list[dict[str, Any]], path: Path, *, title: str) -> Path:
    """Seconds and peak memory against the number of images, both axes logarithmic.

    Args:
        rows: `size`, `seconds` and `peak_mib` (None where it cannot be known) of each measurement.
        path: the PNG file to write.
        title: names the part and the machine.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    figure = new_figure(10, 4.4)
    panels = figure.subplots(1, 2)
    for axes, key, unit in zip(panels, ["seconds", "peak_mib"], ["seconds", "peak memory (MiB)"], strict=True):
        points = [(row["size"], row[key]) for row in rows if row[key] is not None]
        sizes = [size for size, _ in points]
        axes.loglog(sizes, [value for _, value in points], color=BLUE, marker="o")
        for point in points:
            axes.annotate(f"{point[1]:.3g}", point, (-4, 6), textcoords="offset points", ha="right", fontsize=9)
        axes.set_xticks(sizes)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="x", labelrotation=45)
        axes.set(xlabel="images", ylabel=unit)
        axes.margins(x=0.12, y=0.12)
        axes.grid(color=GREY, alpha=0.25)
        open_frame(axes)
    figure.suptitle(fill(title, 90))
    return save_figure(figure, path)
