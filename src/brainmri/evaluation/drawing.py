"""How every figure begins and ends: a page without a window, saved as a PNG file of 150 dpi.

matplotlib is used through its objects and not through pyplot: no window, no global state, and it is imported only when
a figure is drawn.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """An empty page of width x height inches, whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write the PNG file `path` (its folder is made if need be) and return the path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=150, metadata={"Software": None})  # the same input gives the same bytes
    return Path(path)


def open_frame(axes: Axes) -> None:
    """Leave only the left and the lower edge of the frame."""
    axes.spines[["top", "right"]].set_visible(False)


def wrapped(label: str, width: int = 16) -> str:
    """A label broken into lines: at spaces, after underscores, and inside words that are longer than the width."""
    return fill(label.replace("_", "_ "), width).replace("_ ", "_")
