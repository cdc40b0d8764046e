"""Nothing that a visitor uploads outlives its time.

Gradio's `delete_cache` deletes uploads, but not the empty files that its component for files makes beside each, nor the
folders. So a thread looks through the whole folder of temporary files.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

OFTEN = 60  # seconds at most between two looks


def forget_uploads(folder: Path, seconds: float) -> None:
    """Start a thread that deletes what comes into `folder` from now on, once it is older than `seconds`."""
    kept = set(folder.rglob("*"))

    def look() -> None:
        while True:
            time.sleep(min(OFTEN, seconds))
            delete_older(folder, seconds, kept)

    threading.Thread(target=look, name="forget uploads", daemon=True).start()


def delete_older(folder: Path, seconds: float, kept: set[Path]) -> None:
    """Delete the files below `folder` that are older than `seconds`, and then empty folders, but for `kept`."""
    limit = time.time() - seconds
    for path in sorted(folder.rglob("*"), reverse=True):  # what a folder holds comes before it
        try:
            if path in kept or path.lstat().st_ctime > limit:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        except OSError:  # gone already, or a folder that is not empty
            continue
