"""Files of strangers, written once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .hostile import Hostile, hostile_files

Put = Callable[..., Path]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> list[Hostile]:
    return hostile_files(tmp_path_factory.mktemp("hostile"))


@pytest.fixture
def put(tmp_path) -> Put:
    """put(data, name): the path of a file with these bytes."""

    def write(data: bytes, name: str = "file") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write
