"""What a command writes never stands where something else was, unless it was asked to."""

import json
from pathlib import Path

import pytest

from brainmri.files import RECORD, default_output, digest, digest_of_files, output


def make(out: Path, inputs: str = "a", *, overwrite: bool = False, part: str = "all", **files: str) -> None:
    with output(out, "study", inputs, part=part, overwrite=overwrite) as folder:
        for name, text in files.items():
            file = folder / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


def texts(out: Path) -> dict[str, str]:
    files = {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*") if path.is_file()}
    return {name: text for name, text in files.items() if name != RECORD}


def test_the_same_inputs_are_made_again_and_what_is_no_longer_made_goes(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    make(out, table="1", figures__a="1", figures__b="1")
    (out / "notes").write_text("mine")
    make(out, table="2", figures__a="2")
    assert texts(out) == {"table": "2", "figures/a": "2", "notes": "mine"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_other_inputs_are_refused_unless_asked_to_overwrite(tmp_path: Path) -> None:
    make(tmp_path / "out", table="1", old="1")
    with pytest.raises(ValueError, match=r"out holds what was made of other inputs.*--overwrite"):
        make(tmp_path / "out", "b", table="2")
    assert texts(tmp_path / "out") == {"table": "1", "old": "1"}
    make(tmp_path / "out", "b", overwrite=True, table="2")
    assert texts(tmp_path / "out") == {"table": "2"}
    with pytest.raises(ValueError, match="other inputs"):
        make(tmp_path / "out", "a", table="1")


def test_a_folder_of_somebody_else_is_refused_and_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "table").write_text("thesis")
    (tmp_path / "chapter").write_text("thesis")
    for record in (None, "{", "[]", '{"other": {"all": {"inputs": "a", "files": ["chapter"]}}}'):
        if record:
            (tmp_path / RECORD).write_text(record)
        with pytest.raises(ValueError, match="holds something that this command did not make"):
            make(tmp_path, table="1")
    make(tmp_path, overwrite=True, table="1")
    assert texts(tmp_path) == {"table": "1", "chapter": "thesis"}
    with pytest.raises(ValueError, match="is a file"):
        make(tmp_path / "table", table="1")


def test_a_failure_halfway_leaves_the_old_ones(tmp_path: Path) -> None:
    make(tmp_path / "out", table="1")

    def fail() -> None:
        with output(tmp_path / "out", "study", "a") as folder:
            (folder / "table").write_text("2")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert texts(tmp_path / "out") == {"table": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_run_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "out" / ".brainmri-x1" / "new").mkdir(parents=True)
    make(tmp_path / "out", table="1")
    assert texts(tmp_path / "out") == {"table": "1"}


def test_parts_of_one_folder_have_inputs_of_their_own(tmp_path: Path) -> None:
    make(tmp_path / "out", "a", part="layers", layers="1")
    make(tmp_path / "out", "b", part="maps", maps="1")
    make(tmp_path / "out", "b", part="maps", maps="2")
    with pytest.raises(ValueError, match=r"other inputs \(layers\)"):
        make(tmp_path / "out", "b", part="layers", layers="2")
    make(tmp_path / "out", "b", part="layers", overwrite=True, layers="2")
    assert texts(tmp_path / "out") == {"layers": "2", "maps": "2"}


def test_a_record_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    make(tmp_path / "out", table="1")
    (tmp_path / "thesis").write_text("mine")
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    record["study"]["all"]["files"] = ["../thesis", str(tmp_path / "thesis")]
    (tmp_path / "out" / RECORD).write_text(json.dumps(record))
    make(tmp_path / "out", table="2")
    assert (tmp_path / "thesis").read_text() == "mine"


def test_inputs_are_told_apart_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    (tmp_path / "b").write_text("1")
    first = digest_of_files(tmp_path / "a", tmp_path / "b")
    assert digest_of_files(tmp_path / "a", tmp_path / "b") == first
    (tmp_path / "a" / "x").write_text("2")
    assert digest_of_files(tmp_path / "a", tmp_path / "b") != first
    names = {default_output(tmp_path, name, digest(name, n)).name for name in ("a b", "../a b", "") for n in (1, 2)}
    assert len(names) == 6
    assert all("/" not in name and not name.startswith(".") for name in names)
