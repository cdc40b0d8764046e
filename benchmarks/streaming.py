"""What streaming costs: `python -m benchmarks.streaming SHARDS [--size 224]`, for docs/scale.md.

SHARDS: what `--data_dir` takes, a folder of Parquet shards or hf://datasets/OWNER/NAME. Prints bytes for each image,
processor seconds for each image (read, decoded and resized in one process: they hold on a busy machine too), and what
the order of an epoch of ten million images takes.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

from brainmri.data.shards import Group, Shards, open_shards
from brainmri.training.streaming import StreamedImages

MILLION = 1_000_000
ROWS = 100  # of a row group, as `datasets` writes images
SHARD_ROWS = 33_000  # images of 12 kB in a shard of 400 MiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards")
    parser.add_argument("--size", type=int, default=224)
    given = parser.parse_args()
    shards = open_shards(given.shards)
    reading(shards, given.size)
    ordering(shards, 10 * MILLION)


def reading(shards: Shards, size: int) -> None:
    """One epoch of the training split in this process."""
    images = StreamedImages(shards, np.arange(len(shards.classes)), size, 0)
    loader = images.loader(batch=32, accumulation=1, rank=0, processes=1, workers=0, pin_memory=False)
    started, wall = time.process_time(), time.perf_counter()
    seen = sum(len(batch["labels"]) for batch in loader)
    spent, wall = time.process_time() - started, time.perf_counter() - wall
    print(f"{seen} images at {size} px: {1e3 * spent / seen:.2f} ms of a processor each ({wall:.0f} s in all)")
    files = {group.file for group in shards.train_groups}
    if not shards.source.startswith("hf://"):
        print(f"{sum(map(os.path.getsize, files)) / len(images):,.0f} bytes of shard for each image")


def ordering(shards: Shards, count: int) -> None:
    """Order and cut an epoch of `count` images for 16 processes with 8 workers each."""
    groups = [Group(f"{row // SHARD_ROWS}", row // ROWS, row, ROWS) for row in range(0, count, ROWS)]
    images = StreamedImages.__new__(StreamedImages)
    images.__dict__ |= {"shards": Shards("", shards.info, {}), "augmentation_seed": 0, "epoch": 0}
    images.shards.__dict__["train_groups"] = groups
    started = time.process_time()
    pieces = images.pieces([count // 128] * 128)
    print(f"order of {count:,} images: {time.process_time() - started:.2f} s, {len(pieces)} pieces")


if __name__ == "__main__":
    main()
