"""kill -9 at any moment, from preparing to publishing, loses nothing: the same command again ends as if undisturbed."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brainmri.data.phantom.generate import make_phantom

from ..hub.loopback import LoopbackHub
from ..kills import Job, differences, killed, run_left, tree_digests, undisturbed
from ..scripts import run_here
from .conftest import ROOT, TINY

pytestmark = pytest.mark.integration

MakeJob = Callable[[str, Path], Job]
CHECKPOINT = "checkpoints/stage-1/checkpoint-*"
KILLS_A_PHASE = 5
# What a window is opened and closed by, of a run folder or the cache.
WINDOWS = {
    "caching": ("cache/pixels/*unfinished*", "cache/pixels/*[0-9]/first.npy"),
    "training": ("run/checkpoints", f"run/{CHECKPOINT}"),
    "checkpoint": (f"run/{CHECKPOINT}", f"run/{CHECKPOINT}/manifest.json"),
    "finishing": ("run/finishing", "run/result.json"),
}
UNCOUNTED = {"cache", ".run.lock"}  # the lock's file stays; what it says is told by who holds it
PHASES = ["preparing", *WINDOWS, "publishing"]


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom(
        tmp_path_factory.mktemp("raw") / "raw", subjects=32, size=32, slices_per_subject=6, progress=False
    )


@pytest.fixture
def make_job(raw: Path, phantom: Path, finished: Path, environment: dict[str, str]) -> Iterator[MakeJob]:
    """make_job(phase, folder): the command to kill in that phase; all that it writes is below the empty `folder`."""
    hubs: list[LoopbackHub] = []

    def train(folder: Path, phase: str) -> Job:
        opens, closes = WINDOWS[phase]
        command = ["train.py", *TINY, "--ood", "true", "--num_train_epochs", "6", "--data_dir", str(phantom)]
        return Job(
            [sys.executable, str(ROOT / "scripts" / command[0]), *command[1:], "--output_dir", str(folder / "run")],
            # The caches of other tests are warm, and only the phase that kills their making needs them cold.
            environment | ({"BRAINMRI_CACHE": str(folder / "cache")} if phase == "caching" else {}),
            lambda: any(folder.glob(opens)),
            lambda: any(folder.glob(closes)),
            lambda: run_left(folder / "run") | {"beside": sorted({p.name for p in folder.iterdir()} - UNCOUNTED)},
        )

    def prepare(folder: Path) -> Job:
        out = folder / "out"
        command = [str(ROOT / "scripts" / "prepare_data.py"), str(raw), str(out), "--layout", "imagefolder"]
        return Job(
            [sys.executable, *command, "--groups", str(raw / "groups.csv")],
            environment,
            lambda: any(folder.iterdir()),
            out.is_dir,
            lambda: tree_digests(folder),
        )

    def publish(folder: Path) -> Job:
        hub = LoopbackHub()
        hubs.append(hub)
        own = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_anna", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        own |= {"TMPDIR": str(folder)}

        def left() -> dict[str, Any]:
            (repo,) = hub.repos.values()
            head = repo.branches["main"]
            files = {name: blob.sha256 for name, blob in repo.commits[head].items()}
            return {"files": files, "tags": {tag: commit == head for tag, commit in repo.tags.items()}}

        return Job(
            [sys.executable, str(ROOT / "scripts" / "publish.py"), "model", str(finished)],
            environment | own,
            lambda: bool(hub.log),
            lambda: False,
            left,
        )

    def make(phase: str, folder: Path) -> Job:
        folder.mkdir()
        if phase == "preparing":
            return prepare(folder)
        return publish(folder) if phase == "publishing" else train(folder, phase)

    yield make
    for hub in hubs:
        hub.close()


@pytest.mark.parametrize("phase", ["checkpoint", pytest.param("finishing", marks=pytest.mark.slow)])
def test_a_killed_training_ends_as_an_undisturbed_one(
    phase: str, make_job: MakeJob, finished: Path, tmp_path: Path
) -> None:
    delay = np.random.default_rng([len(phase), 1]).uniform(0, {"checkpoint": 0.02, "finishing": 1.0}[phase])
    kill = killed(make_job(phase, tmp_path / phase), delay, run_left(finished) | {"beside": ["run"]})
    assert (kill.tries, kill.lost) == (1, []), kill.printed
    assert kill.after_s is not None


def test_a_killed_publishing_goes_on(make_job: MakeJob, finished: Path, tmp_path: Path) -> None:
    delay = np.random.default_rng(3).uniform(0, 0.5)
    job = make_job("publishing", tmp_path / "killed")
    done = run_here("publish.py", "model", finished, "--repo", "anna/a", "--dry-run", tmp_path / "tree")
    assert done.returncode == 0, done.stderr
    (tree,) = (path.parent for path in (tmp_path / "tree").rglob("config.json"))
    kill = killed(job, delay, {})
    assert kill.tries == 1, kill.printed
    left = job.left()
    expected = {name: digest for name, digest in tree_digests(tree).items() if name != "README.md"}
    assert differences({name: left["files"].get(name) for name in expected}, expected) == []
    assert left["tags"]
    assert all(left["tags"].values())


@pytest.mark.slow
def test_thirty_kills_lose_nothing(make_job: MakeJob, tmp_path: Path) -> None:
    """Five at random moments of each phase; prints a line for each."""
    generator = np.random.default_rng(int(os.environ.get("KILLS_SEED", "0")))
    lost = []
    for phase in PHASES:
        window, expected = undisturbed(make_job(phase, tmp_path / f"{phase}-undisturbed"))
        for number in range(KILLS_A_PHASE):
            delay = generator.uniform(0, window)
            kill = killed(make_job(phase, tmp_path / f"{phase}-{number}"), delay, expected)
            after = "after its end" if kill.after_s is None else f"{kill.after_s:.3f} of {window:.3f} s"
            print(f"{phase}: killed {after}; ended well at try {kill.tries}; lost: {kill.lost or 'nothing'}")
            if kill.lost or kill.tries > 1:
                lost.append((phase, after, kill))
    assert lost == []
