"""The folder `robustness`: robustness.json, robustness.csv, two figures, and what is told of it in a few lines."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brainmri.evaluation.robustness import PARTS
from brainmri.reporting.html import embedded_figures
from brainmri.reporting.plots import BLUE, GREEN, GREY, VERMILION, new_figure, open_frame, save_figure, wrapped
from brainmri.schemas import RobustnessResult, RobustnessRow, read, write
from brainmri.transforms.corruptions import CORRUPTIONS, STRENGTHS, Pixels, corrupted
from brainmri.wording import interval, percent

if TYPE_CHECKING:
    from brainmri.evaluation.robustness import RobustnessStudy

FIGURES = {
    "robustness": "Accuracy against the strength of each corruption",
    "corruptions": "One image under each corruption",
}


def write_study(study: RobustnessStudy, folder: Path) -> None:
    """Write the files of a study into `folder`, which is made if need be.

    `robustness.csv` has the rows of `robustness.json`; an interval X_ci95 is two columns there, X_low and X_high.
    """
    contents = study.contents
    folder.mkdir(parents=True, exist_ok=True)
    write(contents, folder / "robustness.json")
    table = pd.DataFrame([_flat(row) for row in contents.rows])
    table.to_csv(folder / "robustness.csv", index=False, float_format="%.6g", lineterminator="\n")
    name = f"{contents.name} on {contents.data.name} ({contents.split})"
    curves(contents, folder / "figures" / "robustness.png", title=name)
    montage(study.example, study.example_name, folder / "figures" / "corruptions.png")


def read_study(folder: Path) -> tuple[RobustnessResult | None, list[tuple[str, str, str]]]:
    """The contents of `robustness.json` and the figures for a page; (None, []) if the folder holds no study."""
    path = folder / "robustness.json"
    if not path.is_file():
        return None, []
    return read(path, RobustnessResult, "Make the study again."), embedded_figures(folder / "figures", FIGURES)


def study_summary(contents: RobustnessResult, folder: Path) -> str:
    """Accuracy by kind and strength and the worst groups, in a few lines."""
    rows = contents.rows
    lines = [f"\nRobustness: {contents.images.statement}", f"Accuracy {percent(rows[0].accuracy)} clean"]
    lines.append(f"  {'at strength':12s}" + "".join(f"{k:>9d}" for k in range(1, STRENGTHS + 1)))
    for kind in contents.corruptions:
        cells = [f"{percent(row.accuracy):>9s}" for row in rows if row.kind == kind]
        lines.append(f"  {kind:12s}" + "".join(cells))
    for part, found in contents.groups.parts().items():
        if one := found.worst:
            name = ", ".join(getattr(one, key) or "unknown" for key in PARTS[part])
            figures = f"{percent(one.accuracy)} {interval(one.accuracy_ci95)} of {one.n:,} images"
            lines.append(f"Worst {part.replace('_', ' ')}: {name}, {figures} (clean)")
    return "\n".join([*lines, f"The study is in {folder}"])


def _flat(row: RobustnessRow) -> dict[str, Any]:
    """A row with two numbers in place of each interval."""
    flat: dict[str, Any] = {}
    for key, value in row.as_json().items():
        if key.endswith("_ci95"):
            low, high = value or (None, None)
            flat |= {key.replace("ci95", "low"): low, key.replace("ci95", "high"): high}
        else:
            flat[key] = value
    return flat


# One for each kind; with the three of all figures these are seven of the eight of Okabe and Ito.
STYLES = [(BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), ("#E69F00", "v"), ("#CC79A7", "D"), ("#56B4E9", "P")]
STYLES += [("#000000", "X")]
APART = 0.06  # between the curves' points of one strength, so that their intervals do not cover each other


def curves(contents: RobustnessResult, path: Path, *, title: str) -> Path:
    """Accuracy against strength, a curve for each kind, with 95 % intervals and the baseline of the largest class.

    Args:
        contents: of `robustness.json`.
        path: the PNG file to write.
        title: should name the model and the data.
    """
    rows = contents.rows
    figure = new_figure(9, 5.4)
    axes = figure.subplots()
    for number, (kind, one) in enumerate(contents.corruptions.items()):
        colour, marker = STYLES[number]
        mine = [rows[0], *(line for line in rows if line.kind == kind)]
        places = np.arange(len(mine)) + (number - (len(contents.corruptions) - 1) / 2) * APART
        values = 100 * np.array([line.accuracy for line in mine])
        low, high = 100 * np.array([line.accuracy_ci95 or (np.nan, np.nan) for line in mine], dtype=np.float64).T
        name = f"{kind} ({one.values[0]:g} to {one.values[-1]:g} {one.unit})"
        axes.plot(places, values, color=colour, marker=marker, markersize=5, linewidth=1.5, label=name)
        axes.vlines(places, low, high, color=colour, linewidth=0.8)
    floor = f"largest class ({100 * contents.majority:.1f} %)"
    axes.axhline(100 * contents.majority, color=GREY, linestyle=":", label=floor)
    axes.set_xticks(range(STRENGTHS + 1), ["0 (clean)", *map(str, range(1, STRENGTHS + 1))])
    axes.set(xlabel="strength", ylabel="accuracy (%)", ylim=(0, 102))
    open_frame(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    text = f"{title}: {contents.images.drawn:,} images, 95 % intervals by group"
    figure.suptitle(fill(text, 85), fontsize=11)
    return save_figure(figure, path)


def montage(image: Pixels, file_name: str, path: Path) -> Path:
    """One image as it is and under every kind at every strength.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        file_name: of the image; what is random in the corruptions follows from it.
        path: the PNG file to write.
    """
    figure = new_figure(1.15 * (STRENGTHS + 1) + 0.5, 1.33 * len(CORRUPTIONS) + 0.4)
    grid = figure.subplots(len(CORRUPTIONS), STRENGTHS + 1)
    for line, (kind, one) in zip(grid, CORRUPTIONS.items(), strict=True):
        line[0].set_ylabel(wrapped(kind), fontsize=9)
        for strength, axes in enumerate(line):
            worse = corrupted(image, kind, strength, file_name)
            axes.imshow(worse, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.set_title("clean" if strength == 0 else f"{one.values[strength - 1]:g}", fontsize=8, pad=2)
    figure.suptitle(fill(f"Strengths 0 to {STRENGTHS} of every kind: {file_name}", 80), fontsize=9)
    return save_figure(figure, path)
