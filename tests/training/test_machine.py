"""The commit that a result carries is that of this package's code, whatever repository lies around it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import brainmri
from brainmri import environment as machine
from brainmri.environment import git_commit
from brainmri.hub import upload

PACKAGE = Path(brainmri.__file__).parent
OURS = '[project]\nname = "brainmri"\n'


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """clone(place): a copy of what tells the commit, at a place in tmp_path, as if the package ran from there."""

    def make(place: str) -> Path:
        package = tmp_path / place
        (package / "training").mkdir(parents=True)
        for name in ("__init__.py", "environment.py"):
            shutil.copyfile(PACKAGE / name, package / name)
        monkeypatch.setattr(brainmri, "__file__", str(package / "__init__.py"))
        return package

    return make


def git(folder: Path, *arguments: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *names, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def committed(folder: Path, *paths: str) -> str:
    git(folder, "init", "--quiet")
    git(folder, "add", "--", *paths)
    git(folder, "commit", "--quiet", "--message", "first")
    return git(folder, "rev-parse", "HEAD")


def test_a_repository_around_the_virtual_environment_is_not_ours(clone, tmp_path: Path) -> None:
    package = clone(".venv/lib/python3.12/site-packages/brainmri")
    (tmp_path / "thesis.tex").write_text("text")
    committed(tmp_path, "thesis.tex")
    assert git_commit() is None
    # Nor is one that tracks a copy of the package, as the Space of the demo does, or is called brainmri itself.
    git(tmp_path, "add", "--force", str(package))
    git(tmp_path, "commit", "--quiet", "--message", "vendored")
    assert git_commit() is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "thesis"\n')
    assert git_commit() is None
    assert upload.version_tag() == f"v{brainmri.__version__}"


def test_a_repository_of_this_name_that_does_not_track_the_package_is_not_ours(clone, tmp_path: Path) -> None:
    clone(".venv/lib/python3.12/site-packages/brainmri")
    (tmp_path / "pyproject.toml").write_text(OURS)
    committed(tmp_path, "pyproject.toml")
    assert git_commit() is None


def test_a_checkout_gives_its_commit_and_tells_of_changes_to_the_package_alone(
    clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = clone("src/brainmri")
    (tmp_path / "pyproject.toml").write_text(OURS)
    commit = committed(tmp_path, ".")
    assert git_commit() == commit
    assert upload.version_tag() == f"v{brainmri.__version__}-g{commit[:7]}"
    (tmp_path / "notes.txt").write_text("not of the package")
    (tmp_path / "pyproject.toml").write_text(OURS + "# a note\n")
    assert git_commit() == commit
    # A hook of another repository names that one to every git that it starts.
    (tmp_path / "other").mkdir()
    committed_elsewhere = tmp_path / "other" / "a"
    committed_elsewhere.write_text("a")
    committed(tmp_path / "other", "a")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert git_commit() == commit
    monkeypatch.delenv("GIT_DIR")
    (package / "training" / "new.py").write_text("")
    assert git_commit() == f"{commit}+changes"


def test_an_installation_from_git_gives_the_commit_on_record(tmp_path: Path) -> None:
    """In a process of its own, where the copy in a folder like site-packages is what is imported and installed."""
    site = tmp_path / "site-packages"
    shutil.copytree(PACKAGE, site / "brainmri", ignore=shutil.ignore_patterns("__pycache__"))
    info = site / "brainmri-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brainmri\nVersion: 0.1.0\n")
    (tmp_path / "a").write_text("a")
    committed(tmp_path, "a")
    found = [_in_process(site)]
    record = {"url": "https://example.org/brainmri.git", "vcs_info": {"vcs": "git", "commit_id": "0123456789" * 4}}
    (info / "direct_url.json").write_text(json.dumps(record))
    found.append(_in_process(site))
    (info / "direct_url.json").write_text(json.dumps({"url": "file:///somewhere", "dir_info": {}}))
    found.append(_in_process(site))
    assert found == ["None", "0123456789" * 4, "None"]


def test_the_record_of_another_copy_does_not_count(clone, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    class Elsewhere(metadata.PathDistribution):
        def read_text(self, filename) -> str:
            return json.dumps({"vcs_info": {"commit_id": "f" * 40}})

    clone("copy/brainmri")
    monkeypatch.setattr(metadata, "distribution", lambda name: Elsewhere(PACKAGE.parent / "brainmri.dist-info"))
    assert git_commit() is None


def _in_process(site: Path) -> str:
    code = "from brainmri.environment import git_commit; print(git_commit())"
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=site)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("count", "threads", "processes", "said"),
    [(1, 1, 1, "1 core"), (2, 2, 1, "2 cores"), (2, 1, 1, "1 core"), (2, 1, 2, "2 cores"), (2, 8, 1, "2 cores")],
)
def test_hardware_counts_the_cores_in_use_in_words_that_fit(
    count: int, threads: int, processes: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(machine, "available_cpus", lambda: count)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert machine.environment().hardware.endswith(f", {said}")
