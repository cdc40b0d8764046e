"""Each image decoded and resized once, into a memory-mapped uint8 array shared by processes and runs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from brainmri.data.dataset import SPLITS, PreparedData, load_prepared


def cache_folder() -> Path:
    """Where caches live: `$BRAINMRI_CACHE`, else `~/.cache/brainmri`."""
    return Path(os.environ.get("BRAINMRI_CACHE", "~/.cache/brainmri")).expanduser()


def pixel_cache(data: PreparedData, size: int) -> np.ndarray:
    """Memory-mapped uint8 array (N, size, size, 3), RGB, in the order of `data.index`; built where it is not there yet.

    Resizing is torchvision's antialiased bilinear one on uint8 tensors, the same that the saved image processor does,
    so that a published pipeline sees the pixels that the model was trained on. The file is written beside its final
    name and renamed, so a killed or a second writer does no harm.
    """
    path = cache_folder() / "pixels" / f"{data.info['fingerprint']}-{size}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.stem}.{os.getpid()}.tmp")
        try:
            _write(data, size, unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def _write(data: PreparedData, size: int, path: Path) -> None:
    from torchvision.transforms.v2 import functional

    shape = (len(data.index), size, size, 3)
    pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    splits = load_prepared(data.root)
    with tqdm(total=len(data.index), desc=f"decoding to {size}x{size}", unit="image") as progress:
        for split in SPLITS:
            for row, image in zip(data.rows(split), splits[split]["image"], strict=True):
                tensor = functional.pil_to_tensor(image.convert("RGB"))
                resized = functional.resize(tensor, [size, size], antialias=True)
                pixels[row] = resized.permute(1, 2, 0).numpy()
                progress.update()
    pixels.flush()
