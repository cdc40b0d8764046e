"""Many visitors of the demo at once: is each answered, how soon, and does the server's memory stay.

    python -m benchmarks.load_test app.py --models RUN --visitors 50 --requests 20

Starts the demo on this machine, asks first as one visitor and then, twice, as many, each by a gradio client of its own,
which share the machine's cores with the server, and writes visitors.json with every figure into --out.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np

from brainmri.cli.command import call
from brainmri.files import check_output, default_output, digest, digest_of_files, output, replace_text
from brainmri.reporting.html import readme_with

WAIT = 300  # seconds that the demo may take to start
ALONE = 100  # requests of the single visitor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("app", type=Path, metavar="APP", help="app.py")
    parser.add_argument("--models", nargs="+", default=[], metavar="PLACE", help="as of app.py")
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--requests", type=int, default=20, help="of each visitor (default: 20)")
    parser.add_argument("--out", type=Path, help="folder to write into (default: measurements/visitors-DIGEST)")
    parser.add_argument("--overwrite", action="store_true", help="replace what was measured with another setting")
    parser.add_argument(
        "--readme", nargs="?", type=Path, const=Path("docs/speed.md"), help="put the figures into this file"
    )
    arguments = parser.parse_args()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from brainmri.data.phantom.examples import examples
    from brainmri.environment import environment

    machine, count = environment().as_json(), (arguments.visitors, arguments.requests)
    inputs = digest(digest_of_files(arguments.app), arguments.models, count, machine)
    out: Path = arguments.out or default_output(Path("measurements"), "visitors", inputs)
    check_output(out, "visitors", {"all": inputs}, overwrite=arguments.overwrite)
    if arguments.readme:  # before anything takes long
        readme_with(arguments.readme, "", "visitors", overwrite=arguments.overwrite)
    with TemporaryDirectory() as scratch:
        images = [str(path) for path in examples(Path(scratch))]
        started = time.perf_counter()
        url, server = start(arguments.app, arguments.models)
        try:
            start_up = time.perf_counter() - started  # until the page stands; the models are loaded after it
            visit(url, images, 1, 1)
            first_answer = time.perf_counter() - started
            first = resident_mib(server.pid)
            alone = visit(url, images, 1, ALONE)
            warm = resident_mib(server.pid)
            many = visit(url, images, arguments.visitors, arguments.requests)
            after = resident_mib(server.pid)
            again = visit(url, images, arguments.visitors, arguments.requests)
            last = resident_mib(server.pid)
        finally:
            server.terminate()
            server.wait(timeout=30)
    report = {
        "command": " ".join(["python -m benchmarks.load_test", *sys.argv[1:]]),
        "start_up_s": round(start_up, 1),
        "first_answer_s": round(first_answer, 1),
        "resident_mib": {
            "after_start": first,
            "after_one_visitor": warm,
            "after_all": after,
            "after_all_again": last,
        },
        "one_visitor": alone,
        "visitors": many,
        "visitors_again": again,
        "environment": machine,
    }
    with output(out, "visitors", inputs, overwrite=arguments.overwrite) as folder:
        (folder / "visitors.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if arguments.readme:
        text = visitors_text(report)
        replace_text(arguments.readme, readme_with(arguments.readme, text, "visitors", overwrite=arguments.overwrite))
    print(json.dumps({key: report[key] for key in report if key != "environment"}, indent=1))


def start(app: Path, places: list[str]) -> tuple[str, subprocess.Popen[bytes]]:
    """Run the demo on a free port of this machine and wait until it answers.

    Raises:
        ValueError: if it does not.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(app), "--port", str(port)] + (["--models", *places] if places else [])
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/"
    end = time.monotonic() + WAIT
    while time.monotonic() < end and server.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return url, server
        except (URLError, OSError):
            time.sleep(0.2)
    server.kill()
    raise ValueError(f"{app} did not start within {WAIT} s")


def visit(url: str, images: list[str], visitors: int, requests: int) -> dict[str, Any]:
    """What `visitors` clients see who each send `requests` images, one after the other.

    Returns:
        answered, lost: numbers of requests. seconds: p50 and p95 from sending an image to having its answer, upload
        and waiting included. model_ms: p50 and p95 of the milliseconds that the answers themselves tell. told_place:
        how many requests were told their place in the queue. per_second: answers.
    """
    from gradio_client import Client, handle_file

    clients = [Client(url, verbose=False) for _ in range(visitors)]

    def one_visit(number: int) -> list[tuple[float, float | None, bool]]:
        seen = []
        for k in range(requests):
            begun = time.perf_counter()
            job = clients[number].submit(handle_file(images[(number + k) % len(images)]), api_name="/classify")
            told = False
            while not job.done():
                told = told or (job.status().rank is not None)
                time.sleep(0.005)
            failed = job.exception() is not None
            own = None if failed else float(job.result()[0]["milliseconds"])
            seen.append((time.perf_counter() - begun, own, told))
        return seen

    begun = time.perf_counter()
    with ThreadPoolExecutor(visitors) as pool:
        found = [one for seen in pool.map(one_visit, range(visitors)) for one in seen]
    took = time.perf_counter() - begun
    own = [milliseconds for _, milliseconds, _ in found if milliseconds is not None]
    return {
        "visitors": visitors,
        "answered": len(own),
        "lost": len(found) - len(own),
        "told_place": sum(told for _, _, told in found),
        "seconds": _quantiles([seconds for seconds, _, _ in found]),
        "model_ms": _quantiles(own) if own else None,
        "per_second": round(len(own) / took, 1),
    }


def visitors_text(report: dict[str, Any]) -> str:
    """The sentences on a report."""
    one, many, memory = (report[key] for key in ("one_visitor", "visitors", "resident_mib"))
    lost = one["lost"] + many["lost"] + report["visitors_again"]["lost"]
    return (
        f"Measured on {report['environment']['hardware']} (`{report['command']}`): starts in "
        f"{report['start_up_s']:.0f} s. One visitor has an answer after {one['seconds']['p50']:.2f} s (95 %: "
        f"{one['seconds']['p95']:.2f} s) with the upload, {one['model_ms']['p50']:.0f} ms of it in preprocessing, "
        f"network and OOD detector. {many['visitors']} at once: {many['per_second']:.0f} answers a second, after "
        f"{many['seconds']['p50']:.1f} s (95 %: {many['seconds']['p95']:.1f} s), {many['told_place']} of "
        f"{many['answered']} requests told their place in the line; lost: {lost}. Memory: "
        f"{memory['after_one_visitor']:,} MiB before, {memory['after_all']:,} after {many['answered']:,} requests of "
        f"theirs and {memory['after_all_again']:,} after as many again. The clients ran on the same processors."
    )


def resident_mib(pid: int) -> int | None:
    """Memory that a process holds, in MiB; None where the system does not tell (other than Linux)."""
    file = Path(f"/proc/{pid}/statm")
    pages = int(file.read_text(encoding="utf-8").split()[1]) if file.is_file() else None
    return None if pages is None else pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def _quantiles(values: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 4) for q in (50, 95)}


if __name__ == "__main__":
    call(main)
