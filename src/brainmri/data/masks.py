"""Expert outlines of tumours, as a table of polygons, and which pixels they cover."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from brainmri.data.tables import delimiter

Polygon = NDArray[np.float64]  # (K, 2): x to the right and y down, as shares of the image's sides


def read_polygons(path: Path) -> dict[str, list[Polygon]]:
    """The outlines of each image in a CSV file.

    Columns: `path` (of the image in the source of the data, as in the column `source` of `index.csv`) and `polygon`
    (JSON, `[[x, y], ...]`, 0..1, x to the right, y down). An image may have several rows; other columns, such as a
    box, are not read.

    Raises:
        ValueError: a column is missing, the table is empty, or a polygon is broken; the message names the row.
        OSError: the file cannot be read.
    """
    try:
        table = pd.read_csv(path, sep=delimiter(path), dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV table ({error})") from error
    if missing := [name for name in ("path", "polygon") if name not in table]:
        raise ValueError(f"{path}: no column {' and no column '.join(missing)}; it has {', '.join(table.columns)}")
    if table.empty:
        raise ValueError(f"{path}: no outlines, the table is empty")
    outlines: dict[str, list[Polygon]] = {}
    for number, (image, text) in enumerate(zip(table["path"], table["polygon"], strict=True), 2):
        try:
            outlines.setdefault(image, []).append(_polygon(text))
        except ValueError as error:
            raise ValueError(f"{path}, line {number} ({image}): {error}") from error
    return outlines


def beside(source: Path) -> Path | None:
    """The outlines that lie beside a source: `SOURCE.outlines.csv`; None where there are none."""
    file = source.with_name(f"{source.name}.outlines.csv")
    return file if file.is_file() else None


def read_polygon_table(file: Path | None, paths: pd.Series) -> pd.DataFrame | None:
    """The rows, path and polygon as text, of the images `paths`; None without a file.

    Raises:
        ValueError: as `read_outlines`, or if none of the outlined images is among `paths`.
    """
    if file is None:
        return None
    found = read_polygons(file)
    if not paths.isin(found).any():
        raise ValueError(
            f"{file}: none of its {len(found):,} images ({next(iter(found))!r}, ...) is in the source: a path must "
            "be relative to the source"
        )
    table = pd.read_csv(file, sep=delimiter(file), dtype=str, keep_default_na=False, encoding="utf-8-sig")
    table = table[["path", "polygon"]]
    return table[table["path"].isin(paths)]


def polygon_mask(polygons: list[Polygon], side: int) -> NDArray[np.bool_]:
    """Which pixels of an image (side, side) the polygons cover, together: those whose centre lies inside one.

    A polygon so small that it holds no centre covers the pixel that its own middle lies in.
    """
    from matplotlib.path import Path as Line

    mask = np.zeros((side, side), bool)
    centres = (np.arange(side) + 0.5) / side
    for polygon in polygons:
        (left, top), (right, bottom) = (
            np.searchsorted(centres, polygon.min(0)),
            np.searchsorted(centres, polygon.max(0)),
        )
        x, y = np.meshgrid(centres[left:right], centres[top:bottom])
        inside = Line(polygon).contains_points(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
        mask[top:bottom, left:right] |= inside
        if not inside.any():
            column, row = np.minimum((polygon.mean(0) * side).astype(int), side - 1)
            mask[row, column] = True
    return mask


def polygons_of(mask: NDArray[np.bool_]) -> list[str]:
    """The outlines of the parts of a mask (H, W), as the column `polygon` has them; the smallest parts not."""
    from contourpy import contour_generator

    sides = mask.shape[::-1]
    edged = np.pad(mask.astype(np.float64), 1)  # so that outlines at the edge close
    lines = contour_generator(z=edged).lines(0.5)
    polygons = [((np.asarray(line) - 0.5) / sides).clip(0, 1).round(4) for line in lines if len(line) > 8]
    return [json.dumps(polygon.tolist()) for polygon in polygons]


def widened(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The pixels (side, side) that are at most that many pixels away from the mask, centre to centre."""
    return np.asarray(distance_transform_edt(~mask) <= pixels)


def _polygon(text: str) -> Polygon:
    try:
        corners: Any = json.loads(text)
        polygon = np.array(corners, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the polygon is no list of [x, y] ({text[:40]!r})") from error
    if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3:
        raise ValueError(f"the polygon is no list of three or more [x, y] ({text[:40]!r})")
    if not (np.isfinite(polygon).all() and polygon.min() >= 0 and polygon.max() <= 1):
        raise ValueError("the polygon leaves the image: its numbers must be shares of the sides, 0..1")
    x, y = polygon.T
    if abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2 < 1e-9:
        raise ValueError("the polygon has no area")
    return polygon
