"""One run at a time writes a folder: a lock of the operating system, which goes with the process however it ends."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

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
