"""Folders that commands write: whole or not at all, and never over what was made of something else.

`made.json` in such a folder says which command made it, of which inputs (a digest of their content) and which files.
The same command on the same inputs makes it again; anything else needs another folder, or `--overwrite`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

RECORD = "made.json"
UNFINISHED = ".brainmri-"  # how folders begin whose files have not come to their place yet


def digest(*inputs: Any) -> str:
    """16 hex digits that tell inputs apart: anything that JSON can hold."""
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_of_files(*paths: Path) -> str:
    """The digest of the content of files, and of all files in folders with their names there."""
    found = []
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
            found.append([file.relative_to(path).as_posix(), content])
    return digest(*found)


def default_output(parent: Path, name: str, inputs: str) -> Path:
    """A folder in `parent` for these inputs alone: their name, made safe, and the start of their digest."""
    safe = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return parent / f"{safe}-{inputs[:8]}".lstrip("-")


def check_output(out: Path, command: str, parts: Mapping[str, str], *, overwrite: bool) -> None:
    """Refuse a folder that must not be written.

    Args:
        command: what writes. parts: the digest of the inputs of each thing that it makes, by name.
        overwrite: whether files may be replaced that were made of something else.

    Raises:
        ValueError: if `out` is a file, or holds something that is not this command's on these inputs.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: give another folder")
    if overwrite or not out.exists() or all(entry.name.startswith(UNFINISHED) for entry in out.iterdir()):
        return
    earlier = _read(out).get(command)
    if earlier is None:
        raise ValueError(
            f"{out} holds something that this command did not make: give another --out, or --overwrite to replace the "
            "files of the same names in it"
        )
    if other := [part for part, inputs in parts.items() if part in earlier and earlier[part]["inputs"] != inputs]:
        raise ValueError(
            f"{out} holds what was made of other inputs ({', '.join(other)}): give another --out, or --overwrite to "
            "replace it"
        )


@contextmanager
def output(out: Path, command: str, inputs: str, *, part: str = "all", overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into, whose files come into `out` when the block ends without an error; see `check_output`.

    What an earlier time made of the same part goes; whatever else lies in `out` stays.

    Args:
        part: of what the command makes, where it makes several things of different inputs in one folder.
    """
    check_output(out, command, {part: inputs}, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Inside a folder that is there already, which may be a file system of its own: files move within one only.
    with TemporaryDirectory(prefix=UNFINISHED, dir=out if out.exists() else out.parent) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        yield new
        files = sorted(file.relative_to(new).as_posix() for file in new.rglob("*") if file.is_file())
        out.mkdir(exist_ok=True)
        for name in _read(out).get(command, {}).get(part, {"files": []})["files"]:
            if name not in files and (out / name).resolve().is_relative_to(out.resolve()):
                (out / name).unlink(missing_ok=True)
        for name in files:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).replace(out / name)
        record_output(out, command, inputs, files, part=part)


def record_output(out: Path, command: str, inputs: str, files: list[str], *, part: str = "all") -> None:
    """Write into `made.json` of `out` that `command` made `files` there, as this part; its other parts stay."""
    record = _read(out)
    record[command] = record.get(command, {}) | {part: {"inputs": inputs, "files": files}}
    replace_text(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a text file in one step, so that the old one is whole until the new one is."""
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text(text, encoding="utf-8", newline="\n")
    unfinished.replace(path)


def _read(out: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """What `made.json` of `out` has, by command and part; nothing where there is no such record."""
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        return {
            command: {
                part: {"inputs": str(made["inputs"]), "files": list(made["files"])} for part, made in parts.items()
            }
            for command, parts in record.items()
        }
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}
