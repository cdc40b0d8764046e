"""What `--data_dir` may point at: a prepared folder, a raw one, or nothing that exists."""

from pathlib import Path

import pytest

from brainmri.data.phantom import make_phantom
from brainmri.data.source import prepared_data


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
    assert first.info["name"] == "slices"
    assert first.root.is_relative_to(tmp_path / "cache" / "prepared")
    assert "Wrote" in capsys.readouterr().out
    assert prepared_data(str(raw), "grouped", insist=False).root == first.root
    assert "Wrote" not in capsys.readouterr().out
    other = prepared_data(str(raw), "oversample_then_split", insist=True)
    assert (other.info["split"], other.root == first.root) == ("oversample_then_split", False)
    # A prepared folder is opened as it is, unless the protocol insists on another split.
    assert prepared_data(str(first.root), "source", insist=False).info["split"] == "grouped"
    with pytest.raises(ValueError, match=r"needs the split 'source', but .* was prepared with 'grouped'"):
        prepared_data(str(first.root), "source", insist=True)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--data_dir .*nowhere: no such folder"):
        prepared_data(str(tmp_path / "nowhere"), "grouped", insist=False)
