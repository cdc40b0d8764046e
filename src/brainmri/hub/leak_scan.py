"""Traces of the machine that made a file: absolute paths and the name of its user."""

from __future__ import annotations

import mmap
import os
import re
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

# What holds the user's own words. Cards, pages and code are made from these and from templates, whose words may be
# somebody's name ("max", "will").
DATA_SUFFIXES = {".json", ".yaml", ".csv"}
TEXT_SUFFIXES = DATA_SUFFIXES | {".md", ".txt", ".py", ".html", ".jinja", ".css", ".js", ".toml", ".typed", ".cff"}
TEXT_NAMES = {"LICENSE"}  # files without a suffix
# In text: two parts or more behind what can stand before a path. A comma does too, but not that of "base64,/9j/...".
POSIX_PATH = r"(?:^|(?<=[\s\"'`=(\[>:])|(?<=[^4],))/(?:[\w.@+-]+/)+[\w.@+-]*"
WINDOWS_PATH = r"(?<![A-Za-z])[A-Za-z]:\\{1,2}(?:[\w.@+ -]+\\{1,2})+[\w.@+-]*"
FILE_URL = r"file://[\w./@+-]+"
ABSOLUTE_PATH = re.compile(f"{POSIX_PATH}|{WINDOWS_PATH}|{FILE_URL}", re.MULTILINE)
# In other files, where chance makes short ones: home folders, or three parts and 24 characters.
ABSOLUTE_PATH_IN_BYTES = re.compile(rb"/(?:home|Users)/[\w.-]{2,}/|(?=[\w./-]{24})(?:/[\w.-]{2,}){3,}")
# Names that say nothing of a person, and are words of other meanings.
COMMON_USERS = {
    "root",
    "user",
    "admin",
    "ubuntu",
    "debian",
    "runner",
    "docker",
    "jovyan",
    "test",
    "data",
    "app",
    "nobody",
}
# Folders of every Linux, and addresses of a server that code may name.
OF_EVERY_MACHINE = ("/proc/", "/sys/", "/dev/", "/usr/", "/etc/", "/gradio_api/", "/tree/")


def leaks(path: Path, allowed: str = "") -> list[str]:
    """The traces found in a file, at most three. allowed: a user name that may stand there (the account's)."""
    if path.stat().st_size == 0:
        return []
    if path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES:
        text = path.read_text(encoding="utf-8")
        return _first(chain(_paths(text), _names(text, allowed) if path.suffix in DATA_SUFFIXES else []))
    if path.suffix == ".parquet":
        return _first(trace for text in _texts_of_parquet(path) for trace in chain(_paths(text), _names(text, allowed)))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _first(_in_bytes(content))


def without_paths(value: Any) -> Any:
    """The same JSON value, each absolute path in its texts cut down to its last part."""
    if isinstance(value, dict):
        return {key: without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_paths(inner) for inner in value]
    return ABSOLUTE_PATH.sub(_last_part, value) if isinstance(value, str) else value


def _last_part(found: re.Match[str]) -> str:
    path = found.group()
    if path.startswith(OF_EVERY_MACHINE):
        return path
    return PureWindowsPath(path).name if "\\" in path else PurePosixPath(path).name


def _paths(text: str) -> Iterator[str]:
    yield from (found for found in ABSOLUTE_PATH.findall(text) if not found.startswith(OF_EVERY_MACHINE))
    yield from (place for place in _places() if place in text)


def _names(text: str, allowed: str) -> Iterator[str]:
    for user in _users() - COMMON_USERS - {allowed}:
        if re.search(rf"\b{re.escape(user)}\b", text):
            yield f"the user name {user}"


def _in_bytes(content: mmap.mmap) -> Iterator[str]:
    yield from (found.group().decode("utf-8", "replace") for found in ABSOLUTE_PATH_IN_BYTES.finditer(content))
    yield from (place for place in _places() if content.find(place.encode()) >= 0)


def _users() -> set[str]:
    named = {os.environ.get(variable, "") for variable in ("USER", "LOGNAME", "USERNAME")}
    return {name for name in named | {Path.home().name} if len(name) > 2}


def _places() -> list[str]:
    """Folders of this machine that may stand in a file, but for those too short to mean one."""
    places = {str(Path.home()), str(Path.cwd()), tempfile.gettempdir()}
    return sorted(place for place in places if len(Path(place).parts) > 2)


def _texts_of_parquet(path: Path) -> Iterator[str]:
    import pyarrow as pa
    from pyarrow import parquet

    schema = parquet.read_schema(path)
    columns = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    table = parquet.read_table(path, columns=columns)
    for column in table.itercolumns():
        yield "\n".join(text for text in column.unique().to_pylist() if text)


def _first(found: Iterator[str]) -> list[str]:
    return [trace for trace, _ in zip(found, range(3), strict=False)]
