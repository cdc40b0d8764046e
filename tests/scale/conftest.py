"""A tiny prepared set, the training as a user launches it, and two hosts on one machine."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brainmri.data.phantom.generate import make_phantom
from brainmri.data.prepare import prepare

from ..training.conftest import TINY
from .hosts import Hosts, why_not

ROOT = Path(__file__).parents[2]
TRAIN = str(ROOT / "scripts" / "train.py")
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch"]
Launch = Callable[..., subprocess.CompletedProcess[str]]


def with_file(name: str, *flags: str) -> list[str]:
    """The launcher's words with a file of scripts/accelerate."""
    return [*LAUNCH, "--config_file", str(ROOT / "scripts" / "accelerate" / name), *flags]


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    raw = make_phantom(folder / "raw", subjects=32, size=32, slices_per_subject=6, progress=False)
    return prepare(raw, folder / "ready", layout="imagefolder", groups=raw / "groups.csv", name="phantom tiny")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    cache = str(tmp_path_factory.mktemp("cache"))
    launched = ("MASTER_", "ACCELERATE_", "SLURM_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(launched)}
    return own | {"BRAINMRI_CACHE": cache, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": cache}


@pytest.fixture(scope="session")
def launch(environment: dict[str, str], phantom: Path) -> Launch:
    """launch(launcher, *arguments): TINY on the phantom set, to its end."""

    def run(launcher: list[str], *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [*launcher, TRAIN, *TINY, "--data_dir", str(phantom), *arguments]
        return subprocess.run(command, env=environment | changes, capture_output=True, text=True, timeout=600)

    return run


@pytest.fixture
def hosts(environment: dict[str, str], tmp_path: Path) -> Iterator[Hosts]:
    if reason := why_not():
        pytest.skip(reason)
    with Hosts(environment, tmp_path) as two:
        yield two
