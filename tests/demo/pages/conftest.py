"""A loaded model as the pages see it, made from a run folder."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from brainmri.schemas import read_result, read_uncertainty

Loaded = Callable[[Path], Any]


@pytest.fixture
def loaded() -> Loaded:
    """loaded(run): what `brainmri.demo.model.DemoModel` shows of a run folder; no network is loaded."""

    def load(run: Path) -> SimpleNamespace:
        result, uncertainty = read_result(run), read_uncertainty(run)
        return SimpleNamespace(
            name=run.name, place=str(run), classes=result.data.classes, result=result, uncertainty=uncertainty
        )

    return load
