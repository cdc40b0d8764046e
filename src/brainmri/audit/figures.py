"""Example pairs of each kind, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import ImageOps

from brainmri.data.images import read_image
from brainmri.data.likeness import best_correlation, mirror_parts
from brainmri.data.structure import structure_parts
from brainmri.evaluation.drawing import new_figure, save_figure

SIDE = 224  # pixels of each picture as drawn
PAIRS = 6


def pairs_figure(
    pairs: list[tuple[int, int]], table: pd.DataFrame, thumbnails: np.ndarray, path: Path, *, title: str
) -> Path:
    """Draw pairs of pictures with file names, labels, correlation and likeness of their structure.

    Args:
        pairs: rows of `table`, whose `path` holds the pictures.
        table, thumbnails: of `brainmri.audit.scan.Scan`.
        path: the PNG file to write.
        title: what the pairs have in common.
    """
    first, second = np.arange(0, 2 * len(pairs), 2), np.arange(1, 2 * len(pairs), 2)
    drawn = thumbnails[np.ravel(pairs)]
    correlations = best_correlation(mirror_parts(drawn), first, second)
    structures = best_correlation(structure_parts(drawn), first, second)
    columns = 2
    rows = -(-len(pairs) // columns)
    figure = new_figure(9, 0.5 + 2.5 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, pair, correlation, structure in zip(panels, pairs, correlations, structures, strict=False):
        pictures = [_picture(table["path"].iloc[row]) for row in pair]
        axes.imshow(np.hstack(pictures), cmap="gray", vmin=0, vmax=255)
        names = "\n".join(f"{table['label'].iloc[row]}: {_short(table['file_name'].iloc[row])}" for row in pair)
        axes.set_title(f"{names}\ncorrelation {correlation:.3f}, structure {structure:.2f}", fontsize=8, loc="left")
    for axes in panels:
        axes.set_axis_off()
    figure.suptitle(title)
    return save_figure(figure, path)


def _picture(path: str) -> np.ndarray:
    return np.asarray(ImageOps.pad(read_image(Path(path)).image.convert("L"), (SIDE, SIDE)))


def _short(name: str) -> str:
    return name if len(name) <= 56 else f"...{name[-53:]}"
