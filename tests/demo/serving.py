"""app.py as a visitor meets it: a process of its own that serves on loopback."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from brainmri.demo.upload_retention import UPLOADS

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Served:
    """url: of the page, ending in "/". process: the server. log: what it printed. temporary: its temporary files."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    temporary: Path

    @property
    def uploads(self) -> Path:
        """Where visitors' files lie."""
        (folder,) = self.temporary.glob("brainmri-demo-*")
        return folder / UPLOADS


@contextmanager
def served(folder: Path, places: Sequence[Path | str], *arguments: str, **environment: str) -> Iterator[Served]:
    """Run `app.py --models PLACES` until the `with` ends. folder: an empty one, for its log and temporary files."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary, log = folder / "temporary", folder / "log.txt"
    temporary.mkdir(parents=True)
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), *arguments]
    command += ["--models", *map(str, places)] if places else []
    own = os.environ | {
        "TMPDIR": str(temporary),
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=own | environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}/"
        _wait(url, process, log)
        yield Served(url, process, log, temporary)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if re.search(r"Running on", log.read_text(encoding="utf-8", errors="replace")):
            with urlopen(url, timeout=30) as page:
                assert page.status == 200
            return
        time.sleep(0.2)
    raise AssertionError(f"app.py does not serve:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
