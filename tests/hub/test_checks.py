import hashlib
import io
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from brainmri.hub.checks import Publication, PublishError, check, check_licence

CARD = "---\nlicense: apache-2.0\ntags: [brainmri]\n---\n# Model\n"


@pytest.fixture
def tree(tmp_path: Path) -> Publication:
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "config.json").write_text("{}")
    return Publication("model", "anna/model", tmp_path, "model")


def refused(tree: Publication) -> str:
    with pytest.raises(PublishError) as error:
        check(tree)
    return str(error.value)


def test_a_plain_tree_passes(tree: Publication) -> None:
    check(tree)


def test_no_pickle_under_any_name(tree: Publication) -> None:
    archive = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, archive)
    for name, content in (("x.npy", pickle.dumps([1, 2])), ("x.safetensors", archive.getvalue())):
        (tree.folder / name).write_bytes(content)
        assert f"{name}: a pickle or an archive" in refused(tree)
        (tree.folder / name).unlink()
    (tree.folder / "x.safetensors").write_bytes(
        (640).to_bytes(8, "little") + b"{" + b" " * 639
    )  # begins as a pickle does
    check(tree)
    (tree.folder / "pytorch_model.bin").write_bytes(b"x")
    assert "pytorch_model.bin: files of this kind are not published" in refused(tree)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("# no metadata", "no metadata"),
        ("---\n: [\n---\n", "cannot be read"),
        ("---\ntags: [brainmri]\n---\n", "states no licence"),
        ("---\nlicense: unknown\ntags: [brainmri]\n---\n", "states no licence"),
        ("---\nlicense: other\ntags: [brainmri]\n---\n", "needs license_name and license_link"),
        ("---\nlicense: mit\n---\n", "the tag brainmri is missing"),
    ],
)
def test_cards(tree: Publication, card: str, message: str) -> None:
    (tree.folder / "README.md").write_text(card)
    assert message in refused(tree)


def test_all_that_is_wrong_is_told_at_once(tree: Publication) -> None:
    (tree.folder / "README.md").unlink()
    (tree.folder / "result.json").write_text('{"command": "train.py --data_dir /srv/brains/x"}')
    (tree.folder / "notes.docx").write_text("x")
    message = refused(tree)
    for part in ("README.md is missing", "result.json: holds /srv/brains/x", "notes.docx: files of this kind"):
        assert part in message


SPACE_CARD = (
    "---\nlicense: apache-2.0\ntags: [brainmri]\ntitle: Demo\nemoji: x\ncolorFrom: gray\ncolorTo: blue\nsdk: static\n"
    "app_file: index.html\n---\n"
)


def test_a_file_of_the_program_is_known_by_its_path_and_content_in_a_space_alone(tmp_path: Path) -> None:
    """And by all three: anything else of that kind, or with such a path in it, stays on this machine."""
    contents = {"runtime.wasm.gz": b"\x1f\x8b of the program", "worker.js": b"const home = '/home/web_user/somewhere';"}
    (tmp_path / "README.md").write_text(SPACE_CARD)
    (tmp_path / "index.html").write_text("<p>")
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    known = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    space = Publication("space", "anna/demo", tmp_path, "demo", program=known)
    check(space)

    kind, trace = "runtime.wasm.gz: files of this kind are not published", "worker.js: holds /home/web_user/somewhere"
    for other in (replace(space, program={}), replace(space, repo_type="model"), replace(space, repo_type="dataset")):
        assert kind in refused(other)
        assert trace in refused(other)

    for name, problem in (("runtime.wasm.gz", kind), ("worker.js", trace)):
        (tmp_path / name).write_bytes(contents[name] + b" ")
        assert problem in refused(space)
        (tmp_path / name).write_bytes(contents[name])

    (tmp_path / "a").mkdir()
    for place in ("scan.gz", "a/runtime.wasm.gz"):
        (tmp_path / place).write_bytes(contents["runtime.wasm.gz"])
        assert f"{place}: files of this kind" in refused(space)
        (tmp_path / place).unlink()

    (tmp_path / "a" / "kept").write_bytes(contents["runtime.wasm.gz"])
    (tmp_path / "runtime.wasm.gz").unlink()
    (tmp_path / "runtime.wasm.gz").symlink_to(tmp_path / "a" / "kept")
    assert kind in refused(space)


def test_files_that_are_too_large(tree: Publication, monkeypatch) -> None:
    monkeypatch.setattr("brainmri.hub.checks.MAX_BYTES", 1)
    assert "config.json: 2 bytes, at most 1: split it" in refused(tree)


@pytest.mark.parametrize("licence", [None, "", "unknown", "None"])
def test_a_licence_must_be_given(licence) -> None:
    with pytest.raises(PublishError, match="its licence is not given, so it is not published"):
        check_licence(licence, "the data set x")


def test_a_licence_is_an_identifier() -> None:
    assert check_licence("cc-by-4.0", "x") == "cc-by-4.0"
    with pytest.raises(PublishError, match="expected an identifier of the Hub"):
        check_licence("Creative Commons", "x")
