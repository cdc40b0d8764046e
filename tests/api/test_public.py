"""The names of `import brainmri`, and the functions that do what a command does."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import brainmri

from .conftest import Trained

HEAVY = {"numpy", "pandas", "PIL", "torch", "transformers", "pydantic", "yaml", "scipy", "matplotlib"}


def test_import_brings_nothing_and_every_name_is_there() -> None:
    code = (
        "import sys, time; start = time.process_time(); import brainmri; took = time.process_time() - start\n"
        "print([took, sorted(sys.modules), dir(brainmri)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    took, loaded, names = ast.literal_eval(done.stdout)
    assert not HEAVY & {name.partition(".")[0] for name in loaded}
    assert [name for name in loaded if name.startswith("brainmri.")] == []
    assert took < 0.1
    assert names == sorted([*brainmri.__all__, "__version__"])
    assert all(getattr(brainmri, name) is not None for name in brainmri.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        brainmri.predict  # noqa: B018


def test_each_function_has_an_example() -> None:
    functions = [brainmri.prepare, brainmri.evaluate, brainmri.load_model, brainmri.read_scan]
    methods = [getattr(brainmri.LoadedModel, name) for name in ("predict", "predict_many", "predict_scan")]
    from brainmri.audit.api import audit

    for function in [*functions, *methods, audit]:
        assert "Example:\n" in (function.__doc__ or ""), function


@pytest.mark.integration
def test_prepare_audit_and_evaluate(trained: Trained, tmp_path: Path) -> None:
    data = brainmri.prepare(trained.raw, tmp_path / "data", groups=trained.raw / "groups.csv")
    assert isinstance(data, brainmri.Dataset)
    assert sorted(data.classes) == ["glioma", "meningioma", "notumor", "pituitary"]

    import_module("brainmri.audit.report")  # so that the package stands where the function was
    report = brainmri.audit(tmp_path / "data", out=tmp_path / "audit")
    assert isinstance(report, brainmri.AuditReport)
    assert report.images == len(data.index)
    assert report == brainmri.AuditReport.model_validate(json.loads((tmp_path / "audit" / "audit.json").read_text()))
    assert brainmri.audit(str(tmp_path / "data")) == report

    model = brainmri.load_model(trained.run)
    found = brainmri.evaluate(model, data, out=tmp_path / "evaluation")
    assert isinstance(found, brainmri.Evaluation)
    assert len(found.predictions) == len(data.rows("test"))
    written = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert written["command"].startswith("brainmri.evaluate(")
    assert str(tmp_path) not in written["command"]
    by_place = brainmri.evaluate(str(trained.run), tmp_path / "data", mapping={"notumor": "notumor"})
    assert by_place.probabilities.tolist() == found.probabilities.tolist()
    with pytest.raises(ValueError, match="holds something that this command did not make"):
        brainmri.evaluate(model, data, out=tmp_path / "data")
