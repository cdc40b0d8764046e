"""A disk that is full ends with a sentence, whatever the file system can do."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from brainmri.audit.audit import audit
from brainmri.data.prepare import prepare
from brainmri.data.storage import allocated_memmap
from brainmri.errors import writing

from .sources import class_folders

WRITER = "import sys; from brainmri.cli.command import call; from brainmri.data.dataset import open_prepared; "
WRITER += "from brainmri.data.pixel_cache import pixel_cache; "
WRITER += "call(lambda: pixel_cache(open_prepared(sys.argv[1]), 512) and 0)"
SENTENCE = r"no space left in .*pixels \(needs 9\.3 MB, has \d\.\d MB\): free some, or set BRAINMRI_CACHE"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here (needs Linux and root)")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_pixel_cache_larger_than_the_disk_ends_with_a_sentence(tmp_path: Path, small_disk: Path) -> None:
    """In a process of its own: a sparse file would end it by SIGBUS."""
    root = prepare(class_folders(tmp_path / "raw", {"a": 20, "b": 15}), tmp_path / "ready")
    environment = os.environ | {"BRAINMRI_CACHE": str(small_disk / "cache")}
    done = subprocess.run([sys.executable, "-c", WRITER, str(root)], env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert re.search(SENTENCE, line), line
    assert [path.suffix for path in (small_disk / "cache" / "pixels").iterdir()] == [".lock"]


def test_a_prepared_folder_larger_than_the_disk_ends_with_a_sentence(tmp_path: Path, small_disk: Path) -> None:
    raw = class_folders(tmp_path / "raw", {"a": 20, "b": 15}, shape=(512, 512))
    with pytest.raises(OSError, match=r"no space left in .*disk \(.*has [\d.]+ [kM]B\): free some, or choose another"):
        prepare(raw, small_disk / "ready")
    assert not [path for path in small_disk.rglob("*") if path.is_file()]


def test_an_audit_larger_than_the_disk_ends_with_a_sentence(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = class_folders(tmp_path / "raw", {"a": 20, "b": 15}, shape=(512, 512))
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(OSError, match=r"no space left in .*brainmri-audit-.*: free some, or set TMPDIR"):
        audit(raw, None, tmp_path / "audit")
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize("able", [True, False], ids=["allocates", "only writes"])
def test_blocks_are_taken_before_the_first_value(tmp_path: Path, able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    if not able:
        monkeypatch.setattr(os, "posix_fallocate", unable, raising=False)
    mapped = allocated_memmap(tmp_path / "a.npy", np.float16, (3, 700_001))
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= mapped.nbytes
    assert not mapped.any()
    mapped[1, 5] = 2
    mapped.flush()
    assert np.load(tmp_path / "a.npy")[1, 5] == 2


def test_other_errors_keep_their_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"), writing(tmp_path):
        open(tmp_path / "nowhere")  # noqa: PTH123, SIM115
