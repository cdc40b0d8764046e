"""What this machine is, and the settings that make a CPU train at its own speed."""

from __future__ import annotations

import ctypes
import json
import math
import os
import platform
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import brainmri
from brainmri.schemas import Environment

PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "datasets",
    "accelerate",
    "evaluate",
    "timm",
    "numpy",
    "scikit-learn",
)
GIT_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX")  # set in a hook of git
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep freed tensors instead of giving them back to the kernel at each step (Linux with glibc only).

    Without it 8 training steps cost 537,000 page faults, with it 23,600. Returns whether it was set; elsewhere nothing
    happens, since other allocators do not do this.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


def return_freed_memory() -> None:
    """Give the kernel back what was kept of freed tensors, before work that needs other sizes (Linux with glibc only).

    Large tensors of inference do not fit between those that are left of a training: memory would grow beyond its peak.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def available_cpus() -> int:
    """Processors that this process may use: its affinity, and the share that a container (cgroup v2) gives it."""
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        granted, period = quota.read_text(encoding="utf-8").split()
        if granted != "max":
            cpus = min(cpus, math.ceil(int(granted) / int(period)))
    return cpus


def local_processes() -> int:
    """Processes of this training on this machine, as torchrun and accelerate say; 1 without them."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def use_cpu_well() -> None:
    """Share the processors among the processes of this machine, and treat numbers next to zero as zero.

    torch takes every processor it sees, more than a container may use, and torchrun allows each process one thread.
    OMP_NUM_THREADS wins, except the 1 that torchrun sets itself. Subnormal numbers cost many times the time of others.
    """
    import torch

    torch.set_flush_denormal(True)  # before the threads start, which take it over
    local = local_processes()
    if "OMP_NUM_THREADS" not in os.environ or (local > 1 and os.environ["OMP_NUM_THREADS"] == "1"):
        torch.set_num_threads(max(1, available_cpus() // local))


def environment() -> Environment:
    """Hardware, versions and the commit of the code, for `result.json`."""
    import torch

    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    cores = min(available_cpus(), torch.get_num_threads() * local_processes())
    found: dict[str, str | int | None] = {
        "hardware": accelerator or f"{_cpu_name()}, {cores} core{'s' * (cores > 1)}",
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "brainmri": brainmri.__version__,
        "git_commit": git_commit(),
    }
    return Environment.model_validate(found)


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """The commit of this package's code, "+changes" where files of it differ; None where it is not known.

    It is that of the checkout of this project that the package runs from, or the one that an installation from git has
    on record (direct_url.json). A repository that merely surrounds the package, as that of a project whose virtual
    environment has it, is another project's.
    """
    package = Path(brainmri.__file__).resolve().parent
    return _commit_of_checkout(package) or _commit_of_installation(package)


def _commit_of_checkout(package: Path) -> str | None:
    try:
        _git(package, "ls-files", "--error-unmatch", "--", "__init__.py")  # tracked, not only surrounded
        top = Path(_git(package, "rev-parse", "--show-toplevel"))
        project = tomllib.loads((top / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if project["name"] != brainmri.__name__:
            return None
        changed = _git(package, "status", "--porcelain", "--", ".")
        return _git(package, "rev-parse", "HEAD") + "+changes" * bool(changed)
    except (OSError, ValueError, KeyError, TypeError, subprocess.CalledProcessError):
        return None


def _commit_of_installation(package: Path) -> str | None:
    try:
        installed = metadata.distribution(brainmri.__name__)
        if Path(str(installed.locate_file(brainmri.__name__))).resolve() != package:
            return None  # the record of another copy
        return str(json.loads(installed.read_text("direct_url.json") or "")["vcs_info"]["commit_id"])
    except (metadata.PackageNotFoundError, ValueError, KeyError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    """What git prints of the repository around `folder`, whatever repository its own variables name."""
    environment = {key: value for key, value in os.environ.items() if key not in GIT_PLACES}
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()
