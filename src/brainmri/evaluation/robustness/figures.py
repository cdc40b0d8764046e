"""The two figures of the study, as PNG files."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from brainmri.evaluation.drawing import new_figure, open_frame, save_figure, wrapped
from brainmri.evaluation.figures import BLUE, GREEN, GREY, VERMILION
from brainmri.evaluation.robustness.corruptions import CORRUPTIONS, STRENGTHS, Picture, corrupted

# One for each kind; with the three of all figures these are seven of the eight of Okabe and Ito.
STYLES = [(BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), ("#E69F00", "v"), ("#CC79A7", "D"), ("#56B4E9", "P")]
STYLES += [("#000000", "X")]
APART = 0.06  # between the curves' points of one strength, so that their intervals do not cover each other


def curves(contents: dict[str, Any], path: Path, *, title: str) -> Path:
    """Accuracy against strength, a curve for each kind, with 95 % intervals and the floor of the largest class.

    Args:
        contents: of `robustness.json`.
        path: the PNG file to write.
        title: should name the model and the data.
    """
    rows = contents["rows"]
    figure = new_figure(9, 5.4)
    axes = figure.subplots()
    for number, (kind, one) in enumerate(contents["corruptions"].items()):
        colour, marker = STYLES[number]
        mine = [rows[0], *(line for line in rows if line["kind"] == kind)]
        places = np.arange(len(mine)) + (number - (len(contents["corruptions"]) - 1) / 2) * APART
        values = 100 * np.array([line["accuracy"] for line in mine])
        low, high = 100 * np.array([line["accuracy_ci95"] or (np.nan, np.nan) for line in mine], dtype=np.float64).T
        name = f"{kind} ({one['values'][0]:g} to {one['values'][-1]:g} {one['unit']})"
        axes.plot(places, values, color=colour, marker=marker, markersize=5, linewidth=1.5, label=name)
        axes.vlines(places, low, high, color=colour, linewidth=0.8)
    floor = f"largest class ({100 * contents['majority']:.1f} %)"
    axes.axhline(100 * contents["majority"], color=GREY, linestyle=":", label=floor)
    axes.set_xticks(range(STRENGTHS + 1), ["0 (clean)", *map(str, range(1, STRENGTHS + 1))])
    axes.set(xlabel="strength", ylabel="accuracy (%)", ylim=(0, 102))
    open_frame(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    text = f"{title}: {contents['images']['drawn']:,} images, 95 % intervals by group"
    figure.suptitle(fill(text, 85), fontsize=11)
    return save_figure(figure, path)


def montage(picture: Picture, file_name: str, path: Path) -> Path:
    """One picture as it is and under every kind at every strength.

    Args:
        picture: uint8 (H, W) or (H, W, 3).
        file_name: of the picture; what is random in the corruptions follows from it.
        path: the PNG file to write.
    """
    figure = new_figure(1.15 * (STRENGTHS + 1) + 0.5, 1.33 * len(CORRUPTIONS) + 0.4)
    grid = figure.subplots(len(CORRUPTIONS), STRENGTHS + 1)
    for line, (kind, one) in zip(grid, CORRUPTIONS.items(), strict=True):
        line[0].set_ylabel(wrapped(kind), fontsize=9)
        for strength, axes in enumerate(line):
            worse = corrupted(picture, kind, strength, file_name)
            axes.imshow(worse, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.set_title("clean" if strength == 0 else f"{one.values[strength - 1]:g}", fontsize=8, pad=2)
    figure.suptitle(fill(f"Strengths 0 to {STRENGTHS} of every kind: {file_name}", 80), fontsize=9)
    return save_figure(figure, path)
