"""What `--data_dir` may point at: a prepared folder, a raw one, or nothing that exists."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from brainmri.data.dataset import open_prepared
from brainmri.data.folder import workshop
from brainmri.data.phantom.generate import make_phantom
from brainmri.data.source import prepared_data

from ..scripts import run_here


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom(
        tmp_path_factory.mktemp("raw") / "slices", subjects=40, size=32, slices_per_subject=4, progress=False
    )


def test_a_raw_folder_is_prepared_once_into_the_cache(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    first = prepared_data(str(raw), "grouped", insist=False)
    assert first.info.name == "slices"
    assert first.root.is_relative_to(tmp_path / "cache" / "prepared")
    assert "Wrote" in capsys.readouterr().out
    assert prepared_data(str(raw), "grouped", insist=False).root == first.root
    assert "Wrote" not in capsys.readouterr().out
    other = prepared_data(str(raw), "oversample_then_split", insist=True)
    assert (other.info.split, other.root == first.root) == ("oversample_then_split", False)
    # A prepared folder is opened as it is, unless the protocol insists on another split.
    assert prepared_data(str(first.root), "source", insist=False).info.split == "grouped"
    with pytest.raises(ValueError, match=r"needs the split 'source', but .* was prepared with 'grouped'"):
        prepared_data(str(first.root), "source", insist=True)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--data_dir .*nowhere: no such folder"):
        prepared_data(str(tmp_path / "nowhere"), "grouped", insist=False)


PREPARER = "import sys; from brainmri.data.source import prepared_data; "
PREPARER += "print('ready', prepared_data(sys.argv[1], 'grouped', insist=False).root)"


@pytest.mark.integration
def test_of_three_runs_on_one_raw_folder_one_prepares_and_the_others_wait(raw: Path, tmp_path: Path) -> None:
    """And of a fourth, killed before them in the middle of its work, nothing is taken for finished."""
    environment = os.environ | {"BRAINMRI_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", PREPARER, str(raw)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    killed = subprocess.Popen(command, env=environment, **pipes)
    places = tmp_path / "cache" / "prepared"
    while not [*places.glob("*.brainmri-tmp/staged/*")]:
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.005)
    killed.kill()
    killed.communicate()
    assert not [*places.glob("*/dataset.json")]
    (lock,) = places.glob("*.lock")
    with FileLock(lock):  # a run that has just begun
        runs = [subprocess.Popen(command, env=environment, **pipes) for _ in range(3)]
        for run in runs:
            assert run.stdout.readline() == f"Another process is preparing {raw}: waiting for it.\n"
    answers = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], answers
    roots = {printed.splitlines()[-1] for printed, _ in answers}
    assert len(roots) == 1
    assert sum("Wrote" in printed for printed, _ in answers) == 1
    root = Path(roots.pop().removeprefix("ready "))
    assert len(open_prepared(root).index) == 160
    assert sorted(path.suffix for path in places.iterdir()) == ["", ".lock"]


def test_of_two_commands_on_one_output_folder_the_second_is_refused(raw: Path, tmp_path: Path) -> None:
    with workshop(tmp_path / "out"):
        done = run_here("prepare_data.py", raw, tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "another run is preparing" in done.stderr
    assert run_here("prepare_data.py", raw, tmp_path / "out").returncode == 0
