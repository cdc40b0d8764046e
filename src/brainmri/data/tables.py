"""CSV tables that users give: labels (the layout `csv`), group ids, sites, and files to leave out."""

from __future__ import annotations

import csv
import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from brainmri.data.listing import list_files

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
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how files of Excel and its like begin
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# What others call these columns, without case and signs, for advice: what is meant is never guessed.
MEANT: Mapping[str, tuple[str, ...]] = {
    "file_name": ("file", "image", "imagename", "imagepath", "imageid", "img", "path", "filepath", "name"),
    "label": ("class", "classname", "diagnosis", "category", "target", "labels", "tumor", "tumour", "tumortype"),
    "group_id": ("group", "patient", "patientid", "subject", "subjectid", "participantid", "case", "caseid"),
    "patient": ("subject", "subjectid", "participantid", "participant", "case", "caseid", "id", "mrn", "groupid"),
    "site": ("hospital", "institution", "centre", "center", "scanner"),
}


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
    fitting = [file for file in files if has_labels(file)]
    if len(fitting) > 1:
        names = ", ".join(file.name for file in fitting)
        raise ValueError(f"{folder}: several CSV files have labels ({names}): give the one that is meant as the source")
    return fitting[0] if fitting else None


def has_labels(file: Path) -> bool:
    """Whether a CSV has the columns file_name and label."""
    return {"filename", "label"} <= set(map(_plain, _header(file)))


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
    given = read_csv(file, ("file_name", "label"), ("split", "group_id", "site"))
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


def read_exclusions(table: pd.DataFrame, file: Path) -> dict[str, str]:
    """Why files of `table` are to be left out, by path: the rows of a CSV `file_name` with or without a `reason`.

    Raises:
        ValueError: if a row names no file of the table (near matches are suggested), or a file stands there twice.
    """
    given = _of_files(table, file, ("file_name",), ("reason",))
    return dict(zip(given["file_name"], _optional(given, "reason"), strict=True))


def _by_path(table: pd.DataFrame, file: Path, column: str) -> pd.Series:
    given = _of_files(table, file, ("file_name", column))
    _complain(file, given["file_name"][given[column].str.strip() == ""], f"rows without a {column} (leave them out)")
    values = dict(zip(given["file_name"], given[column].str.strip(), strict=True))
    return table["path"].map(values).fillna("")


def _of_files(table: pd.DataFrame, file: Path, required: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """A CSV whose column file_name names files of `table`, each at most once."""
    given = read_csv(file, required, optional)
    known = set(table["path"])
    composed = {_composed(path): path for path in known}  # an accent may be a letter of its own in the one alone
    names = [name if name in known else composed.get(_composed(name), name) for name in given["file_name"]]
    given["file_name"] = names
    _complain(file, given["file_name"][given["file_name"].duplicated()], "file names that stand there more than once")
    unmatched = [name for name in names if name not in known]
    shown = [f"{name}{_suggestion(name, known)}" for name in unmatched[:SHOWN]]
    _complain(file, shown + unmatched[SHOWN:], "file names that are not in the source")
    return given


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def read_csv(file: Path, required: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """All columns as text. Those that are asked for are known whatever their case, spaces and signs are.

    Raises:
        ValueError: if it is not a CSV in UTF-8, lacks a column of `required` (says which ones it has, and which may be
            meant), or a row has more or fewer columns than the header.
    """
    _check_kind(file)
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True, delimiter=delimiter(file))
            header = list(reader.fieldnames or [])
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is not a CSV table in UTF-8: {error}") from error
    ragged = [number for number, row in enumerate(rows, start=2) if None in row or None in row.values()]
    known = {name: _column(name, header) for name in (*required, *optional)}
    if missing := [name for name in required if known[name] is None]:
        values = pd.DataFrame([row for row in rows if None not in row], columns=header, dtype=str)
        raise ValueError(f"{file}: no column {' and no column '.join(missing)}; {columns_of(values, missing)}")
    _complain(file, [f"row {number}" for number in ragged], f"rows that do not have {len(header)} columns")
    table = pd.DataFrame(rows, columns=header, dtype=str)
    return table.rename(columns={found: name for name, found in known.items() if found is not None})


def columns_of(table: pd.DataFrame, wanted: Sequence[str]) -> str:
    """Which columns a table has, and which of them may be the `wanted` ones: what is to be done.

    Where the first row seems to hold values, none is shown: they may be names of patients.
    """
    header = list(table.columns)
    if any(name and (name.replace(".", "").isdigit() or name in set(table[name])) for name in header):
        return f"its first row must hold the names of the columns ({', '.join(wanted)} among them), and holds values"
    text = f"its columns are: {', '.join(header) or 'none'}"
    meant = {name: next((one for one in header if _plain(one) in MEANT.get(name, ())), None) for name in wanted}
    told = [f"{found} to {name}" for name, found in meant.items() if found is not None]
    return text + f" (rename {' and '.join(told)}, if that is what is meant)" * bool(told)


def label_tables(folder: Path) -> dict[str, str]:
    """The CSV files in a folder that may hold its labels, by name, and what is to be said of their columns."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".csv") if folder.is_dir() else []
    told = {}
    for file in files[:SHOWN]:
        header = list(map(_plain, _header(file)))
        wanted = [name for name in ("file_name", "label") if _plain(name) not in header]
        told[file.name] = columns_of(_first_rows(file), wanted)
    return told


def _check_kind(file: Path) -> None:
    """Raises ValueError for what spreadsheet programs write that is no CSV in UTF-8."""
    with file.open("rb") as stream:
        first = stream.read(4)
    if first.startswith(SPREADSHEETS):
        raise ValueError(f"{file} is a spreadsheet or an archive, no CSV table: save the sheet as CSV (UTF-8)")
    if first.startswith(UTF_16):
        raise ValueError(f"{file} is a table in UTF-16, as spreadsheets export it: save it as CSV (UTF-8)")


def check_there(file: Path, root: Path, names: list[str]) -> None:
    """Raises ValueError where not one file that a table names is below `root`; says where they are, or what."""
    if not names or any((root / name).is_file() for name in names):
        return
    text = f"{file}: not one of the {len(names)} files that it names lies in {root}"
    if any((root / name).is_dir() for name in names):
        raise ValueError(
            f"{text}, but folders are called so: where they hold DICOM series or NIfTI volumes, use --layout dicom (or "
            f"nifti) and --labels {file}; of images, each row must name one file"
        )
    below = [found.relative_to(root).as_posix() for found in list_files(root)]
    inside = set(below)
    first = [found[: -len(names[0])] for found in below if found.endswith(f"/{names[0]}")]
    fits = {folder: sum(folder + name in inside for name in names) for folder in first}
    if fits:
        folder = max(fits, key=fits.__getitem__)
        raise ValueError(f"{text}; {fits[folder]} of them lie in {root / folder}: give that with --image_root")
    bare = {PurePosixPath(found).with_suffix("").as_posix(): PurePosixPath(found).suffix for found in below}
    if without := [name for name in names if name in bare]:
        raise ValueError(
            f"{text}; {len(without)} of them do but for their ending: write {without[0]}{bare[without[0]]} in the "
            f"place of {without[0]}"
        )
    there = f"It holds {len(below)} other files" + f", the first: {below[0]}" * bool(below)
    raise ValueError(f"{text}, the first: {names[0]}. {there}. File names are relative to that folder")


def _column(name: str, header: Sequence[str]) -> str | None:
    """What a table calls a column: so, or else in one way only that differs by case, spaces and signs."""
    alike = [one for one in header if _plain(one) == _plain(name)]
    return name if name in header else alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def _first_rows(file: Path) -> pd.DataFrame:
    """The header and what stands below it, as far as it can be read."""
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        rows = csv.DictReader(stream, delimiter=delimiter(file))
        header = list(rows.fieldnames or [])
        return pd.DataFrame([row for _, row in zip(range(100), rows, strict=False)], columns=header, dtype=str)


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
