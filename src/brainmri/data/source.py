"""The prepared data of a run, whatever the user pointed at: nothing, a raw folder or a prepared one."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from brainmri.data.dataset import PreparedData, fingerprint, is_prepared, open_prepared
from brainmri.data.file_digests import file_digests
from brainmri.data.layouts import detect_layout, read_layout
from brainmri.data.listing import list_files
from brainmri.data.storage import SET_CACHE, alone, cache_folder
from brainmri.errors import did_you_mean, paths_like, writing
from brainmri.io.open import is_archive

logger = logging.getLogger(__name__)


def prepared_data(data_dir: str | None, split: str, *, insist: bool) -> PreparedData:
    """Open `data_dir`; a raw folder, or the phantom set where it is None, is prepared once into the cache.

    split: how a raw folder is split. insist: whether a prepared folder must be split that way too.

    Raises:
        ValueError: if the folder does not exist, cannot be prepared, or is split in another way.
    """
    if data_dir is None:
        return _as_it_is(open_prepared(_phantom(split)))
    folder = Path(data_dir)
    if not folder.exists():
        meant = did_you_mean([str(path) for path in paths_like(folder)])
        raise ValueError(f"--data_dir {data_dir}: no such folder{meant}")
    if not is_prepared(folder):
        return _as_it_is(open_prepared(_prepared_once(folder, split)))
    data = open_prepared(folder)
    if insist and data.info.split != split:
        raise ValueError(
            f"the published protocol of this recipe needs the split {split!r}, but {data_dir} was prepared with "
            f"{data.info.split!r}: prepare it with --split {split}, or give the raw folder"
        )
    return _as_it_is(data)


def _as_it_is(data: PreparedData) -> PreparedData:
    """`data` with the fingerprint of its files as they are, which is another one where they were edited."""
    digests = file_digests(data.root, data.index["file_name"].tolist())
    now, recorded = fingerprint(data.index.assign(sha256=digests)), data.info.fingerprint
    if now == recorded:
        return data
    logger.warning(
        "The files of %s are not those that were prepared (fingerprint %s): figures on them have the fingerprint %s.",
        *(data.root, recorded, now),
    )
    return replace(data, info=data.info.model_copy(update={"fingerprint": now}))


def _phantom(split: str) -> Path:
    from brainmri.data.phantom.generate import PHANTOM_VERSION, make_phantom  # late: a prepared folder needs neither
    from brainmri.data.prepare import PREPARE_VERSION, prepare

    root = cache_folder() / f"phantom-v{PHANTOM_VERSION}.{PREPARE_VERSION}"
    ready = root / split
    if is_prepared(ready):
        return ready
    with _one_at_a_time(ready, "the phantom set"), writing(root, instead=SET_CACHE):
        if is_prepared(ready):
            return ready  # of another process
        logger.info(
            "No --data_dir was given: making the simulated phantom set (no figure measured on it is a clinical one)."
        )
        scratch = root / f"{split}.unfinished"
        shutil.rmtree(scratch, ignore_errors=True)  # of a killed one
        try:
            raw = make_phantom(scratch / "phantom")
            return prepare(
                raw,
                ready,
                layout="imagefolder",
                split=split,
                groups=raw / "groups.csv",
                outlines=raw / "outlines.csv",
                name="phantom",
            )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _prepared_once(folder: Path, split: str) -> Path:
    """Kept by the name and the bytes of every file, so that a folder that changed in any way is prepared again."""
    from brainmri.data.masks import beside
    from brainmri.data.prepare import PREPARE_VERSION, prepare

    root = folder if folder.is_dir() else folder.parent
    if folder.is_file() and is_archive(folder):
        names = [folder.name]
    elif folder.is_dir():
        names = [file.relative_to(root).as_posix() for file in list_files(root)]
    else:
        listed = read_layout(folder, detect_layout(folder))["path"]
        names = [folder.name, *(name for name in listed if (root / name).is_file())]
    listing = [*zip(names, file_digests(root, names), strict=True)]
    if file := beside(folder):
        listing.append((file.name, file_digests(file.parent, [file.name])[0]))
    key_of = json.dumps([PREPARE_VERSION, str(folder.resolve()), split, listing])
    ready = cache_folder() / "prepared" / hashlib.sha256(key_of.encode()).hexdigest()[:16]
    with _one_at_a_time(ready, str(folder)), writing(ready.parent, instead=SET_CACHE):
        if is_prepared(ready):
            logger.info("%s is a raw folder; it was prepared before: %s", folder, ready)
        else:
            logger.info("%s is a raw folder: preparing it once, split %r, into %s", folder, split, ready)
            prepare(folder, ready, split=split, name=folder.resolve().name)
    return ready


def _one_at_a_time(ready: Path, what: str) -> AbstractContextManager[None]:
    ready.parent.mkdir(parents=True, exist_ok=True)
    return alone(ready.with_name(f"{ready.name}.lock"), f"Another process is preparing {what}: waiting for it.")
