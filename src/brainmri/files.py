"""Files and folders that are whole or absent, whatever ends the program, and one writer at a time."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock, Timeout

from brainmri.errors import writing
from brainmri.schemas import Made, MadePart, json_text


def write_durably(path: Path, text: str) -> None:
    """Write `path` in one step: it holds the old text or the new one at any moment, and the disk has it in the end."""
    unfinished = path.with_name(f"{path.name}.tmp")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    windows = sys.platform == "win32"
    if windows and path.is_dir():  # which it cannot open
        return
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def check_output(
    out: Path, command: str, parts: Mapping[str, str], *, overwrite: bool, names: Collection[str] | None = None
) -> None:
    """Refuse a folder that must not be written.

    Args:
        command: what writes. parts: the digest of the inputs of each thing that it makes, by name.
        overwrite: whether files may be replaced that were made of something else.
        names: of all files that are written, where others may lie beside them; None refuses any other's folder.

    Raises:
        ValueError: if `out` is a file, or holds something that is not this command's on these inputs.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: give another folder")
    if overwrite or not out.exists():
        return
    there = [entry.name for entry in out.iterdir() if not entry.name.startswith(UNFINISHED)]
    there = there if names is None else [name for name in there if name in names]
    if not there:
        return
    earlier = _read(out).of(command)
    another = "another --out" if names is None else "an --out in another folder"
    if not earlier:
        which = "something" if names is None else ", ".join(sorted(there))
        raise ValueError(
            f"{_shown(out)} holds {which} that this command did not make: give {another}, or --overwrite to "
            "replace the files of the same names in it"
        )
    if other := [part for part, inputs in parts.items() if part in earlier and earlier[part].inputs != inputs]:
        raise ValueError(
            f"{_shown(out)} holds what was made of other inputs ({', '.join(sorted(there) if names else other)}): give "
            f"{another}, or --overwrite to replace it"
        )


def _shown(out: Path) -> str:
    """A folder as a message names it."""
    return "the folder of --out" if out == Path() else str(out)


@contextmanager
def output(
    out: Path,
    command: str,
    inputs: str,
    *,
    part: str = "all",
    overwrite: bool = False,
    names: Collection[str] | None = None,
) -> Iterator[Path]:
    """A folder to write into, whose files come into `out` when the block ends without an error; see `check_output`.

    What an earlier time made of the same part goes; whatever else lies in `out` stays.

    Args:
        part: of what the command makes, where it makes several things of different inputs in one folder.
        names: of all files, where they may lie among others (see `check_output`).
    """
    check_output(out, command, {part: inputs}, overwrite=overwrite, names=names)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Inside a folder that is there already, which may be a file system of its own: files move within one only.
    with TemporaryDirectory(prefix=UNFINISHED, dir=out if out.exists() else out.parent) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        yield new
        files = sorted(file.relative_to(new).as_posix() for file in new.rglob("*") if file.is_file())
        out.mkdir(exist_ok=True)
        before = _read(out).of(command).get(part)
        for name in before.files if before else []:
            if name not in files and (out / name).resolve().is_relative_to(out.resolve()):
                (out / name).unlink(missing_ok=True)
        for name in files:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).replace(out / name)
        record_output(out, command, inputs, files, part=part)


def made_before(out: Path, command: str, inputs: str, *, part: str = "all") -> bool:
    """Whether `command` made this part of these inputs there, and all of its files still stand there."""
    made = _read(out).of(command).get(part)
    return made is not None and made.inputs == inputs and all((out / name).is_file() for name in made.files)


def record_output(out: Path, command: str, inputs: str, files: list[str], *, part: str = "all") -> None:
    """Write into `made.json` of `out` that `command` made `files` there, as this part; its other parts stay."""
    record = _read(out)
    own = record.of(command) | {part: MadePart(inputs=inputs, files=files)}
    replace_text(out / RECORD, json_text(record.model_copy(update={command: own})))


def replace_text(path: Path, text: str) -> None:
    """Write a text file in one step, so that the old one is whole until the new one is."""
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text(text, encoding="utf-8", newline="\n")
    unfinished.replace(path)


def _read(out: Path) -> Made:
    """`made.json` of `out`; an empty record where there is none."""
    try:
        return Made.model_validate_json((out / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # pydantic's error is a ValueError
        return Made()


FOLDER = "finishing"


@contextmanager
def finishing(run_dir: Path) -> Iterator[Path]:
    """A folder inside `run_dir` to write every file of a finished run into; at the end they move up.

    A run killed meanwhile has no `result.json`, and its checkpoints are all there. So where `result.json` stands,
    everything else does, and is of the same training.
    """
    with writing(run_dir):
        made = run_dir / FOLDER
        shutil.rmtree(made, ignore_errors=True)  # of a run that was killed here
        made.mkdir(parents=True)
        yield made
        files = sorted(path for path in made.rglob("*") if path.is_file() and path != made / "result.json")
        for path in (*files, made / "result.json"):
            sync(path)
        (run_dir / "result.json").unlink(missing_ok=True)  # of the same run, trained again from one of its checkpoints
        for path in (*files, made / "result.json"):
            place = run_dir / path.relative_to(made)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
            sync(place.parent)
        shutil.rmtree(made)


def is_finished(run_dir: Path) -> bool:
    """Whether a run came to its end there: `result.json`, which is written last, and the report stand there."""
    return (run_dir / "result.json").is_file() and (run_dir / "report.html").is_file()


ORPHANS_S = 20  # in which the helpers of a killed run, which share its lock, notice that it is gone


class WriterLock:
    """Held for `folder`, from `take` to `release`. Its file lies beside the folder, which may be moved meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        absolute = folder.resolve()
        self.file = absolute.with_name(f".{absolute.name}.lock")
        self.lock = FileLock(self.file)

    def take(self) -> None:
        """Take the lock, or say who has it.

        Raises:
            ValueError: if another run holds it.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        holder = self._holder()
        try:
            self.lock.acquire(timeout=ORPHANS_S if holder and _is_gone(holder) else 0)
        except Timeout as error:
            who = "another run"
            if holder:
                who += f" (process {holder['process']} on {holder['host']}, since {holder['since']})"
            raise ValueError(
                f"{who} is writing {self.folder} at this moment: wait for it, or give another --output_dir"
            ) from error
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        with suppress(OSError):  # where a locked file cannot be written (Windows), nobody learns who holds it
            self.file.write_text(
                json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since}), encoding="utf-8"
            )

    def release(self) -> None:
        """Let others have it; without effect where it is not held."""
        self.lock.release()

    def _holder(self) -> dict[str, Any] | None:
        with suppress(OSError, ValueError):
            found = json.loads(self.file.read_text(encoding="utf-8"))
            if isinstance(found, dict) and found.keys() == {"process", "host", "since"}:
                return found
        return None


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether the process that took the lock last has ended, as far as this machine can tell."""
    if holder["host"] != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(int(holder["process"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
