"""Training images read from Parquet shards while they are trained on; nothing of them stays on the disk.

Each epoch has an order of its own. It is cut into as many equal pieces as processes (times their workers) read, to the
row: `datasets` gives each its piece, and every image comes once, but for less than one global batch that waits for
another epoch, as in any training here. `check_streaming` says before any work what such a run cannot do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from brainmri.data.shards import BLOCK, Group, Shards, decoded, read_group
from brainmri.environment import available_cpus
from brainmri.io.decode import resized
from brainmri.transforms.config import PARAMETER_COUNT

if TYPE_CHECKING:
    import datasets

    from brainmri.data.dataset import PreparedData
    from brainmri.recipe import Recipe
    from brainmri.training.arguments import RunArguments

BUFFER = 1024  # encoded images of which the next one is drawn at random: about 12 MB in each worker
Part = tuple[Group, int, int]  # rows first..last-1 of a row group
Piece = tuple[Part, ...]


def class_of(shards: Shards, data: PreparedData) -> np.ndarray:
    """For each stored label the number of its class in `data`, whose classes may have been merged; int64.

    Raises:
        ValueError: if `data` has no image of a class.
    """
    folders = data.index["file_name"].str.split("/").str[1]
    stored = dict(zip(folders, data.index["label"], strict=True))
    if missing := [name for name in shards.classes if name not in stored]:
        raise ValueError(f"{shards.source}: validation and test hold no image of {', '.join(missing)}")
    return np.array([data.classes.index(stored[name]) for name in shards.classes], np.int64)


class StreamedImages:
    """The training split of `shards`.

    class_of: the number of a stored label among the classes that are trained. size: of the images, in pixels;
    `sizes`, where set, has one for each epoch. augmentation_seed: of the order and of the random numbers.
    """

    def __init__(self, shards: Shards, class_of: np.ndarray, size: int, augmentation_seed: int) -> None:
        self.shards, self.class_of, self.size = shards, class_of, size
        self.augmentation_seed = augmentation_seed
        self.sizes: Sequence[int] = ()
        self.count = sum(group.rows for group in shards.train_groups)
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """Take the order, the random numbers and the size of `epoch` (counted from 0)."""
        self.epoch = epoch
        if self.sizes:
            self.size = self.sizes[min(epoch, len(self.sizes) - 1)]

    def order(self) -> list[Group]:
        """This epoch's order of the row groups: shards by chance, `BLOCK` of them at a time, their groups mixed."""
        generator = np.random.default_rng([self.augmentation_seed, self.epoch, 3])
        by_file: dict[str, list[Group]] = {}
        for group in self.shards.train_groups:
            by_file.setdefault(group.file, []).append(group)
        files = [list(by_file)[k] for k in generator.permutation(len(by_file))]
        mixed: list[Group] = []
        for start in range(0, len(files), BLOCK):
            groups = [group for file in files[start : start + BLOCK] for group in by_file[file]]
            mixed += [groups[k] for k in generator.permutation(len(groups))]
        return mixed

    def pieces(self, rows: Sequence[int]) -> list[Piece]:
        """This epoch's order cut into pieces of so many rows each; what is left over is in none."""
        groups, pieces = iter(self.order()), []
        group, first = next(groups), 0
        for wanted in rows:
            parts: list[Part] = []
            while wanted:
                if first == group.rows:
                    group, first = next(groups), 0
                taken = min(wanted, group.rows - first)
                parts.append((group, first, first + taken))
                first += taken
                wanted -= taken
            pieces.append(tuple(parts))
        return pieces

    def loader(
        self, *, batch: int, accumulation: int, rank: int, processes: int, workers: int, pin_memory: bool
    ) -> DataLoader[Any]:
        """The batches of one process; all have as many, a multiple of `accumulation`, in every epoch.

        Raises:
            ValueError: if there are fewer images than one global batch.
        """
        steps = self.count // (batch * accumulation * processes) * accumulation
        if not steps:
            raise ValueError(
                f"{self.count} training images are fewer than one global batch of "
                f"{batch * accumulation * processes}: give a smaller --per_device_train_batch_size"
            )
        readers = min(max(workers, 1), steps)
        share = [steps // readers + (worker < steps % readers) for worker in range(readers)]
        batches = StreamedBatches(self, batch, share, rank, processes)
        return DataLoader(batches, batch_size=None, num_workers=readers if workers else 0, pin_memory=pin_memory)

    def sample(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        """`pixel_values` uint8 (1 or 3, size, size), `labels`, `positions`, `uniform` (DRAWS,) of a stored row."""
        numbers = np.random.default_rng([self.augmentation_seed, self.epoch, 4, row["row"]])
        return {
            "pixel_values": resized(decoded(row["image"]["bytes"], row["file_name"]), self.size),
            "labels": self.class_of[row["label"]],
            "positions": np.int64(row["row"]),
            "uniform": numbers.random(PARAMETER_COUNT, dtype=np.float32),
        }


class StreamedBatches(IterableDataset[dict[str, torch.Tensor]]):
    """Whole batches of one process, in the shapes of `brainmri.training.batches.SliceBatches`.

    share: the number of batches that each of its workers gives (its own, where it has none).
    """

    def __init__(self, images: StreamedImages, batch: int, share: Sequence[int], rank: int, processes: int) -> None:
        self.images, self.batch, self.share = images, batch, share
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return sum(self.share)

    def stream(self) -> datasets.IterableDataset:
        """What this process reads in the images' epoch: stored rows."""
        from datasets import IterableDataset as Stream
        from datasets.distributed import split_dataset_by_node

        # Node r takes pieces r, r + processes, ...: its first worker the first of them, and so on.
        rows = [batches * self.batch for batches in self.share for _ in range(self.processes)]
        pieces = self.images.pieces(rows)
        stream = Stream.from_generator(_rows, gen_kwargs={"pieces": pieces})
        return split_dataset_by_node(stream, self.rank, self.processes)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        held: list[dict[str, np.ndarray]] = []
        for row in self._mixed(self.stream()):
            held.append(self.images.sample(row))
            if len(held) == self.batch:
                yield _joined(held)
                held = []

    def _mixed(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows by chance from a buffer. (Shuffling by `datasets` would give the pieces to other processes.)"""
        worker = get_worker_info()
        images = self.images
        place = [images.augmentation_seed, images.epoch, 5, self.rank, worker.id if worker else 0]
        generator = np.random.default_rng(place)
        held: list[dict[str, Any]] = []
        for row in rows:
            if len(held) < BUFFER:
                held.append(row)
                continue
            chosen = generator.integers(BUFFER)
            yield held[chosen]
            held[chosen] = row
        yield from (held[k] for k in generator.permutation(len(held)))


def _rows(pieces: list[Piece]) -> Iterator[dict[str, Any]]:
    for piece in pieces:
        for group, first, last in piece:
            yield from read_group(group, first, last)


def _joined(samples: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    if any(len(sample["pixel_values"]) > 1 for sample in samples):
        for sample in samples:
            sample["pixel_values"] = np.broadcast_to(sample["pixel_values"], (3, *sample["pixel_values"].shape[1:]))
    return {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}


MOST_READERS = 8  # worker processes for each process of the training, unless more are asked for


def check_streaming(run: RunArguments, recipe: Recipe, given: dict[str, Any]) -> None:
    """See that recipe and flags go with images that pass once in each epoch, in an order of their own.

    Raises:
        ValueError: naming the flag or the override of the recipe that makes them go.
    """
    taken = recipe.augmentations().as_read
    views = [number for number, stage in enumerate(recipe.stages) if stage.cached_views]
    persistent = (recipe.training_arguments | given).get("dataloader_persistent_workers")
    refused = [
        (recipe.oversample, "oversample repeats images", "--recipe oversample=false"),
        (
            recipe.duplicate_aware_sampling,
            "duplicate_aware_sampling chooses among the files of an image",
            "--recipe duplicate_aware_sampling=false",
        ),
        (
            recipe.hard_example_share < 1,
            "hard_example_share chooses among the images",
            "--recipe hard_example_share=1",
        ),
        (
            taken,
            f"{', '.join(taken)} need outlines or other training images",
            " ".join(["--recipe", *(f"augmentation.{name}=0" for name in taken)]),
        ),
        (
            views,
            "cached_views keeps features of every image",
            " ".join(["--recipe", *(f"stages.{number}.cached_views=null" for number in views)]),
        ),
        (run.folds is not None, "--folds divides the images anew", "leave it out"),
        (run.evaluate_train, "--evaluate_train reads the images once more", "leave it out"),
        (persistent, "dataloader_persistent_workers would repeat the first epoch's order", "leave it out"),
    ]
    for found, reason, remedy in refused:
        if found:
            raise ValueError(f"--data_dir {run.data_dir} is streamed, and {reason}: {remedy}")


def readers(local_processes: int) -> int:
    """How many worker processes read and decode for each process of the training."""
    return max(1, min(MOST_READERS, available_cpus() // local_processes))
