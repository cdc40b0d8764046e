import io
import pickle
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
