"""What cannot be asked of app.py is told in a sentence, before anything is opened."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app.py"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program serves on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def refusal(*arguments: str) -> str:
    done = subprocess.run([sys.executable, str(APP), *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--keep", "0"), "seconds from 1 to 604,800"),
        (("--keep", "-5"), "seconds from 1 to 604,800"),
        (("--keep", "99999999999999999999"), "seconds from 1 to 604,800"),
        (("--keep", "soon"), "invalid int value"),
        (("--port", "22222222"), "ports go from 1 to 65535"),
        (("--port", "0"), "ports go from 1 to 65535"),
        (("--port", "-1"), "ports go from 1 to 65535"),
        (("--host", "no.such.host.invalid"), "cannot serve on no.such.host.invalid"),
        (("--host", "192.0.2.1"), "cannot serve on 192.0.2.1"),
        (("--host", "a" * 300), "cannot serve on"),
        (("--results", "no/such/folder"), "there is no comparison.csv in it"),
        (("--models", ""), "a place is empty"),
        (("--static-demo", "javascript:alert(1)"), "an address that begins with https:// is expected"),
    ],
)
def test_impossible_values_are_refused_in_a_sentence(arguments: tuple[str, ...], says: str) -> None:
    assert says in refusal(*arguments)


def test_a_port_that_is_taken_is_told(taken: int) -> None:
    assert f"cannot serve on 127.0.0.1, port {taken}: Address already in use" in refusal("--port", str(taken))
