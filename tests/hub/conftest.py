"""A loopback Hub, a finished run of each kind of network, and the scripts run against the Hub as a user runs them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brainmri.data.phantom.generate import make_phantom
from brainmri.data.prepare import prepare

from ..scripts import run_here
from .loopback import LoopbackHub

ROOT = Path(__file__).parents[2]
TINY_CNN = ["--arch", "cnn_4x4", "--recipe", "input.size=32", "model.arguments.image_size=32"]
TINY_TIMM = ["--arch", "timm:test_vit2", "--weights", "random", "--recipe", "input.size=64"]
FILE = "/{repo_id}/resolve/{revision}/{filename}"
Run = Callable[..., subprocess.CompletedProcess[str]]
MakeHub = Callable[..., LoopbackHub]


@pytest.fixture(autouse=True)
def client_of_the_loopback_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says to the client in a process of its own: reach the network, upload by LFS."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)


@pytest.fixture
def make_hub() -> Iterator[MakeHub]:
    """make_hub(*habits): a running loopback Hub."""
    hubs = []

    def make(*habits: str) -> LoopbackHub:
        hubs.append(LoopbackHub(*habits))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.close()


@pytest.fixture
def hub(make_hub: MakeHub) -> LoopbackHub:
    return make_hub()


@pytest.fixture(scope="session")
def brainmri_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("brainmri")


@pytest.fixture
def run(brainmri_cache: Path, tmp_path: Path) -> Run:
    """run(hub, script, *arguments, token=..., **environment): a script to its end, as the account of the token."""

    def call(
        hub: LoopbackHub | None, script: str, *arguments: str | Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {"BRAINMRI_CACHE": str(brainmri_cache), "HF_HOME": str(tmp_path / "hf")} | environment
        return python(hub, ROOT / "scripts" / script, *arguments, **environment)

    return call


@pytest.fixture
def here(brainmri_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """here(hub, script, *arguments, token=...): the same in this process, whose libraries are told where the Hub is."""

    def call(
        hub: LoopbackHub, script: str, *arguments: str | Path, token: str | None = "hf_anna"
    ) -> subprocess.CompletedProcess[str]:
        home = tmp_path / "hf"
        constants = {"ENDPOINT": hub.url, "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + FILE}
        constants |= {"HF_HUB_CACHE": str(home / "hub"), "HF_TOKEN_PATH": str(home / "token")}
        for name, value in constants.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        environment = {"BRAINMRI_CACHE": str(brainmri_cache), "HF_ENDPOINT": hub.url, "HF_TOKEN": token or ""}
        return run_here(script, *arguments, environment=environment)

    return call


@pytest.fixture
def publish(here: Run) -> Run:
    """publish(hub, *arguments, token=...): scripts/publish.py in this process."""
    return lambda hub, *arguments, **how: here(hub, "publish.py", *arguments, **how)


def python(
    hub: LoopbackHub | None, *arguments: str | Path, cwd: Path | None = None, token: str | None = "hf_anna", **more: str
) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, to its end; its Hub is the given one, or none."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"OMP_NUM_THREADS": "1"} | ({"HF_ENDPOINT": hub.url} if hub else {"HF_HUB_OFFLINE": "1"})
    environment |= {"HF_TOKEN": token} if token else {}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment | more, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    raw = make_phantom(folder / "raw", subjects=24, size=32, slices_per_subject=5, progress=False)
    return prepare(raw, folder / "ready", layout="imagefolder", groups=raw / "groups.csv", name="phantom tiny")


def _trained(folder: Path, phantom: Path, cache: Path, *flags: str) -> Path:
    own = ["--num_train_epochs", "2", "--data_dir", phantom, "--output_dir", folder]
    done = run_here("train.py", *flags, *own, environment={"BRAINMRI_CACHE": str(cache)})
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def cnn_run(phantom: Path, brainmri_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a network of our own."""
    return _trained(tmp_path_factory.mktemp("runs") / "cnn", phantom, brainmri_cache, *TINY_CNN)


@pytest.fixture(scope="session")
def timm_run(phantom: Path, brainmri_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a network of timm's."""
    return _trained(tmp_path_factory.mktemp("runs") / "timm", phantom, brainmri_cache, *TINY_TIMM)
