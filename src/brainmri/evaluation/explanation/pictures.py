"""The pictures whose maps are drawn, as the network sees them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from brainmri.data.cache import PixelCache, pixel_cache
from brainmri.data.dataset import open_prepared
from brainmri.models.preprocessing import Normalization, normalized
from brainmri.training.recipe import Recipe


@dataclass(frozen=True)
class Pictures:
    """table: `file_name`, `source`, `label` and `group_id` of each. cache: their pixels, at `rows`.

    normalize: the formula by which the network gets them. among: how many they were chosen from.
    """

    table: pd.DataFrame
    cache: PixelCache
    rows: NDArray[np.int64]
    normalize: Normalization
    among: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def side(self) -> int:
        return int(self.cache.first.shape[-1])

    def chosen(self, which: NDArray[np.int64]) -> Pictures:
        """Those at the positions `which`."""
        return replace(self, table=self.table.iloc[which].reset_index(drop=True), rows=self.rows[which])

    def network_input(self, which: slice) -> torch.Tensor:
        """Float (B, 3, side, side)."""
        return normalized(torch.from_numpy(self.cache.read(self.rows[which])).float(), self.normalize)

    def brightness(self, which: slice) -> NDArray[np.float64]:
        """(B, side, side), the mean of the channels, 0..255."""
        return np.asarray(self.cache.read(self.rows[which]).mean(axis=1, dtype=np.float64))


def of_test_split(run_dir: Path, data_dir: Path, recipe: Recipe, outlined: Collection[str] | None = None) -> Pictures:
    """The test images that a run was scored on; with `outlined` only those whose `source` is in it.

    Raises:
        ValueError: if `data_dir` is no prepared folder, does not hold those images, none of them is outlined, or the
            run has no test split.
    """
    data = open_prepared(data_dir)
    predictions = pd.read_csv(run_dir / "predictions.csv", dtype=str, keep_default_na=False)
    names = predictions.loc[predictions["split"] == "test", "file_name"]
    if names.empty:
        raise ValueError(f"{run_dir}: this run was not scored on a test split: leave the study `maps` out")
    rows = pd.Index(data.index["file_name"]).get_indexer(pd.Index(names))
    if (rows < 0).any():
        raise ValueError(
            f"{data_dir} is not the data that {run_dir} was scored on: it has no {names[rows < 0].iloc[0]}"
        )
    among = len(rows)
    if outlined is not None:
        rows = rows[data.index["source"].iloc[rows].isin(outlined).to_numpy()]
        if not len(rows):  # said before a picture is decoded
            raise ValueError(
                f"none of the {len(outlined):,} outlined pictures ({next(iter(outlined))!r}, ...) is among the "
                f"{among:,} test images: a path must be that of the column `source` of the data's index.csv"
            )
    table = data.index.iloc[rows][["file_name", "source", "label", "group_id"]].reset_index(drop=True)
    cache = pixel_cache(data, recipe.input.size)
    return Pictures(table, cache, rows.astype(np.int64), recipe.input.normalize, among)


def of_one_image(image: NDArray[np.uint8], name: str, recipe: Recipe) -> Pictures:
    """One picture, uint8 (side, side, 3), of which neither class nor group are known."""
    table = pd.DataFrame({"file_name": [name], "source": "", "label": "", "group_id": ""})
    channels = np.ascontiguousarray(image.transpose(2, 0, 1))[None]
    cache = PixelCache(channels[:, 0], channels, np.zeros(1, np.int64))
    return Pictures(table, cache, np.zeros(1, np.int64), recipe.input.normalize, 1)
