"""Hostile and broken files: a clear answer, soon, in little memory, with nothing left behind."""

import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from brainmri.io.limits import UploadError
from brainmri.io.open import open_bytes, open_many, open_upload

from .good import good_files
from .hostile import IMAGE, Hostile, answer, page

REPOSITORY = Path(__file__).parents[2]
SECONDS = 3.0  # of processor time, for one file; a slow machine included
PEAK_MB = 150  # above what the imports need; the bombs among the files would take from 200 MB to terabytes

MEASURE = """
import logging
import sys
from pathlib import Path
from tests.io.good import good_files
from brainmri.io.open import open_bytes, open_many, open_upload
from brainmri.io.limits import UploadError

logging.basicConfig(level=logging.NOTSET)  # everything that is logged goes to the standard error

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024

for data in good_files().values():
    open_bytes(data)
before = peak()
for line in sys.stdin:
    path = Path(line.rstrip("\\n"))
    list(open_many([path]))
print(before, peak())
"""


@dataclass(frozen=True)
class Answered:
    one: Hostile
    said: str
    audited: str | None
    seconds: float


@pytest.fixture(scope="module")
def answered(hostile, tmp_path_factory) -> list[Answered]:
    """What each file is answered, and the processor time that it took."""
    found, folder = [], tmp_path_factory.mktemp("unpacked")
    for number, one in enumerate(hostile):
        start = time.process_time()
        said, audited = answer(one, folder / str(number))
        found.append(Answered(one, said, audited, time.process_time() - start))
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert all(path.suffix == ".png" and not path.is_symlink() and "evil" not in path.name for path in written)
    assert not list(folder.parent.rglob("*evil*"))
    return found


@pytest.mark.integration
def test_there_are_many_kinds(hostile):
    assert len({(one.kind, one.name) for one in hostile}) == len(hostile) >= 150
    assert {one.kind for one in hostile} >= {"PNG", "JPEG", "TIFF", "GIF", "BMP", "WebP", "DICOM", "NIfTI", "ZIP"}


def test_every_file_is_answered_as_expected(answered):
    assert [one for one in answered if (one.said == IMAGE) != (one.one.expects == IMAGE)] == []


def test_every_file_is_answered_soon(answered):
    assert [one for one in answered if one.seconds > SECONDS] == []


def test_answers_say_what_to_do_and_quote_nothing(answered):
    for one in answered:
        for text in filter(None, (one.said, one.audited)):
            assert text == IMAGE or re.fullmatch(r"(This|The|Every|A) [^<>]+\. [A-Z][^<>]+\.", text), text
            assert not re.search(r"Doe|Secret|alert|evil|Error|Traceback", text)
            assert str(one.one.path.parent) not in text


@pytest.fixture(scope="module")
def apart(hostile) -> subprocess.CompletedProcess[str]:
    """All files opened in a process of its own, where pytest changes neither warnings nor logging."""
    paths = "\n".join(str(one.path) for one in hostile)
    command = [sys.executable, "-W", "default", "-c", MEASURE]
    return subprocess.run(command, input=paths, capture_output=True, text=True, check=True, cwd=REPOSITORY)


@pytest.mark.integration
def test_libraries_print_nothing(apart):
    assert apart.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_memory_is_bounded(apart):
    before, peak = map(int, apart.stdout.split())
    assert peak - before < PEAK_MB


@pytest.mark.integration
def test_nothing_is_written_where_no_data_set_is_asked_for(hostile, monkeypatch):
    for name in ("write_bytes", "write_text", "mkdir", "touch"):
        monkeypatch.setattr(Path, name, lambda *_, **__: pytest.fail("wrote a file"))
    monkeypatch.setattr("tempfile.mkstemp", lambda *_, **__: pytest.fail("made a temporary file"))
    folder = hostile[0].path.parents[1]
    before = sorted(folder.rglob("*"))
    list(open_many([one.path for one in hostile]))
    assert sorted(folder.rglob("*")) == before


def test_committed_page_is_what_the_files_are_answered(answered):
    committed = REPOSITORY / "docs" / "hostile-inputs.md"
    made = "python -m tests.io.hostile docs/hostile-inputs.md"
    now = page([(one.one, one.said, one.audited) for one in answered])
    assert committed.read_text(encoding="utf-8") == now, f"make it again: {made}"


@pytest.mark.parametrize("name", ["missing.png", "", ".", "a\0b"])
def test_what_is_no_file(tmp_path, name):
    with pytest.raises(UploadError, match="could not be read"):
        open_upload(tmp_path / name)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_devices_are_not_read():
    with pytest.raises(UploadError, match="could not be read"):
        open_upload(Path("/dev/zero"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", good_files())
def test_a_thousand_mutants_of_each_kind(kind):
    good, chance = good_files()[kind], random.Random(kind)
    images = 0
    for _ in range(1000):
        mutant = bytearray(good)
        for _ in range(chance.choice((1, 1, 2, 8, 40))):
            place = chance.randrange(min(len(mutant), chance.choice((64, 400, 10**9))))
            action = chance.randrange(4)
            if action == 0:
                mutant[place] = chance.randrange(256)
            elif action == 1:
                mutant[place : place + 4] = chance.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\1"))
            elif action == 2 and len(mutant) > 64:
                del mutant[place : place + chance.randrange(40)]
            else:
                mutant[place:place] = mutant[place : place + chance.randrange(40)]
        start = time.process_time()
        try:
            upload = open_bytes(bytes(mutant))
            for plane in upload.planes:
                assert isinstance(upload.image(plane, upload.slices(plane) - 1), Image.Image)
            images += 1
        except UploadError as error:
            assert "Doe" not in str(error)
        assert time.process_time() - start < SECONDS
    assert images > 0  # mutants are not all refused at their first byte
