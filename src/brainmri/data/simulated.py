"""Which pictures were simulated: told by the generator's own record of them, never by a name.

A generator leaves `simulated.json` beside its pictures, with a hash of the pixels of each. A folder counts as simulated
only where all its pictures are among them: neither a copied record nor a mix makes patients' pictures simulated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

RECORD = "simulated.json"


def write_record(folder: Path, *, generator: str, version: int, seed: int, pictures: Mapping[str, str]) -> None:
    """Write `simulated.json` into the folder of a generator's pictures.

    Args:
        generator, version, seed: what made them.
        pictures: `brainmri.data.images.pixel_hash` of every picture, by its path in the folder.
    """
    record = {"generator": generator, "version": version, "seed": seed, "pictures": dict(sorted(pictures.items()))}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8", newline="\n")


def all_simulated(folder: Path, pixels: Iterable[str]) -> bool:
    """Whether the record in `folder` holds every one of these pictures; False without a record.

    pixels: `brainmri.data.images.pixel_hash` of each.

    Raises:
        ValueError: if `simulated.json` is not what `write_record` writes.
    """
    file = folder / RECORD
    if not file.is_file():
        return False
    try:
        made = set(json.loads(file.read_text(encoding="utf-8"))["pictures"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no record of simulated pictures: remove it, or make the pictures again") from error
    return made.issuperset(pixels)
