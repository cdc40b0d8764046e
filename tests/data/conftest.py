"""A small raw source and a place to prepare it to."""

import pytest

from .sources import class_folders


@pytest.fixture
def source(tmp_path):
    return class_folders(tmp_path / "source", {"glioma": 20, "notumor": 15})


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"
