"""A prepared folder, opened: as a table, as a `datasets.DatasetDict`, as rows to oversample, or with two classes."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brainmri.data.masks import Polygon, read_polygons
from brainmri.errors import did_you_mean, paths_like, reading
from brainmri.schemas import DatasetInfo, Unit, read

if TYPE_CHECKING:
    from datasets import DatasetDict

logger = logging.getLogger(__name__)
SPLITS = ("train", "validation", "test")
OUTLINES = "outlines.csv"
AGAIN = "Prepare the data again with this version (brainmri prepare_data SOURCE OUT)."
COLUMNS = ("file_name", "label", "split", "group_id", "duplicate_id", "site", "source")  # of index.csv


@dataclass(frozen=True)
class PreparedData:
    """A prepared data set, as `brainmri.prepare` gives it.

    Attributes:
        root: the folder.
        index: `index.csv`, every column as text.
        info: `dataset.json`.
        classes: the label names in the order of their numbers (the sorted order that `datasets` gives a `ClassLabel`).
        streamed: whether the training images are not in the folder, but read from their shards as they are needed;
            `info` then counts them, and `index` lacks them.
    """

    root: Path
    index: pd.DataFrame = field(repr=False)
    info: DatasetInfo = field(repr=False)
    classes: list[str]
    streamed: bool = False

    def rows(self, split: str) -> np.ndarray:
        """Positions in `index` of the images of `split`, int64."""
        return np.flatnonzero(self.index["split"].to_numpy() == split)

    def patient_unit(self) -> Unit:
        """What a group is: a "patient" where the source named that of every image, else a "group"."""
        images = sum(number for counts in self.info.counts.values() for number in counts.values())
        return "patient" if self.info.simulated or self.info.settings.images_with_given_group >= images else "group"

    def outlines(self) -> dict[str, list[Polygon]]:
        """The outlines of tumours, by `source`; none where the folder has no `outlines.csv`."""
        file = self.root / OUTLINES
        return read_polygons(file) if file.is_file() else {}

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Class numbers (int64) of the images at `rows`."""
        number = {name: position for position, name in enumerate(self.classes)}
        return self.index["label"].iloc[rows].map(number).to_numpy(np.int64)


def split_counts(index: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many rows of each label each split has; a split without any is there too."""
    table = pd.crosstab(index["split"], index["label"]).reindex(list(SPLITS), fill_value=0)
    return {str(split): {str(label): int(number) for label, number in row.items()} for split, row in table.iterrows()}


def fingerprint(table: pd.DataFrame) -> str:
    """16 hex digits that change with any name, label, split, group or byte of the images."""
    rows = sorted(table[["file_name", "label", "split", "group_id", "sha256"]].itertuples(index=False, name=None))
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()[:16]


def fingerprint_of_files(root: Path, index: pd.DataFrame) -> str:
    """The fingerprint of a prepared folder from its files as they are now; reads all of them."""
    hashes = []
    for name in index["file_name"]:
        with (root / name).open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return fingerprint(index.assign(sha256=hashes))


def derived_fingerprint(fingerprint: str, change: str) -> str:
    """The fingerprint of a prepared data set after a change that needs no other folder."""
    return hashlib.sha256(f"{fingerprint} {change}".encode()).hexdigest()[:16]


def is_prepared(root: Path) -> bool:
    """Whether `root` is a folder that `prepare` finished (its `dataset.json` is written last)."""
    return (root / "dataset.json").is_file() and (root / "index.csv").is_file()


def open_prepared(root: Path | str) -> PreparedData:
    """Open a prepared folder.

    `simulated` is true in its `info` only where `dataset.json` says so and the files are still those that it was
    written for.

    Raises:
        ValueError: if the folder is not a prepared one, is of another schema version, or lacks a file of its index.
    """
    root = Path(root)
    if not root.exists():
        raise ValueError(f"{root}: no such folder{did_you_mean([str(path) for path in paths_like(root)])}")
    if not is_prepared(root):
        raise ValueError(
            f"{root} is not a prepared data set (no dataset.json and index.csv): run brainmri prepare_data"
        )
    info = read(root / "dataset.json", DatasetInfo, AGAIN)
    with reading(root / "index.csv"):
        index = pd.read_csv(root / "index.csv", dtype=str, keep_default_na=False)
    if lacking := [name for name in COLUMNS if name not in index]:
        raise ValueError(f"{root}: index.csv lacks {', '.join(lacking)}. {AGAIN}")
    missing = [name for name in index["file_name"] if not (root / name).is_file()]
    if missing:
        raise ValueError(
            f"{root}: {len(missing)} files of index.csv are missing, {missing[0]} the first: prepare it again"
        )
    if info.simulated and fingerprint_of_files(root, index) != info.fingerprint:
        logger.warning("%s: its files are not those that were simulated, so they count as images of patients.", root)
        info = info.model_copy(update={"simulated": False})
    return PreparedData(root, index, info, list(info.classes))


def without_sources(data: PreparedData) -> DatasetInfo:
    """What `dataset.json` says, with the names that the images have here in place of those of the source.

    Of an image that is in no split the name is left out.
    """
    names = dict(zip(data.index["source"], data.index["file_name"], strict=True))
    doubtful = [[names[source] for source in sources if source in names] for sources in data.info.contradictory_images]
    return data.info.model_copy(update={"contradictory_images": doubtful})


def load_prepared(root: Path | str) -> DatasetDict:
    """The prepared folder as a `DatasetDict` with `image`, `label` (ClassLabel), `file_name` and `group_id`.

    A plain `load_dataset("imagefolder", data_dir=root)` reads the same images and labels; this keeps the groups too.
    """
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

    data = open_prepared(root)
    features = Features(
        {
            "image": Image(),
            "label": ClassLabel(names=data.classes),
            "file_name": Value("string"),
            "group_id": Value("string"),
        }
    )
    splits = {}
    for split in SPLITS:
        table = data.index.iloc[data.rows(split)]
        columns = {
            "image": [str(data.root / name) for name in table["file_name"]],
            "label": table["label"].tolist(),
            "file_name": table["file_name"].tolist(),
            "group_id": table["group_id"].tolist(),
        }
        splits[split] = Dataset.from_dict(columns, features=features)
    return DatasetDict(splits)


def oversampled(rows: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Repeat `rows` so that every class has as many as the largest one; the extra ones are drawn with replacement.

    Every original row is kept, and the largest class is untouched. `labels`: class numbers of `rows`.
    """
    generator = np.random.default_rng(seed)
    counts = np.bincount(labels)
    extra = [
        generator.choice(rows[labels == label], counts.max() - counts[label], replace=True)
        for label in np.flatnonzero(counts)
    ]
    return np.concatenate([rows, *extra])


# Labels of images without a tumour, as `plain_name` has them.
WITHOUT_TUMOR = {"notumor", "notumour", "nontumor", "nontumour", "healthy", "normal", "no", "negative"}
NAME_SUFFIX = ", two classes"  # of the name of a data set whose classes were merged


def as_binary(data: PreparedData, positive: list[str] | None) -> PreparedData:
    """`data` with two classes, the negative one first; one that has two already stays as it is.

    positive: the labels to merge; by default all but the one whose name says that there is no tumour. The images and
    their splits stay; the fingerprint changes, so that figures on two classes are never mixed with others.

    Raises:
        ValueError: if a label is unknown, none or all are named, or no label says that there is no tumour.
    """
    if positive is None:
        if len(data.classes) == 2:
            return data
        negative = class_without_tumour(data.classes)
        if negative is None:
            raise ValueError(
                f"two classes are needed and the data has {', '.join(data.classes)}: say with --positive which count "
                "as positive"
            )
        positive = [name for name in data.classes if name != negative]
    if unknown := [name for name in positive if name not in data.classes]:
        raise ValueError(f"--positive {' '.join(unknown)}: the classes are {', '.join(data.classes)}")
    chosen = [name for name in data.classes if name in positive]
    rest = [name for name in data.classes if name not in positive]
    if not chosen or not rest:
        raise ValueError(f"--positive: name some of the classes {', '.join(data.classes)}, but not all")
    classes = [" or ".join(rest), " or ".join(chosen)]
    index = data.index.assign(label=data.index["label"].map(lambda name: classes[name in chosen]))
    counts = {
        split: {
            classes[0]: sum(data.info.counts[split][name] for name in rest),
            classes[1]: sum(data.info.counts[split][name] for name in chosen),
        }
        for split in SPLITS
    }
    info = {
        "name": data.info.name + NAME_SUFFIX,
        "fingerprint": merged_fingerprint(data.info.fingerprint, classes),
        "classes": classes,
        "counts": counts,
    }
    return replace(data, index=index, info=data.info.model_copy(update=info), classes=classes)


def plain_name(name: str) -> str:
    """The name of a class without what people write differently: case, spaces, dashes and underscores."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def class_without_tumour(classes: list[str]) -> str | None:
    """The one label whose name says that there is no tumour; None if there is not exactly one."""
    found = [name for name in classes if plain_name(name) in WITHOUT_TUMOR]
    return found[0] if len(found) == 1 else None


def merged_fingerprint(fingerprint: str, classes: list[str]) -> str:
    """The fingerprint of a data set whose labels were merged into `classes`."""
    return derived_fingerprint(fingerprint, str(classes))
