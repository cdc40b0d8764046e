"""Two hosts on one machine: network namespaces of Linux, joined by a cable that can be pulled.

Nothing outside them is reached: each has its own loopback and the one address on the cable.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType

ADDRESSES = ("10.213.77.1", "10.213.77.2")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def why_not() -> str | None:
    """Why this machine cannot have them; None where it can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need iproute2"
    name = f"brainmri-try-{os.getpid()}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        return f"no network namespaces here: {error.stderr.strip()}"
    return None


class Hosts:
    """start(rank, command): a command on a host, its output in `log(rank)`."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment, self.folder = environment, folder
        self.names = [f"brainmri-{os.getpid()}-{rank}" for rank in range(2)]
        self.cables = [f"bm{os.getpid() % 100000}-{rank}" for rank in range(2)]
        self.started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Hosts:
        table = "127.0.0.1 localhost\n" + "".join(f"{a} host{k}\n" for k, a in enumerate(ADDRESSES))
        for name in self.names:
            # What `ip netns exec` lays over /etc: names are found at once, and no name server is asked.
            own = Path("/etc/netns") / name
            own.mkdir(parents=True)
            (own / "hosts").write_text(table)
            (own / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
            _ip("netns", "add", name)
        ends = [[cable, "netns", name] for cable, name in zip(self.cables, self.names, strict=True)]
        _ip("link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
        for name, cable, address in zip(self.names, self.cables, ADDRESSES, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", cable)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", cable, "up")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)

    def log(self, rank: int) -> Path:
        return self.folder / f"host{rank}.txt"

    def start(self, rank: int, command: list[str]) -> subprocess.Popen[bytes]:
        # Each host has its own cache, as it has its own disk; the run folder is on a disk that both see.
        own = {"BRAINMRI_CACHE": str(self.folder / f"cache{rank}"), "GLOO_SOCKET_IFNAME": self.cables[rank]}
        with self.log(rank).open("wb") as out:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.names[rank], *command],
                env=self.environment | own,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def pull_the_cable(self) -> None:
        _ip("-n", self.names[1], "link", "set", self.cables[1], "down")

    def plug_it_in(self) -> None:
        _ip("-n", self.names[1], "link", "set", self.cables[1], "up")
