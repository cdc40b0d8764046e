"""A split table -> the files of a prepared folder: images, index.csv, rejected.csv, dataset.json, README.md and
croissant.json.

The folder is made beside its final place and moved there when it is whole, so that nobody ever sees half of it.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import pandas as pd
import yaml
from filelock import FileLock, Timeout

from brainmri.data.constants import SCHEMES
from brainmri.data.croissant import CROISSANT, write_folder_croissant
from brainmri.data.dataset import OUTLINES, SPLITS, is_prepared
from brainmri.data.listing import list_files
from brainmri.data.provenance import ORIGINS
from brainmri.schemas import DatasetInfo, ScanSettings, json_text
from brainmri.wording import counted

INDEX_COLUMNS = ["file_name", "label", "split", "group_id", "duplicate_id", "site", "source"]
UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')  # not allowed in names on Windows
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # nor these as the whole stem
# `datasets` takes a folder name with one of these words in it for a split, and skips names that begin with . or __
SPLIT_WORD = re.compile(
    r"(?:^|[-._ 0-9])(train|training|validation|valid|dev|val|test|testing|eval|evaluation)(?:$|[-._ 0-9])"
)
NUMBERED = re.compile(r"[^/]+/[^/]+/\d{5,}(-\d+)?\.(jpg|png)")  # as `name_files` names them
LONGEST_NAME = 60  # characters, of up to 4 bytes each; most file systems take 255 bytes


def check_labels(labels: Iterable[str]) -> None:
    """Raises ValueError if a label cannot be the name of a class folder everywhere, or two differ in case only."""
    seen: dict[str, str] = {}
    for label in sorted(set(labels)):
        if (
            UNSAFE.search(label)
            or DEVICES.fullmatch(label)
            or label != label.strip().rstrip(".")
            or len(label) > LONGEST_NAME
        ):
            raise ValueError(f"the label {label!r} cannot be a folder name on every system: rename it")
        if label.startswith((".", "__")):
            raise ValueError(
                f"the label {label!r} begins with . or __, and such folders are skipped by readers: rename it"
            )
        if SPLIT_WORD.search(label):
            raise ValueError(f"the label {label!r} would be taken for the name of a split by `datasets`: rename it")
        if label.casefold() in seen:
            raise ValueError(f"the labels {seen[label.casefold()]!r} and {label!r} differ in case only: make them one")
        seen[label.casefold()] = label


def name_files(table: pd.DataFrame) -> list[str]:
    """A file name, relative to the prepared folder, for each row of a split table.

    It is made of the split, the label, a number and the suffix of the content. The number is the place of the source's
    path among all, numbers in it taken as numbers; names of files may be names of patients, and these go into every
    table of predictions and into what is published. An image that is repeated gets -2, -3, ..., in the order of the
    rows.
    """
    places = {path: place for place, path in enumerate(sorted(set(table["path"]), key=_by_number), 1)}
    copies: Counter[str] = Counter()
    names = []
    for split, label, path, suffix in table[["split", "label", "path", "suffix"]].itertuples(index=False):
        stem = f"{split}/{label}/{places[path]:05d}"
        copies[stem] += 1
        names.append(f"{stem}-{copies[stem]}{suffix}" if copies[stem] > 1 else f"{stem}{suffix}")
    return names


def _by_number(path: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)]


def write_images(out: Path, table: pd.DataFrame) -> None:
    """Put the staged files of `table` (columns staged, file_name) in their places; a repeated one is copied."""
    for folder in {PurePosixPath(name).parent for name in table["file_name"]}:
        (out / folder).mkdir(parents=True)
    needed_again = table["staged"].duplicated(keep="last")
    for staged, name, again in zip(table["staged"], table["file_name"], needed_again, strict=True):
        if again:
            shutil.copyfile(staged, out / name)
        else:
            Path(staged).rename(out / name)


def write_tables(out: Path, table: pd.DataFrame, rejected: pd.DataFrame, info: DatasetInfo) -> None:
    """index.csv, rejected.csv, README.md, croissant.json and, last of all, dataset.json."""
    index = table.rename(columns={"path": "source"}).sort_values("file_name")[INDEX_COLUMNS]
    for name, frame in (("index.csv", index), ("rejected.csv", rejected)):
        frame.to_csv(out / name, index=False, encoding="utf-8", lineterminator="\n")
    _write_text(out / "README.md", data_card(info, rejected))
    write_folder_croissant(out, info)
    _write_text(out / "dataset.json", json_text(info))


def counts_table(counts: dict[str, dict[str, int]], classes: list[str]) -> list[list[str]]:
    """Rows of text: a heading, one row per class, the total; columns: class, the three splits, all."""
    rows = [["class", *SPLITS, "all"]]
    for name in classes:
        numbers = [counts[split][name] for split in SPLITS]
        rows.append([name, *map(str, numbers), str(sum(numbers))])
    totals = [sum(counts[split].values()) for split in SPLITS]
    return [*rows, ["all", *map(str, totals), str(sum(totals))]]


def split_statement(info: DatasetInfo) -> str:
    if not info.leaky:
        return f"No group stands in more than one split ({info.groups} groups)."
    return (
        f"LEAKY: {info.groups_across_splits} of {info.groups} groups stand in more than one split, so that "
        "images to be tested have close relatives among those to learn from. Accuracies on this split are too high."
    )


def origin_statement(info: DatasetInfo) -> str:
    """Where the images come from, as far as it was recorded, and what is known of their licence."""
    if info.simulated:
        return "The images are simulated (phantom set): no figure measured on them is a clinical one."
    if info.origin is None:
        return (
            "Their origin was not recorded (`prepare_data.py --origin NAME` does), and their licence is not known to "
            "the program: look it up at their source."
        )
    licence = ORIGINS[info.origin].licence
    known = "is not known to the program: look it up at their source" if licence is None else f"is stated as {licence}"
    return f"Their origin was recorded as `{info.origin}` by whoever prepared them; the licence of that set {known}."


def data_card(info: DatasetInfo, rejected: pd.DataFrame) -> str:
    """The README.md of a prepared folder."""
    front = {
        "license": "unknown",
        "pretty_name": info.name,
        "task_categories": ["image-classification"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": split, "path": f"{split}/**"} for split in SPLITS]}
        ],
    }
    heading, *rows = counts_table(info.counts, info.classes)
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    sections = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {info.name}",
        f"MRI slices for image classification, prepared by `brainmri` from a source of the layout `{info.layout}`. "
        f"{origin_statement(info)}",
        table,
        f"Split `{info.split}` ({drawn_by(info)}): {SCHEMES[info.split]}. "
        + (f"All images with `{info.holdout}` are in test. " if info.holdout else "")
        + f"{split_statement(info)} "
        "A group holds the images of one patient, as far as given patient ids and the likeness of the images tell.",
        f"{info.distinct_images} distinct images; the largest group has {info.largest_group} images; "
        f"{len(info.contradictory_images)} images occur under more than one label.",
        _scans_statement(info),
        f"{info.rejected} files {'and slices ' if info.settings.scans else ''}of the source were rejected"
        + f", and {counted(info.settings.excluded_images, 'image')} left out" * bool(info.settings.excluded_images)
        + (", listed with the reasons in `rejected.csv`:" if len(rejected) else "."),
        "\n".join(f"- {reason}: {count}" for reason, count in rejected["reason"].value_counts().head(10).items()),
        '```python\nfrom datasets import load_dataset\n\nload_dataset("imagefolder", data_dir="THIS_FOLDER")\n```',
        f"Fingerprint: `{info.fingerprint}`",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


SHOWN = 10  # names that a note lists


def scan_notes(settings: ScanSettings | None) -> list[str]:
    """What whoever uses slices of scans must know; nothing of images."""
    if settings is None:
        return []
    notes = []
    if settings.left_out_slices:
        notes.append(
            f"{settings.left_out_slices} slices of scans with a mask are left out: they show no lesion, or less "
            f"than {settings.lesion_area_mm2:g} mm² of it."
        )
    notes += [f"{count} of {counted(settings.scans, 'scan')}: {note}" for note, count in sorted(settings.notes.items())]
    if settings.burnt_in_scans:
        notes.append(
            f"{settings.burnt_in_scans} of {settings.scans} scans may show texts in their pixels, as their headers say "
            "(burnt-in annotations, secondary captures): look at them before anybody else does. By the column source "
            f"of index.csv they are {', '.join(settings.burnt_in[:SHOWN])}" + ", ..." * (len(settings.burnt_in) > SHOWN)
        )
    return notes


def drawn_by(info: DatasetInfo) -> str:
    return f"seed {info.split_seed}" if info.test_fold is None else f"fold {info.test_fold} tests"


def _scans_statement(info: DatasetInfo) -> str:
    scans = info.settings.scans
    if scans is None:
        return ""
    text = (
        f"The images are slices of {scans.scans} scans (plane: {scans.plane}; slices: {scans.slices}). Patients are "
        "known by keyed hashes; no name, id, date or text of a scan is kept."
    )
    return " ".join([text, *scan_notes(scans)])


def _write_text(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")


TABLES = ("dataset.json", "index.csv", "rejected.csv", "README.md", CROISSANT)  # beside the images


def check_output(out: Path, overwrite: bool) -> None:
    """Refuse an `out` that must not be written.

    Raises:
        ValueError: if it is a file, if it exists and `overwrite` is not set, or if it holds something else than a
            prepared data set: all of it goes when it is replaced.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out} is a file: expected a folder that does not exist yet")
    if any(out.iterdir()) and not is_prepared(out):
        raise ValueError(f"{out} exists, is no prepared data set and is never replaced: choose another folder")
    if not overwrite:
        raise ValueError(f"{out} exists already: choose another folder, or replace it with --overwrite")
    if strangers := _strangers(out):
        raise ValueError(
            f"{out} holds {strangers[0]} ({len(strangers)} such files), which is no part of the prepared data set and "
            "would be lost: move it elsewhere, or choose another folder"
        )


def _strangers(out: Path) -> list[str]:
    """Files in a folder with `dataset.json` and `index.csv` that no preparation wrote, as far as the index tells."""
    if not any(out.iterdir()):
        return []
    try:
        names = pd.read_csv(out / "index.csv", dtype=str, keep_default_na=False)["file_name"]
    except (ValueError, KeyError):  # an index.csv of something else
        names = pd.Series(dtype=str)
    own = {*names, *TABLES, OUTLINES}
    found = (file.relative_to(out).as_posix() for file in list_files(out))
    return [name for name in found if name not in own]


@contextmanager
def workshop(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out`, gone at the end. What a killed run left there is cleaned up first.

    Raises:
        ValueError: if another process is working on the same `out`.
    """
    folder = out.with_name(f"{out.name}.brainmri-tmp")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"another run is preparing {out} at this moment: wait for it") from error
    try:
        _tidy(folder, out)
        yield folder
    finally:
        _tidy(folder, out)
        lock.release()
        (folder / "lock").unlink(missing_ok=True)
        with suppress(OSError):  # another run may have begun to work there since the release
            folder.rmdir()


def install(new: Path, out: Path, overwrite: bool) -> None:
    """Move the finished folder `new` (inside the workshop of `out`) to `out`, replacing an old one if `overwrite`."""
    check_output(out, overwrite)
    if out.exists():
        out.rename(new.with_name("old"))
    new.rename(out)


def _tidy(folder: Path, out: Path) -> None:
    """Remove what was made there, by name: nothing is deleted that this module did not make."""
    if (folder / "old").exists() and not out.exists():
        (folder / "old").rename(out)  # stopped between the two steps of `install`
    for name in ("new", "staged", "old"):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
