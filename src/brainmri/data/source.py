"""The prepared data of a run, whatever the user pointed at: nothing, a raw folder or a prepared one."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from pathlib import Path

from brainmri.data.cache import cache_folder
from brainmri.data.dataset import PreparedData, is_prepared, open_prepared
from brainmri.suggestions import did_you_mean, paths_like

logger = logging.getLogger(__name__)


def prepared_data(data_dir: str | None, split: str, *, insist: bool) -> PreparedData:
    """Open `data_dir`; a raw folder, or the phantom set where it is None, is prepared once into the cache.

    split: how a raw folder is split. insist: whether a prepared folder must be split that way too.

    Raises:
        ValueError: if the folder does not exist, cannot be prepared, or is split in another way.
    """
    if data_dir is None:
        return open_prepared(_phantom(split))
    folder = Path(data_dir)
    if not folder.exists():
        meant = did_you_mean([str(path) for path in paths_like(folder)])
        raise ValueError(f"--data_dir {data_dir}: no such folder{meant}")
    if not is_prepared(folder):
        return open_prepared(_prepared_once(folder, split))
    data = open_prepared(folder)
    if insist and data.info["split"] != split:
        raise ValueError(
            f"the published protocol of this recipe needs the split {split!r}, but {data_dir} was prepared with "
            f"{data.info['split']!r}: prepare it with --split {split}, or give the raw folder"
        )
    return data


def _phantom(split: str) -> Path:
    from brainmri.data.phantom import PHANTOM_VERSION, make_phantom  # late: a prepared folder needs neither
    from brainmri.data.prepare import PREPARE_VERSION, prepare

    root = cache_folder() / f"phantom-v{PHANTOM_VERSION}.{PREPARE_VERSION}"
    ready = root / split
    if is_prepared(ready):
        return ready
    root.mkdir(parents=True, exist_ok=True)
    logger.info(
        "No --data_dir was given: making the simulated phantom set (no figure measured on it is a clinical one)."
    )
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        raw = make_phantom(Path(scratch) / "phantom")
        return prepare(
            raw,
            ready,
            layout="imagefolder",
            split=split,
            groups=raw / "groups.csv",
            outlines=raw / "outlines.csv",
            name="phantom",
        )


def _prepared_once(folder: Path, split: str) -> Path:
    """The key holds every file's name, size and time of change, so a changed folder is prepared again."""
    from brainmri.data.outlines import beside
    from brainmri.data.prepare import PREPARE_VERSION, prepare

    files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]
    files += [file] if (file := beside(folder)) else []
    listing = "\n".join(f"{p.as_posix()} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files)
    key = hashlib.sha256(f"{PREPARE_VERSION}\n{folder.resolve()}\n{split}\n{listing}".encode()).hexdigest()[:16]
    ready = cache_folder() / "prepared" / key
    if is_prepared(ready):
        logger.info("%s is a raw folder; it was prepared before: %s", folder, ready)
        return ready
    logger.info("%s is a raw folder: preparing it once, split %r, into %s", folder, split, ready)
    return prepare(folder, ready, split=split, name=folder.resolve().name)
