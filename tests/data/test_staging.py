import json
import subprocess
import time

import numpy as np
import pytest

from brainmri.data.dataset import is_prepared, open_prepared
from brainmri.data.prepare import prepare

from .sources import command_line, contents, names, noise, save, workshop_of


def test_existing_output_is_refused(source, out):
    prepare(source, out)
    before = contents(out)
    with pytest.raises(ValueError, match=r"exists already: .*--overwrite"):
        prepare(source, out, split_seed=1)
    assert contents(out) == before
    prepare(source, out, split_seed=1, overwrite=True)
    assert json.loads((out / "dataset.json").read_text())["split_seed"] == 1
    assert not workshop_of(out).exists()


def test_an_overwrite_takes_nothing_along_that_no_preparation_wrote(source, out):
    prepare(source, out)
    (out / "thesis.tex").write_text("years of work")
    for name in ("thesis.tex", "test/tumor/notes.md"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("years of work")
        with pytest.raises(ValueError, match=rf"holds {name} \(1 such files\), which is no part of the prepared"):
            prepare(source, out, split_seed=1, overwrite=True)
        assert (out / name).read_text() == "years of work"
        (out / name).unlink()
    prepare(source, out, split_seed=1, overwrite=True)
    # A folder of something else that has files of these names is not ours either.
    other = out.with_name("other")
    other.mkdir()
    for name in ("dataset.json", "index.csv", "letter.txt"):
        (other / name).write_text("{}")
    with pytest.raises(ValueError, match=r"holds letter\.txt"):
        prepare(source, other, overwrite=True)


def test_failed_overwrite_keeps_the_old_one(source, out):
    prepare(source, out)
    before = contents(out)
    for file in source.rglob("notumor_*"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="only one class"):
        prepare(source, out, overwrite=True)
    assert contents(out) == before


@pytest.mark.parametrize("what", ["file", "folder of something else", "empty folder"])
def test_outputs_that_are_not_ours(source, out, what):
    if what == "file":
        out.write_text("precious")
    else:
        out.mkdir()
    if what == "folder of something else":
        (out / "thesis.txt").write_text("precious")
    if what == "empty folder":
        with pytest.raises(ValueError, match="exists already"):
            prepare(source, out)
        assert is_prepared(prepare(source, out, overwrite=True))
        return
    before = contents(out) if out.is_dir() else out.read_text()
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"is a file|exists already|never replaced"):
            prepare(source, out, overwrite=overwrite)
    assert (contents(out) if out.is_dir() else out.read_text()) == before


def test_source_and_output_inside_each_other(source, tmp_path):
    with pytest.raises(ValueError, match="lies inside the source"):
        prepare(source, source / "prepared")
    with pytest.raises(ValueError, match=r"choose another|exists already"):
        prepare(source, source)
    out = prepare(source, tmp_path / "out")
    before = contents(out)
    with pytest.raises(ValueError, match="lies inside the output"):
        prepare(out / "train", out, overwrite=True)
    assert contents(out) == before
    inside = tmp_path / "folder" / "link"
    inside.parent.mkdir()
    inside.symlink_to(source)
    with pytest.raises(ValueError, match="lies inside the source"):
        prepare(source, inside / "prepared")


@pytest.mark.integration
def test_killed_run_leaves_no_output_and_the_next_one_works(tmp_path, out):
    source = tmp_path / "source"
    deep = save(noise(1, (400, 400)).astype(np.uint16), source / "a" / "0.png").read_bytes()  # slow to encode anew
    for number in range(1, 60):
        file = source / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(deep)
    before = contents(source)
    options = (source, out, "--split", "oversample_then_split")
    process = subprocess.Popen(command_line(*options))
    staged = workshop_of(out) / "staged"
    while process.poll() is None and not (staged.is_dir() and len(names(staged)) > 5):
        time.sleep(0.005)
    with pytest.raises(ValueError, match="another run is preparing"):
        prepare(source, out, split="oversample_then_split")
    process.kill()
    assert process.wait() != 0
    assert not out.exists()
    assert staged.is_dir()  # what is left of it
    data = open_prepared(prepare(source, out, split="oversample_then_split"))
    assert len(data.index) == 60
    assert contents(source) == before
    assert names(tmp_path) == ["out", "source"]


def test_run_killed_while_replacing_does_not_lose_the_old_one(source, out):
    before = contents(prepare(source, out))
    workshop_of(out).mkdir()
    out.rename(workshop_of(out) / "old")  # the state between the two steps of the replacement
    with pytest.raises(ValueError, match="exists already"):
        prepare(source, out)
    assert contents(out) == before


def test_nothing_of_others_is_deleted(source, out):
    workshop_of(out).mkdir()
    (workshop_of(out) / "thesis.txt").write_text("precious")
    prepare(source, out)
    assert (workshop_of(out) / "thesis.txt").read_text() == "precious"
