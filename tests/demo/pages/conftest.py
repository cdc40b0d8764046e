"""A loaded model as the pages see it, made from a run folder."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

Loaded = Callable[[Path], Any]


@pytest.fixture
def loaded() -> Loaded:
    """loaded(run): what `brainmri.demo.model.DemoModel` shows of a run folder; no network is loaded."""

    def load(run: Path) -> SimpleNamespace:
        result = json.loads((run / "result.json").read_text())
        uncertainty = json.loads((run / "uncertainty.json").read_text())
        return SimpleNamespace(
            name=run.name, place=str(run), classes=result["data"]["classes"], result=result, uncertainty=uncertainty
        )

    return load
