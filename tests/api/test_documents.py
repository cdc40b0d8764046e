"""The examples on the page of the Python functions run as they stand."""

import re
import shutil
from pathlib import Path

import pytest

from .conftest import Trained

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.mark.integration
def test_the_examples_of_the_page_run(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained.raw, tmp_path / "slices")
    shutil.copytree(trained.run, tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), {})  # one after the other, each by itself
    printed = capsys.readouterr().out
    assert "['glioma', 'meningioma', 'notumor', 'pituitary']" in printed
    assert "'neighbour'" in printed
    assert "tumour_probability" in printed
