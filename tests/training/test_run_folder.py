"""What stands in the output folder already is not lost."""

from pathlib import Path

import pytest
from accelerate import PartialState

from brainmri.training.run_folder import claim


def test_only_an_earlier_run_is_overwritten_and_only_when_asked(tmp_path: Path) -> None:
    state = PartialState(cpu=True)
    claim(tmp_path / "new", state, overwrite=False)
    claim(tmp_path, state, overwrite=False)  # empty
    run, other = tmp_path / "run", tmp_path / "thesis"
    for folder, name in ((run, "result.json"), (other, "chapter.tex")):
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(ValueError, match="is not empty: give another --output_dir"):
            claim(folder, state, overwrite=False)
    claim(run, state, overwrite=True)
    assert not run.exists()
    with pytest.raises(ValueError, match="does not look like a run folder"):
        claim(other, state, overwrite=True)
    assert (other / "chapter.tex").read_text() == "mine"
