"""Images brought to one frame and one scale of grey before anything is learnt (`prepare_data.py --standardize`)."""

from __future__ import annotations

import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from brainmri.data.constants import STEPS

MARGIN = 0.02  # of the head's longer side, left around it
# Histogram landmarks (Nyul & Udupa, Magn Reson Med 1999): these percentiles of the head's levels get these levels.
PERCENTILES = (2, 25, 50, 75, 98)
LEVELS = (20, 70, 100, 135, 230)


def check_steps(steps: list[str]) -> None:
    """Raises ValueError for a step that is not one of `STEPS`, or stands there twice."""
    if unknown := [step for step in steps if step not in STEPS]:
        raise ValueError(f"--standardize {unknown[0]}: expected {' or '.join(STEPS)}")
    if len(set(steps)) < len(steps):
        raise ValueError(f"--standardize {' '.join(steps)}: each step once")


def standardized(image: Image.Image, steps: list[str]) -> tuple[Image.Image, tuple[float, float, float]]:
    """`image` (mode L or RGB) after `steps`, and its new frame in the old one.

    crop: the square around the head, black where it reaches beyond the image. levels: the grey levels of the head by
    landmarks; air stays as it is.

    Returns:
        The image, and left, top and side of its square in pixels of the old image; of an uncropped one 0, 0 and 0.
    """
    left, top, side = 0, 0, 0
    if "crop" in steps:
        x0, y0, x1, y1 = head_box(np.asarray(image.convert("L")))
        side = round((1 + 2 * MARGIN) * max(x1 - x0, y1 - y0))
        left, top = (x0 + x1 - side) // 2, (y0 + y1 - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if "levels" in steps:
        grey = np.asarray(image.convert("L"))
        head = grey[grey > BACKGROUND]
        if len(head):
            marks = np.percentile(head, PERCENTILES)
            levels = np.interp(np.arange(256), [BACKGROUND, *marks, 255], [BACKGROUND, *LEVELS, 255])
            levels[: BACKGROUND + 1] = np.arange(BACKGROUND + 1)
            table = levels.round().astype(np.uint8).tolist()
            image = image.point(table * len(image.getbands()))
    return image, (left, top, side)


def standardize_files(table: pd.DataFrame, steps: list[str], outlines: pd.DataFrame | None) -> pd.DataFrame:
    """The staged files of a split table (see brainmri.data.checking) standardized in place, as PNG.

    outlines: columns path and polygon; moved along, in place. Returns the table with their new suffix and hash.
    """
    distinct = table.drop_duplicates("staged")
    with ThreadPoolExecutor() as pool:
        jobs = pool.map(lambda staged: _file(Path(staged), steps), distinct["staged"])
        found = list(tqdm(jobs, total=len(distinct), desc="standardizing", unit="image", disable=None))
    hashes = dict(zip(distinct["staged"], (digest for digest, _ in found), strict=True))
    if outlines is not None and "crop" in steps:
        frames = dict(zip(distinct["path"], (frame for _, frame in found), strict=True))
        kept = outlines["path"].isin(frames)
        outlines.loc[kept, "polygon"] = [
            _moved(text, *frames[path])
            for path, text in outlines.loc[kept, ["path", "polygon"]].itertuples(index=False)
        ]
    return table.assign(suffix=".png", sha256=table["staged"].map(hashes))


def _file(staged: Path, steps: list[str]) -> tuple[str, tuple[float, float, float, float, float]]:
    with Image.open(staged) as image:
        size = image.size
        changed, frame = standardized(image.convert("L" if image.mode == "L" else "RGB"), steps)
    buffer = io.BytesIO()
    changed.save(buffer, "PNG")
    staged.write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest(), (*frame, *size)


def _moved(polygon: str, left: float, top: float, side: float, width: float, height: float) -> str:
    corners = np.array(json.loads(polygon)) * (width, height)
    return json.dumps(((corners - (left, top)) / side).clip(0, 1).round(4).tolist())


BACKGROUND = 10  # levels up to here are air
SOLID = 30  # a head's outermost tissue, fat, is brighter; noise in air seldom is
SHARE = 0.03  # of a row's or column's pixels that are solid, where it crosses the head


def head_box(image: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is not air in a grey image (H, W); the whole of it where all is air."""
    solid = image > SOLID
    columns, rows = (np.flatnonzero(solid.mean(axis) > SHARE) for axis in (0, 1))
    if not len(columns) or not len(rows):
        return 0, 0, image.shape[1], image.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
