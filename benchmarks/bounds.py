"""What visitors can make the demo hold: its peak memory under a long image, under large bodies, and its growth with
sessions.

    python -m benchmarks.bounds app.py --models RUN --against OTHER/app.py

Starts the demo on this machine, and then, where --against names another version's app.py, that one with the package
beside it (src/), does the same to each, and prints a table.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from benchmarks.load_test import resident_mib, start
from brainmri.cli.command import call
from brainmri.reporting.html import markdown_table

WARM = 300  # sessions, more than the demo remembers
IMAGE = (8, 2_097_152)  # pixels: a PNG of 110 KB
MULTIPART = "multipart/form-data; boundary=X"
PART = b'--X\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
FIELD = b'--X\r\nContent-Disposition: form-data; name="note"\r\n\r\n'
JSON = b'{"session_hash": "a", "fn_index": 0, "data": ["'
BODIES = {
    "upload of 300 MB": ("/gradio_api/upload", 300, MULTIPART, PART),
    "text field of 200 MB beside an upload": ("/gradio_api/upload", 200, MULTIPART, FIELD),
    "JSON of 100 MB": ("/gradio_api/queue/join", 100, "application/json", JSON),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("app", type=Path, metavar="APP", help="app.py")
    parser.add_argument("--models", nargs="+", default=[], metavar="PLACE", help="as of app.py")
    parser.add_argument("--against", type=Path, metavar="APP", help="app.py of another version")
    parser.add_argument("--sessions", type=int, default=300, help="visits of which the growth is measured")
    arguments = parser.parse_args()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if not Path("/proc/self/clear_refs").exists():
        raise ValueError("the peak of memory is read from /proc: this needs Linux")
    versions = {"now": arguments.app} | ({"before": arguments.against} if arguments.against else {})
    found = {name: measure(app, arguments.models, arguments.sessions) for name, app in reversed(versions.items())}
    print(
        markdown_table(
            ["what is sent", *found], [[what, *(one[what] for one in found.values())] for what in found["now"]]
        )
    )


def measure(app: Path, places: list[str], sessions: int) -> dict[str, str]:
    """What each of the ways does to a demo of its own: a line of text."""
    with mock.patch.dict(os.environ, {"PYTHONPATH": str(app.resolve().parent / "src")}):
        url, server = start(app, places)
    try:
        with TemporaryDirectory() as folder:
            found = {}
            for what, way in _ways(url, server.pid, Path(folder), sessions).items():
                found[what] = way()
                print(f"{app}: {what}: {found[what]}", file=sys.stderr, flush=True)
            return found
    finally:
        server.terminate()
        server.wait(timeout=60)


def _ways(url: str, pid: int, folder: Path, sessions: int) -> dict[str, Callable[[], str]]:
    width, height = IMAGE
    rows = np.resize(np.arange(251, dtype=np.uint8), (height, width))
    Image.fromarray(rows).save(folder / "long.png")
    Image.fromarray(rows[:128].repeat(16, axis=1)).save(folder / "usual.png")
    _classify(url, folder / "usual.png")  # warm
    ways: dict[str, Callable[[], str]] = {
        f"image of {width} x {height:,} pixels": lambda: _peak(pid, lambda: _classify(url, folder / "long.png"))
    }
    for what, (path, size, kind, head) in BODIES.items():
        for way, declared in (("", True), (", chunked", False)):
            ways[what + way] = lambda path=path, size=size, kind=kind, head=head, declared=declared: _peak(  # type: ignore[misc]
                pid, lambda: _send(url, path, size, kind, head, declared)
            )
    return {**ways, f"{sessions} sessions, after {WARM} more": lambda: _growth(url, pid, sessions)}


def _peak(pid: int, way: Callable[[], str]) -> str:
    """How far the memory of a process rises above what it held, and what it answered after which time."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
    before, begun = _high(pid), time.perf_counter()
    said = way()
    return f"+{_high(pid) - before:,} MiB, {time.perf_counter() - begun:.1f} s: {said}"


def _high(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def _classify(url: str, image: Path) -> str:
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    try:
        Client(url, verbose=False).predict(handle_file(image), api_name="/classify")
    except AppError as error:
        return error.message
    return "answered"


def _send(url: str, path: str, megabytes: int, kind: str, head: bytes, declared: bool) -> str:
    """A body of so many MB, with its length or in chunks without one."""

    def parts() -> Iterator[bytes]:
        yield head
        for _ in range(megabytes):
            yield b"a" * 2**20

    headers = {"Content-Type": kind} | ({"Content-Length": str(len(head) + megabytes * 2**20)} if declared else {})
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    try:
        connection.request("POST", path, body=parts(), headers=headers, encode_chunked=not declared)
        answer = connection.getresponse()
        return f"{answer.status} {answer.read(80).decode(errors='replace').strip()}"
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def _growth(url: str, pid: int, sessions: int) -> str:
    """What the memory grows by in visits of one question each, after as many as warm everything up."""
    _visit(url, WARM, "warm")
    before = resident_mib(pid) or 0
    _visit(url, sessions, "counted")
    grown = (resident_mib(pid) or 0) - before
    return f"+{grown} MiB, {grown / sessions:.3f} MiB each"


def _visit(url: str, count: int, name: str) -> None:
    """Visits whose session asks which models there are, through the queue, as the page asks."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    function = _page_function(connection)
    for number in range(count):
        session = f"{name}{number}"
        body: dict[str, Any] = {"data": [None, []], "fn_index": function, "session_hash": session}
        connection.request("POST", "/gradio_api/queue/join", json.dumps(body), {"Content-Type": "application/json"})
        connection.getresponse().read()
        connection.request("GET", f"/gradio_api/queue/data?session_hash={session}")
        connection.getresponse().read()
    connection.close()


def _page_function(connection: http.client.HTTPConnection) -> int:
    """The number of the function behind a change of the files of the page."""
    connection.request("GET", "/config")
    config = json.loads(connection.getresponse().read())
    files = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "slices")
    return next(one["id"] for one in config["dependencies"] if [files, "change"] in one["targets"])


if __name__ == "__main__":
    sys.exit(call(main))
