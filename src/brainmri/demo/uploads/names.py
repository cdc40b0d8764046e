"""Names that visitors gave to files: what is shown of them, and which are safe to write."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from brainmri.demo.uploads.limits import Limits, UploadError

SHOWN = 80  # characters
LONGEST_PART, LONGEST_NAME = 200, 800  # bytes; file systems take 255 for a part
DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})
UNSAFE = re.compile(r"""[<>"'`&|*?:\\\[\](){}$#!~^]""")  # what markup, Markdown, shells or Windows read as their own
IGNORED_FOLDERS = frozenset({"__MACOSX"})
IGNORED_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})


def shown_name(name: str) -> str:
    """A name as it may be shown or written into a table: printable, without markup, at most `SHOWN` characters."""
    plain = "".join(letter for letter in unicodedata.normalize("NFC", name) if letter.isprintable())
    plain = UNSAFE.sub("_", plain).strip() or "unnamed"
    if plain[0] in "=+-@":  # a spreadsheet would take it for a formula
        plain = f"_{plain}"
    half = SHOWN // 2
    return plain if len(plain) <= SHOWN else f"{plain[: half - 1]}…{plain[-half:]}"


def safe_path(name: str, limits: Limits) -> PurePosixPath:
    """The name of a member of an archive as a relative path that can be written below a folder, and nowhere else.

    Raises:
        UploadError: for an absolute name, one that leads upwards or to a device, one with a backslash, a colon or a
            character that cannot be printed, and one that is too long or too deep.
    """
    parts = name.removesuffix("/").split("/")
    if (
        "\\" in name
        or ":" in name
        or not name.isprintable()
        or any(part in ("", ".", "..") or part != part.strip() or part.endswith(".") for part in parts)
        or any(part.split(".")[0].strip().lower() in DEVICES for part in parts)
    ):
        raise UploadError(
            "The ZIP file holds a name that is not allowed (it leads out of the folder, names a device, or has "
            "characters that cannot be printed). Pack the folder again with a usual program."
        )
    encoded = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    if max(encoded) > LONGEST_PART or sum(encoded) > LONGEST_NAME:
        raise UploadError("The ZIP file holds a name that is too long. Give its files and folders shorter names.")
    if len(parts) > limits.archive_depth:
        raise UploadError(
            f"The ZIP file holds more than {limits.archive_depth} folders inside each other. Pack the inner ones."
        )
    return PurePosixPath(unicodedata.normalize("NFC", "/".join(parts)))


def is_ignored(path: PurePosixPath) -> bool:
    """Whether it is a hidden file, or what a system leaves in folders."""
    hidden = any(part.startswith(".") or part in IGNORED_FOLDERS for part in path.parts)
    return hidden or path.name.lower() in IGNORED_FILES
