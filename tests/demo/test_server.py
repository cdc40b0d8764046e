"""What the server promises its visitors: names stay off the disk and out of the log, and nobody can fill its memory."""

import asyncio
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from brainmri.demo.app import Demo
from brainmri.demo.upload_retention import PREFIX

from .serving import ROOT, Served, served

MARKER = "Confidential"  # in every name and text that a visitor types or sends
MULTIPART = "multipart/form-data; boundary=X"
PART = f'--X\r\nContent-Disposition: form-data; name="files"; filename="Doe_{MARKER}.png"\r\n\r\n'.encode()


@pytest.fixture(scope="module")
def client(demo: Served) -> Client:
    return Client(demo.url, verbose=False)


@pytest.fixture
def named(slice_png: Path, tmp_path: Path) -> Path:
    """A slice under a patient's name."""
    path = tmp_path / f"Doe_{MARKER}_1949.png"
    path.write_bytes(slice_png.read_bytes())
    return path


def post(demo: Served, path: str, body: bytes | Iterable[bytes], kind: str, **headers: str) -> tuple[int, str]:
    """Status and text. A body in parts is sent in chunks, without a length, unless a header gives one."""
    connection = http.client.HTTPConnection(urlsplit(demo.url).netloc, timeout=60)
    chunked = not isinstance(body, bytes) and "Content-Length" not in headers
    try:
        connection.request("POST", path, body=body, headers={"Content-Type": kind, **headers}, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def call(demo: Served, name: str, data: Any) -> str:
    """What /call/NAME ends with, or the refusal of the request."""
    status, text = post(demo, f"/gradio_api/call/{name}", json.dumps({"data": data}).encode(), "application/json")
    if status != 200:
        return text
    event = json.loads(text)["event_id"]
    with urllib.request.urlopen(f"{demo.url}gradio_api/call/{name}/{event}", timeout=30) as stream:
        told: str = stream.read().decode()
    return told


def marked(folder: Path) -> list[Path]:
    """What below a folder has the marker in its name or, the visitor's own files apart, in its bytes."""
    found = [path for path in folder.rglob("*") if MARKER in path.name]
    return found + [path for path in folder.rglob("*") if path.is_file() and MARKER.encode() in path.read_bytes()]


def peak_mib(demo: Served) -> int:
    status = Path(f"/proc/{demo.process.pid}/status")
    if not status.is_file():
        pytest.skip("memory is read from /proc")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) // 1024


# ---------------------------------------------------------------------- names, on disk


def test_a_name_is_shown_but_never_on_disk(demo: Served, client: Client, named: Path) -> None:
    (row,) = client.predict([handle_file(named)], api_name="/classify_many")
    assert row["file"] == named.name
    assert marked(demo.temporary) == []
    uploads = [path for path in demo.uploads.rglob("upload*") if path.is_file()]
    assert any(path.read_bytes() == named.read_bytes() for path in uploads)  # the file is there, under another name


@pytest.mark.parametrize(
    "disposition",
    [
        f'name="files"; filename="../../{MARKER}.png"',
        f'name="files"; filename*=UTF-8\'\'Doe%20{MARKER}.png; filename="a.png"',
        f'name="files"; filename="{MARKER}"',
        f'name="files"; filename="a.{MARKER}"',
        f'name="files"; filename="a.png\\"; filename=\\"{MARKER}.png"',
        f'name="{MARKER}"; filename="{MARKER}.png"',
        'name="files"',
    ],
)
def test_no_way_to_give_a_name_reaches_the_disk(demo: Served, disposition: str) -> None:
    inner = f'\r\n--Y\r\nContent-Disposition: form-data; name="files"; filename="{MARKER}.png"\r\n\r\n'
    body = f"--X\r\nContent-Disposition: form-data; {disposition}\r\nX-Of: {MARKER}\r\n\r\n{inner}\r\n--X--\r\n"
    status, text = post(demo, "/gradio_api/upload", body.replace(MARKER, MARKER.upper()).encode(), MULTIPART)
    assert status == 200
    assert MARKER.upper() not in text
    assert not [path for path in demo.temporary.rglob("*") if MARKER.upper() in path.name]


def test_what_is_asked_waits_until_the_models_are_loaded() -> None:
    with Demo() as demo:
        gr.Button().click(lambda: "loaded", None, gr.Textbox())

    async def asked() -> list[str]:
        demo.loading = True
        answer = asyncio.create_task(demo.process_api(demo.fns[0], []))
        await asyncio.sleep(0.2)
        assert not answer.done()
        demo.loading = False
        return (await asyncio.wait_for(answer, 20))["data"]

    assert asyncio.run(asked()) == ["loaded"]


@pytest.mark.integration
def test_a_run_whose_network_cannot_be_loaded_ends_the_demo_with_the_reason(run_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(run_folder, broken)
    (broken / "model.safetensors").write_bytes(b"broken")
    command = [sys.executable, str(ROOT / "app.py"), "--models", str(broken)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {broken} cannot be opened: ")
    assert "Traceback" not in done.stderr


@pytest.mark.integration
def test_files_of_a_killed_server_are_deleted_by_the_next(run_folder: Path, tmp_path: Path, named: Path) -> None:
    with served(tmp_path / "one", [run_folder]) as living:
        Client(living.url, verbose=False).predict(handle_file(named), api_name="/classify")
        kept = {path for path in living.uploads.rglob("upload*") if path.is_file()}
        with served(tmp_path / "two", [run_folder], TMPDIR=str(living.temporary)) as killed:
            Client(killed.url, verbose=False).predict([handle_file(named)], api_name="/classify_many")
            killed.process.send_signal(signal.SIGKILL)
            killed.process.wait(timeout=30)
        folders = set(living.temporary.glob(f"{PREFIX}*"))
        assert len(folders) == 2
        assert marked(living.temporary) == []
        with served(tmp_path / "three", [run_folder], TMPDIR=str(living.temporary)):
            left = set(living.temporary.glob(f"{PREFIX}*")) & folders
            assert len(left) == 1  # that of the one which lives
            assert kept
            assert all(path.exists() for path in kept)


# ---------------------------------------------------------------------- bodies


def parts(head: bytes, megabytes: int) -> Iterator[bytes]:
    yield head
    for _ in range(megabytes):
        yield b"a" * 2**20


@pytest.mark.parametrize(
    ("path", "kind", "head", "megabytes"),
    [
        ("/gradio_api/upload", MULTIPART, PART, 300),
        ("/gradio_api/queue/join", "application/json", b'{"session_hash": "a", "fn_index": 0, "data": ["', 100),
        ("/gradio_api/call/classify", "application/json", b'{"data": ["', 100),
        ("/gradio_api/call/v2/classify", "application/json", b'{"file": "', 100),
        ("/gradio_api/run/models", "application/json", b'{"data": ["', 100),
        ("/gradio_api/mcp/", "application/json", b'{"jsonrpc": "', 100),
        ("/gradio_api/cancel", "application/json", b'{"session_hash": "', 100),
        ("/login", "application/x-www-form-urlencoded", b"username=", 100),
    ],
)
@pytest.mark.parametrize("declared", [True, False])
def test_large_bodies_are_refused_before_they_are_in_memory(
    demo: Served, path: str, kind: str, head: bytes, megabytes: int, declared: bool
) -> None:
    headers = {"Content-Length": str(len(head) + megabytes * 2**20)} if declared else {}
    before = peak_mib(demo)
    status, text = post(demo, path, parts(head, megabytes), kind, **headers)
    assert status in (400, 413)
    assert re.search("larger than|too large|exceeded", text)
    assert MARKER not in text
    assert peak_mib(demo) - before < 40
    assert not [one for one in demo.uploads.iterdir() if one.is_file() and one.stat().st_size > 2**20]


def test_a_large_field_beside_the_files_is_not_held(demo: Served) -> None:
    before = peak_mib(demo)
    head = b'--X\r\nContent-Disposition: form-data; name="note"\r\n\r\n'
    status, _ = post(demo, "/gradio_api/upload", parts(head, 150), MULTIPART)
    assert status == 200
    assert peak_mib(demo) - before < 40


def test_too_many_parts_are_refused(demo: Served) -> None:
    status, text = post(demo, "/gradio_api/upload", (PART + b"a\r\n") * 1001 + b"--X--\r\n", MULTIPART)
    assert (status, "1,000 parts" in text) == (400, True)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"data": ' * 100_000, "\xff\xfe", '{"data": [' + "9" * 5000 + "]}"])
def test_json_that_is_none_is_refused(demo: Served, text: str) -> None:
    status, said = post(demo, "/gradio_api/queue/join", text.encode("latin-1"), "application/json")
    assert 400 <= status < 600
    assert "Traceback" not in said


# ---------------------------------------------------------------------- errors and the log


def wrong_inputs() -> Iterator[tuple[str, list[Any]]]:
    file = {"path": f"/home/{MARKER}/a.png", "orig_name": f"{MARKER}.png", "meta": {"_type": "gradio.FileData"}}
    files: tuple[Any, ...] = (
        file,
        f"/etc/{MARKER}",
        {"path": f"http://127.0.0.1:9/{MARKER}.png", "meta": {"_type": "gradio.FileData"}},
        {"path": f"http://{MARKER}.invalid/a.png", "meta": {"_type": "gradio.FileData"}},
        {"path": None, "url": f"data:image/png;base64,{MARKER}", "meta": {"_type": "gradio.FileData"}},
        {"no": MARKER},
        [MARKER],
        17,
        None,
    )
    for one in files:
        yield "classify", [one, [], None, -1, False]
        yield "classify_many", [[one], []]
        yield "audit", [one, None]
    for plane, number in ((MARKER, -1), (None, MARKER), (None, [MARKER]), (None, 1e300), ({MARKER: 1}, 2)):
        yield "classify", [file, [MARKER], plane, number, MARKER]
    yield "classify", [MARKER]
    yield "leaderboard", [f"<b>{MARKER}</b>"]
    yield "leaderboard", [{MARKER: 1}]
    yield "report_of", [f"<script>{MARKER}</script> & co"]
    yield "report_of", []
    yield "models", [MARKER]
    yield MARKER, [MARKER]


def test_wrong_inputs_are_answered_in_plain_text_and_leave_no_word_in_the_log(demo: Served, client: Client) -> None:
    for name, data in wrong_inputs():
        told = call(demo, name, data)
        assert told
        assert not re.search(r"<[a-z/]|&[a-z]+;|Traceback|site-packages|/tmp/", told), told
    with pytest.raises(AppError) as said:
        client.predict("<b>no such</b> & co", api_name="/report_of")
    assert re.fullmatch("[^<>&]+", said.value.message)
    for path, body in (
        (f"/gradio_api/call/v2/{MARKER}", {"file": MARKER}),
        ("/gradio_api/call/v2/classify", {MARKER: 1}),
        ("/gradio_api/queue/join", {"session_hash": MARKER, "fn_index": 10**6, "data": [MARKER]}),
        ("/gradio_api/queue/join", {"session_hash": MARKER, "fn_index": 0, "data": {MARKER: 1}}),
        ("/gradio_api/queue/join", {"session_hash": [MARKER]}),
        ("/gradio_api/run/classify", {"data": [MARKER]}),
        ("/gradio_api/run/models", {"data": [MARKER], "fn_index": -1}),
        ("/gradio_api/cancel", {"session_hash": MARKER, "fn_index": 1, "event_id": MARKER}),
        ("/gradio_api/component_server", {"session_hash": MARKER, "component_id": 1, "fn_name": MARKER, "data": 1}),
        ("/gradio_api/mcp/", {"jsonrpc": "2.0", "id": 1, "method": MARKER}),
    ):
        status, text = post(demo, path, json.dumps(body).encode(), "application/json")
        assert status >= 200
        assert "Traceback" not in text
    for route in (f"gradio_api/file={MARKER}", f"gradio_api/call/classify/{MARKER}", f"config?{MARKER}", MARKER):
        try:
            with urllib.request.urlopen(f"{demo.url}{route}", timeout=30) as answer:
                assert "Traceback" not in answer.read().decode()
        except urllib.error.HTTPError as error:
            assert "Traceback" not in error.read().decode()
    log = demo.log.read_text()
    assert MARKER not in log
    assert "Traceback" not in log
    assert str(demo.temporary) not in log
    assert client.predict(api_name="/models")


@pytest.mark.parametrize("route", ["deep_link?session_hash=a", "proxy=https://a.hf.space/", "vibe-code"])
def test_what_no_page_needs_is_closed(demo: Served, route: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{demo.url}gradio_api/{route}", timeout=30)
    assert refused.value.code == 404


def test_a_long_image_of_few_pixels_is_refused_at_once(demo: Served, client: Client, tmp_path: Path) -> None:
    rows = np.resize(np.arange(251, dtype=np.uint8), (2_097_152, 8))
    Image.fromarray(rows).save(tmp_path / "long.png")
    before, started = peak_mib(demo), time.monotonic()
    with pytest.raises(AppError, match="too long"):
        client.predict(handle_file(tmp_path / "long.png"), with_map=True, api_name="/classify")
    assert peak_mib(demo) - before < 60
    assert time.monotonic() - started < 10
