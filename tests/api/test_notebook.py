"""The notebook of the documents runs from its first cell to its last."""

import json
import os
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def test_no_output_is_kept_that_could_go_stale() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 7
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)


@pytest.mark.slow
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
    text = [
        "".join(out.get("text", "") or str(out.get("data", "")) for out in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    assert "exact" in text[2]
    assert "out of distribution:" in text[4]
    assert "tumour probability" in text[5]
    assert "accuracy " in text[6]
    assert (tmp_path / "notebook-work" / "run" / "result.json").is_file()
