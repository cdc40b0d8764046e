"""CSV tables that users give: labels (the layout `csv`) and group ids (`--groups`)."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

COLUMNS = ("path", "label", "source_split", "group", "site")  # of every layout's table, see brainmri.data.layouts
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
DELIMITERS = (",", ";", "\t")  # the first of those that are as frequent
LONGEST_HEADER = 2**16  # bytes
SHOWN = 5  # how many rows an error message lists


def find_label_csv(folder: Path) -> Path | None:
    """`metadata.csv`, else the only CSV of `folder` that has the columns file_name and label; None if there is none.

    Raises:
        ValueError: if several could be meant.
    """
    if (folder / "metadata.csv").is_file():
        return folder / "metadata.csv"
    files = sorted(
        entry for entry in folder.iterdir() if entry.suffix.lower() == ".csv" and not entry.name.startswith(".")
    )
    fitting = [file for file in files if {"file_name", "label"} <= set(_header(file))]
    if len(fitting) > 1:
        names = ", ".join(file.name for file in fitting)
        raise ValueError(f"{folder}: several CSV files have labels ({names}): give the one that is meant as the source")
    return fitting[0] if fitting else None


def read_label_csv(source: Path, image_root: Path | None = None) -> pd.DataFrame:
    """The table of the layout `csv`. `source`: the CSV, or the folder that holds it.

    Its columns are file_name and label, and, where wanted, split, group_id and site. A file_name is relative to
    `image_root`, or absolute and inside it; without one, relative to the CSV's folder.

    Raises:
        ValueError: if there is no such CSV, a column is missing, or a row is not usable (the first few are listed).
    """
    if not source.exists():
        raise ValueError(f"{source} does not exist")
    file = source if source.is_file() else find_label_csv(source)
    if file is None:
        raise ValueError(f"{source}: no CSV file with the columns file_name and label in it")
    given = read_csv(file, ("file_name", "label"))
    table = pd.DataFrame(
        {
            "path": given["file_name"].str.replace("\\", "/").map(lambda name: _below(name, image_root)),
            "label": given["label"].str.strip(),
            "source_split": _optional(given, "split").str.casefold(),
            "group": _optional(given, "group_id"),
            "site": _optional(given, "site"),
        }
    )
    unknown = ~table["source_split"].isin({"", *SPLIT_NAMES})
    _complain(
        file, given["split"][unknown] if unknown.any() else (), f"unknown splits (known: {', '.join(SPLIT_NAMES)})"
    )
    table["source_split"] = table["source_split"].map({"": "", **SPLIT_NAMES})
    outside = [name for name in table["path"] if _leads_outside(name)]
    where = "are not relative to the folder of the CSV (give the folder that they are in with --image_root)"
    _complain(file, outside, f"file names that {where if image_root is None else f'do not lie in {image_root}'}")
    _complain(file, table["path"][table["path"].duplicated()], "file names that stand there more than once")
    return table[list(COLUMNS)].sort_values("path", ignore_index=True)


def add_groups(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """`table` with the column `group` taken from a CSV `file_name,group_id`, where file_name is a `path` of the table.
    Files that the CSV does not name keep an empty group.

    Raises:
        ValueError: if a row names no file of the table (near matches are suggested), a file stands there twice, an id
            is empty, or the source already gave group ids.
    """
    if (table["group"] != "").any():
        raise ValueError(f"the source gives group ids itself: leave {file} out, or the column group_id of the source")
    return table.assign(group=_by_path(table, file, "group_id"))


def add_sites(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """As `add_groups`, for the column `site` and a CSV `file_name,site`: where each image comes from."""
    if (table["site"] != "").any():
        raise ValueError(f"the source gives sites itself: leave {file} out, or the column site of the source")
    return table.assign(site=_by_path(table, file, "site"))


def _by_path(table: pd.DataFrame, file: Path, column: str) -> pd.Series:
    given = read_csv(file, ("file_name", column))
    _complain(file, given["file_name"][given["file_name"].duplicated()], "file names that stand there more than once")
    _complain(file, given["file_name"][given[column].str.strip() == ""], f"rows without a {column} (leave them out)")
    known = set(table["path"])
    unmatched = [name for name in given["file_name"] if name not in known]
    shown = [f"{name}{_suggestion(name, known)}" for name in unmatched[:SHOWN]]
    _complain(file, shown + unmatched[SHOWN:], "file names that are not in the source")
    values = dict(zip(given["file_name"], given[column].str.strip(), strict=True))
    return table["path"].map(values).fillna("")


def read_csv(file: Path, required: Sequence[str]) -> pd.DataFrame:
    """All columns as text.

    Raises:
        ValueError: if it is not a CSV in UTF-8, lacks a column, or a row has more or fewer columns than the header.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True, delimiter=delimiter(file))
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is not a CSV table in UTF-8: {error}") from error
    header = list(reader.fieldnames or [])
    missing = [name for name in required if name not in header]
    if missing:
        raise ValueError(
            f"{file}: no column {' and no column '.join(missing)}; its columns are: {', '.join(header) or 'none'}"
        )
    ragged = [number for number, row in enumerate(rows, start=2) if None in row or None in row.values()]
    _complain(file, [f"row {number}" for number in ragged], f"rows that do not have {len(header)} columns")
    return pd.DataFrame(rows, columns=header, dtype=str)


def _header(file: Path) -> list[str]:
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        return next(csv.reader(stream, delimiter=delimiter(file)), [])


def delimiter(file: Path) -> str:
    """A comma, or the semicolon or tab that the first line has more of, as spreadsheets write it in many countries."""
    with file.open("rb") as stream:
        first = stream.readline(LONGEST_HEADER)
    return max(DELIMITERS, key=lambda sign: first.count(sign.encode()))


def _below(name: str, root: Path | None) -> str:
    """A path as the table has it: relative to `root` where it is absolute and lies in it."""
    if root is not None:
        for folder in (str(root), str(root.absolute())):
            above = folder.replace("\\", "/").rstrip("/") + "/"
            if name.startswith(above):
                return name.removeprefix(above)
    return name.removeprefix("./")


def _optional(given: pd.DataFrame, column: str) -> pd.Series:
    return given[column].str.strip() if column in given else pd.Series("", index=given.index, dtype=str)


def _leads_outside(name: str) -> bool:
    return name == "" or name.startswith("/") or name[1:2] == ":" or ".." in PurePosixPath(name).parts


def _suggestion(name: str, known: set[str]) -> str:
    same_end = sorted(path for path in known if PurePosixPath(path).name == PurePosixPath(name.replace("\\", "/")).name)
    near = same_end or difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _complain(file: Path, bad: Sequence[str] | pd.Series, what: str) -> None:
    if len(bad):
        listed = ", ".join(list(bad)[:SHOWN]) + (", ..." if len(bad) > SHOWN else "")
        raise ValueError(f"{file}: {len(bad)} {what}: {listed}")
