"""Faults that a user can mend, whatever exception a library makes of them, and a sentence for each.

A caller that knows more than the exception (which flags, which step) adds it with `error.add_note`.
"""

from __future__ import annotations

import errno
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What stands in the messages of those that raise no OSError: safetensors; then torch.save, whose archive comes out
# shorter than it should; then numpy, which counts.
FULL_TEXT = re.compile(
    r"os error (28|122)|No space left|quota exceeded|inline_container.*(unexpected pos|file write failed)"
    r"|basic_ios::clear|PytorchStreamWriter failed|\d+ requested and \d+ written",
    re.IGNORECASE | re.DOTALL,
)
MEMORY_TEXT = re.compile(r"can't allocate memory|out of memory|Failed to allocate memory", re.IGNORECASE)
GLOO_TEXT = re.compile(
    r"Connection closed by peer|caused pair closure|Connection reset by peer|Broken pipe|Timed out waiting"
    r"|Connect timeout|gloo::",
    re.IGNORECASE,
)


class NoSpaceError(OSError):
    """A full disk: where, and how much is free."""


def disk_is_full(error: BaseException) -> bool:
    """Whether a file could not be written for want of space."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return type(error).__name__ in ("SafetensorError", "RuntimeError", "OSError") and bool(FULL_TEXT.search(str(error)))


def out_of_memory(error: BaseException) -> bool:
    """Whether numpy, torch (on a GPU or a CPU) or ONNX Runtime could not have the memory that they asked for."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(MEMORY_TEXT.search(str(error)))  # torch.OutOfMemoryError too


def lost_process(error: BaseException) -> bool:
    """Whether torch.distributed says that another process does not answer."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return False
    if isinstance(error, torch.distributed.DistError):  # NCCL's, and those of the store
        return True
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return distributed and bool(GLOO_TEXT.search(str(error)))


def sentence(error: BaseException) -> str | None:
    """What is to be said of `error`, with its notes; None for one that is no fault of its user's or the machine's."""
    if out_of_memory(error):
        asked = re.search(r"allocate ([\d.]+ ?\w+)", str(error))
        text = "out of memory" + (f" (another {asked[1]} were needed)" if asked else "")
        notes = getattr(error, "__notes__", None) or ["close other programs, or use a machine that has more"]
        return ": ".join([text, *notes])
    if lost_process(error):
        return " ".join(["another process of this training ended", *getattr(error, "__notes__", [])])
    if disk_is_full(error) and not isinstance(error, NoSpaceError):
        place = Path(_named(error) or tempfile.gettempdir())
        error = NoSpaceError(_full(place))
    if not isinstance(error, (ValueError, OSError)):
        return None
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return " ".join(" ".join([text, *getattr(error, "__notes__", [])]).split("\n"))


@contextmanager
def writing(folder: Path | str, needed: int | None = None, instead: str = "write elsewhere") -> Iterator[None]:
    """Whatever a full disk makes the libraries inside raise becomes one sentence.

    Args:
        folder: what is written into, which need not exist yet.
        needed: bytes that it takes, where that is known.
        instead: what helps besides freeing space.

    Raises:
        NoSpaceError: if there is no space for a file.
    """
    try:
        yield
    except NoSpaceError:
        raise
    except Exception as error:
        if not disk_is_full(error):
            raise
        named = _named(error)
        # Libraries write through the temporary folder too, and few say where.
        places = [Path(named)] if named else [Path(folder), Path(tempfile.gettempdir())]
        raise NoSpaceError(_full(min(places, key=free_bytes), needed, instead)) from error


@contextmanager
def reading(file: Path | str) -> Iterator[None]:
    """Whatever a damaged file, or one of another kind or version, makes a library inside raise names the file.

    Raises:
        ValueError: if its content is not as expected.
    """
    try:
        yield
    except OSError:
        raise  # which names it itself
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError) as error:
        raise ValueError(f"{file}: {_unlike(error)}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("safetensors", "yaml", "zipfile", "pickle"):
            raise
        raise ValueError(f"{file}: {_unlike(error)}") from error


def _unlike(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        text = f"it has no {text}"
    elif isinstance(error, (IndexError, TypeError, AttributeError)):
        text = f"its content is of another kind ({text})"
    return f"damaged, or no file of this version: {text or type(error).__name__}"


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """If the memory does not suffice for what is done inside, `advice` says how less of it does."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error) and not getattr(error, "__notes__", None):
            error.add_note(advice)
        raise


def _named(error: BaseException) -> str | None:
    """The file that an error is about; of a copy, the one that was to be written."""
    return getattr(error, "filename2", None) or getattr(error, "filename", None)


def free_bytes(place: Path) -> int:
    """Bytes that may be written to `place`, or to the nearest folder above it that exists."""
    return shutil.disk_usage(_existing(place)).free


def _full(place: Path, needed: int | None = None, instead: str = "write elsewhere") -> str:
    needs = f"needs {_size(needed)}, " if needed else ""
    return f"no space left in {place} ({needs}has {_size(free_bytes(place))}): free some, or {instead}"


def _existing(place: Path) -> Path:
    place = place.absolute()
    return next(folder for folder in (place, *place.parents) if folder.exists())


def _size(number: int) -> str:
    for unit, digits in (("GB", 9), ("MB", 6)):
        if number >= 10**digits:
            return f"{number / 10**digits:.1f} {unit}"
    return f"{number / 1000:.0f} kB"
