"""A prepared set as Parquet shards, on the Hub or in a folder: one that is too large for a machine's disks.

`publish.py dataset` makes them. Training images are streamed (`brainmri.training.streaming`); validation and test, and
a few training images for figures and the OOD detector, are read once into the cache.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from PIL import Image
from tqdm.auto import tqdm

from brainmri.data.constants import HUB
from brainmri.data.dataset import SPLITS, PreparedData, derived_fingerprint, is_prepared, open_prepared
from brainmri.data.storage import cache_folder
from brainmri.errors import reading, wrong_revision
from brainmri.io.limits import MAX_PIXELS
from brainmri.schemas import DatasetInfo, as_record, write

logger = logging.getLogger(__name__)
SAMPLE = 1000  # training images that are read into the cache, for figures and the OOD detector
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")  # of images in prepared folders
BLOCK = 16  # shards that a process reads by turns
FILE = re.compile(r"data/(train|validation|test)-\d+-of-\d+\.parquet")


@dataclass(frozen=True)
class Group:
    """Some consecutive rows of a shard, which are read at once. first_row: of the split."""

    file: str
    number: int
    first_row: int
    rows: int


@dataclass(frozen=True)
class Shards:
    """source: the folder, or the repository with its commit. info: `dataset.json`. files: of each split, in order."""

    source: str
    info: DatasetInfo
    files: dict[str, list[str]]

    @property
    def classes(self) -> list[str]:
        return list(self.info.classes)

    @cached_property
    def train_groups(self) -> list[Group]:
        """All row groups of the training split, from the shards' ends alone."""
        return self.groups("train")

    def groups(self, split: str) -> list[Group]:
        """The row groups of a split.

        Raises:
            ValueError: if a shard is no Parquet file of a prepared set, or they hold another number of images than
                `dataset.json` says.
        """
        found: list[Group] = []
        row = 0
        for file in self.files[split]:
            with _parquet(file) as parquet:
                if missing := {"image", "label", "file_name", "group_id"} - set(parquet.schema_arrow.names):
                    raise ValueError(f"{file}: no column {', '.join(sorted(missing))}: not made by publish.py dataset")
                sizes = [parquet.metadata.row_group(k).num_rows for k in range(parquet.num_row_groups)]
            for number, rows in enumerate(sizes):
                found.append(Group(file, number, row, rows))
                row += rows
        expected = sum(self.info.counts[split].values())
        if row != expected:
            raise ValueError(f"{self.source}: {row} {split} images in its shards, {expected} in its dataset.json")
        return found


def is_sharded(data_dir: str | None) -> bool:
    """Whether `--data_dir` names shards: on the Hub, or the tree that publish.py writes of a data set."""
    if data_dir is None:
        return False
    return data_dir.startswith(HUB) or (
        (Path(data_dir) / "dataset.json").is_file() and any(Path(data_dir).glob("data/train-*.parquet"))
    )


def open_shards(data_dir: str) -> Shards:
    """Find the shards of `hf://datasets/OWNER/NAME[@REVISION]` or of a folder; on the Hub one commit is kept to.

    Raises:
        ValueError: if the repository or the revision is not there, or holds no prepared set.
    """
    if data_dir.startswith(HUB):
        root, names, text = _on_the_hub(data_dir)
    else:
        folder = Path(data_dir).resolve()
        root, names = str(folder), sorted(path.relative_to(folder).as_posix() for path in folder.glob("data/*.parquet"))
        text = (folder / "dataset.json").read_text(encoding="utf-8")
    files: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in sorted(names):
        if match := FILE.fullmatch(name):
            files[match[1]].append(f"{root}/{name}")
    if absent := [split for split in SPLITS if not files[split]]:
        raise ValueError(f"--data_dir {data_dir}: no data/{absent[0]}-*.parquet: not made by publish.py dataset")
    place = f"--data_dir {data_dir}: dataset.json"
    with reading(place):
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it is not that of a prepared set")
    info = as_record(content, DatasetInfo, place, "Prepare and publish the data again with this version.")
    sums = [sum(info.counts.get(split, {}).values()) for split in SPLITS]
    if bad := [name for name in info.classes if not _plain(name)] or not all(sums):
        raise ValueError(f"--data_dir {data_dir}: its dataset.json has an empty split or an odd class name ({bad})")
    return Shards(root, info, files)


def _on_the_hub(data_dir: str) -> tuple[str, list[str], str]:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    repo, _, revision = data_dir.removeprefix(HUB).rstrip("/").partition("@")
    try:
        found = HfApi().dataset_info(repo, revision=revision or None)
        names = [one.rfilename for one in found.siblings or []]
        file = hf_hub_download(repo, "dataset.json", repo_type="dataset", revision=found.sha)
    except (HfHubHTTPError, EntryNotFoundError, HFValidationError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code not in (401, 404):
            raise
        if wrong := wrong_revision(repo, revision, "dataset"):
            raise ValueError(f"--data_dir {data_dir}: {wrong}") from error
        if isinstance(error, EntryNotFoundError):
            raise ValueError(f"--data_dir {data_dir}: no dataset.json: not made by publish.py dataset") from error
        raise ValueError(
            f"--data_dir {data_dir}: no such data set on the Hub, or it is private and HF_TOKEN may not read it"
        ) from error
    return f"{HUB}{repo}@{found.sha}", names, Path(file).read_text(encoding="utf-8")


def local_part(shards: Shards) -> PreparedData:
    """Validation and test, and `SAMPLE` training images, as a prepared folder in the cache; read once.

    Its fingerprint is its own, for the caches that are made from it; `as_published` gives the set's.

    Raises:
        ValueError: if the cache's disk has no room for them, or an image or a name is not what a prepared set has.
    """
    key = hashlib.sha256(json.dumps([shards.source, shards.info.as_json(), shards.files]).encode()).hexdigest()[:16]
    folder = cache_folder() / "streamed" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not is_prepared(folder):
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            try:
                _write_local(shards, unfinished)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return open_prepared(folder)


def as_published(data: PreparedData, shards: Shards) -> PreparedData:
    """`data` under the whole set's name, fingerprint and counts; `streamed` says that training is not in it."""
    return replace(data, info=shards.info, streamed=True)


def _write_local(shards: Shards, folder: Path) -> None:
    wanted = {split: shards.groups(split) for split in ("validation", "test")}
    order = np.random.default_rng(0).permutation(len(shards.train_groups))
    sample, rows = [], 0
    for position in order:
        if rows >= SAMPLE:
            break
        sample.append(shards.train_groups[position])
        rows += sample[-1].rows
    wanted["train"] = sample
    needed = sum(_stored_bytes(group) for groups in wanted.values() for group in groups)
    if needed > shutil.disk_usage(folder).free:
        raise ValueError(
            f"validation and test need {needed / 1e9:.1f} GB in {cache_folder()}, more than is free: set "
            "BRAINMRI_CACHE to a larger disk, or prepare the set with smaller --val and --test"
        )
    table: list[dict[str, Any]] = []
    total = sum(group.rows for groups in wanted.values() for group in groups)
    with tqdm(total=total, desc="reading validation and test", unit="image") as progress:
        for split, groups in wanted.items():
            for group in groups:
                for row in read_group(group):
                    name = _checked_name(row["file_name"], split, shards)
                    decoded(row["image"]["bytes"], name)
                    path = folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(row["image"]["bytes"])
                    label = PurePosixPath(name).parts[1]
                    own = {key: value or "" for key, value in row.items() if key not in ("image", "label")}
                    # The names in the source stay with whoever published the set.
                    table.append({"source": name} | own | {"file_name": name, "label": label, "split": split})
                    progress.update()
    index = pd.DataFrame(table)
    first = ["file_name", "label", "split", "group_id"]
    index = index[[*first, *(name for name in index.columns if name not in first)]].sort_values("file_name")
    index.to_csv(folder / "index.csv", index=False, lineterminator="\n")
    part = derived_fingerprint(shards.info.fingerprint, "the part that is not streamed")
    write(shards.info.model_copy(update={"fingerprint": part}), folder / "dataset.json")


def read_group(group: Group, first: int = 0, last: int | None = None) -> Iterator[dict[str, Any]]:
    """Rows first..last-1 of a row group as they are stored, the images encoded; `row` is the row of the split."""
    table = _kept_open(group.file, os.getpid()).read_row_group(group.number)
    for place, row in enumerate(table.slice(first, None if last is None else last - first).to_pylist()):
        yield row | {"row": group.first_row + first + place}


@lru_cache(maxsize=BLOCK)
def _kept_open(file: str, process: int) -> Any:
    """A shard that is read from again and again; each process has its own place in it."""
    return _parquet(file).__enter__()


def decoded(data: bytes, name: str) -> Image.Image:
    """An image of a prepared set from its bytes.

    Raises:
        ValueError: if it is none, or one of more pixels than are prepared.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels")
        image.load()
    except Exception as error:  # Pillow raises a dozen types for broken files
        raise ValueError(f"{name}: an image of the streamed data set cannot be read ({error})") from error
    return image


def _checked_name(name: Any, split: str, shards: Shards) -> str:
    """The file's name, which a stranger may have chosen, if it is split/label/name and nothing else."""
    parts = str(name).split("/")
    if len(parts) != 3 or parts[0] != split or parts[1] not in shards.classes or not _plain(parts[2]):
        raise ValueError(f"{shards.source}: {name!r} is no file name of a prepared set (split/label/name)")
    return str(name)


def _plain(part: Any) -> bool:
    return isinstance(part, str) and part not in ("", ".", "..") and not set(part) & set("/\\:\0")


def _stored_bytes(group: Group) -> int:
    with _parquet(group.file) as parquet:
        return int(parquet.metadata.row_group(group.number).total_byte_size)


class _parquet:  # noqa: N801 - used like the function that it nearly is
    """`with _parquet(path_or_url) as file:` a `pyarrow.parquet.ParquetFile`.

    Raises:
        ValueError: if it is none.
    """

    def __init__(self, file: str) -> None:
        self.file = file

    def __enter__(self) -> Any:
        import fsspec
        import pyarrow
        from pyarrow import parquet

        system, path = fsspec.core.url_to_fs(self.file)
        self.opened = system.open(path, "rb")
        try:
            return parquet.ParquetFile(self.opened)
        except pyarrow.ArrowInvalid as error:
            self.opened.close()
            raise ValueError(f"{self.file}: no Parquet file") from error

    def __exit__(self, *_: Any) -> None:
        self.opened.close()
