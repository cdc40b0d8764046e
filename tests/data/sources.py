"""Small sources made on the fly, for the tests of the data's way."""

import hashlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).parents[2]


def noise(seed: int, shape: tuple[int, ...] = (16, 16)) -> np.ndarray:
    """An image that resembles no other one: uint8."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(values: np.ndarray, file: Path, **options) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(file, **options)
    return file


def class_folders(root: Path, counts: dict[str, int], first_seed: int = 0, shape: tuple[int, ...] = (16, 16)) -> Path:
    """`counts`: folder -> number of PNGs, named after the folder and a number, all different."""
    seed = first_seed
    for folder, count in counts.items():
        for number in range(count):
            save(noise(seed, shape), root / folder / f"{Path(folder).name}_{number:02d}.png")
            seed += 1
    return root


def contents(root: Path) -> dict[str, str]:
    """SHA-256 of every file below `root`."""
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def command_line(*arguments: object) -> list[str]:
    return [sys.executable, str(REPOSITORY / "scripts/prepare_data.py"), *map(str, arguments)]


def workshop_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.brainmri-tmp")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())
