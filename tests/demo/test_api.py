"""The demo's endpoints as programs and language models use them, and what they refuse."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from benchmarks.load_test import resident_mib
from brainmri.evaluation.inference import infer
from brainmri.models.load import load_classifier, load_processor

from ..io.hostile import hostile_files
from .serving import Served, served

pytestmark = pytest.mark.integration

NAME, BORN = "Doe^Jane^Confidential", "19491231"


@pytest.fixture(scope="module")
def client(demo: Served) -> Client:
    return Client(demo.url, verbose=False)


def test_two_lines_classify_a_slice(demo: Served, slice_png: Path, run_folder: Path) -> None:
    client = Client(demo.url, verbose=False)
    (answer,) = client.predict(handle_file(slice_png), api_name="/classify")
    with Image.open(slice_png) as image:
        expected = infer([image], load_classifier(str(run_folder)), load_processor(str(run_folder)))
    assert answer["label"] == list(answer["probabilities"])[expected.probabilities[0].argmax()]
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["sentence"] and answer["milliseconds"] > 0
    assert isinstance(answer["refused"], bool)


def test_a_slice_of_a_volume_and_its_map(client: Client, volume_nii: Path) -> None:
    asked = {"file": handle_file(volume_nii), "api_name": "/classify"}
    (answer,) = client.predict(**asked, plane="coronal", slice_number=3, with_map=True)
    assert answer["map"].startswith("data:image/")
    (other,) = client.predict(**asked, plane="axial", slice_number=3)
    assert other["probabilities"] != answer["probabilities"]
    with pytest.raises(AppError, match="no such slice"):
        client.predict(**asked, plane="coronal", slice_number=10_000)


def test_many_files_give_a_row_each_and_say_what_is_wrong(client: Client, slice_png: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("not an image")
    rows = client.predict([handle_file(slice_png), handle_file(tmp_path / "note.txt")], api_name="/classify_many")
    assert [row["file"] for row in rows] == [slice_png.name, "note.txt"]
    assert rows[0]["probability"].endswith("%")
    assert "Use an image" in rows[1]["answer"]


def test_only_the_models_of_the_settings_answer(client: Client, slice_png: Path) -> None:
    (known,) = client.predict(api_name="/models")
    assert known["classes"]
    for stranger in ("someone/else", "../../etc", "timm:resnet18"):
        with pytest.raises((AppError, ValueError)):
            client.predict(handle_file(slice_png), models_asked=[stranger], api_name="/classify")


def test_every_public_endpoint_says_what_it_takes(client: Client) -> None:
    described = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert {"/classify", "/classify_many", "/models", "/audit", "/leaderboard"} <= described.keys()
    for name, endpoint in described.items():
        assert endpoint.get("description"), name
        for parameter in endpoint["parameters"]:
            assert parameter["label"] and parameter["python_type"]["type"], (name, parameter)


def test_a_language_model_finds_the_tools_and_their_use(demo: Served, slice_png: Path, client: Client) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    image = "data:image/png;base64," + base64.b64encode(slice_png.read_bytes()).decode()

    async def use() -> tuple[dict[str, str], str, str]:
        address = f"{demo.url}gradio_api/mcp/"
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            tools = {tool.name: tool.description or "" for tool in (await session.list_tools()).tools}
            models = next(name for name in tools if name.endswith("models"))
            said = await session.call_tool(models, {})
            answer = await session.call_tool("classify", {"file": image, "models_asked": []})
            return tools, said.content[0].text, answer.content[0].text  # type: ignore[union-attr]

    tools, said, answer = asyncio.run(use())
    assert "'sentence': " in answer
    assert any("Classify one MRI slice" in text and "no diagnosis" in text for text in tools.values())
    assert "glioma" in said
    assert not {"look", "look_again", "turn"} & tools.keys()  # what only the page uses is no tool


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "app.py", "../app.py", "/proc/self/environ", "README.md", "src/brainmri/__init__.py"]
)
def test_no_file_of_the_server_can_be_read(demo: Served, path: str) -> None:
    for route in ("gradio_api/file=", "file=", "gradio_api/file/"):
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{demo.url}{route}{quote(path)}", timeout=10)
        assert refused.value.code in (403, 404)


def test_a_model_folder_cannot_be_read(demo: Served, run_folder: Path) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{demo.url}gradio_api/file={run_folder / 'result.json'}", timeout=10)
    assert refused.value.code == 403


def dicom(path: Path) -> Path:
    """A DICOM slice with everything that names a patient."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID, data.PatientBirthDate = NAME, f"ID-{NAME}", BORN
    data.Modality, data.SeriesDescription = "MR", f"of {NAME}"
    data.Rows = data.Columns = 64
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = np.random.default_rng(0).integers(0, 4000, (64, 64)).astype(np.uint16).tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def test_what_names_a_patient_is_neither_answered_nor_logged(client: Client, demo: Served, tmp_path: Path) -> None:
    good = dicom(tmp_path / "slice.dcm")
    (answer,) = client.predict(handle_file(good), with_map=True, api_name="/classify")
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(good.read_bytes()[:-4000])
    with pytest.raises(AppError) as said:
        client.predict(handle_file(broken), api_name="/classify")
    everything = json.dumps(answer) + str(said.value) + demo.log.read_text()
    assert "Confidential" not in everything
    assert BORN not in everything


def test_an_error_of_the_program_itself_tells_nothing_of_it(client: Client) -> None:
    with pytest.raises(AppError) as said:
        client.predict(None, api_name="/classify")
    assert "Upload" in str(said.value)
    assert "Traceback" not in str(said.value)


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("forgetful"), [run_folder], "--keep", "1") as demo:
        yield demo


def test_nothing_that_was_uploaded_is_kept(forgetful: Served, slice_png: Path, volume_nii: Path) -> None:
    before = files(forgetful)
    client = Client(forgetful.url, verbose=False)
    answers_by(client, slice_png)  # what comes while the models load waits for them, longer than a file is kept here
    assert forgets(forgetful, before)
    for path in (slice_png, volume_nii):
        client.predict(handle_file(path), with_map=True, api_name="/classify")
    client.predict([handle_file(slice_png)] * 3, api_name="/classify_many")
    assert files(forgetful) > before
    assert forgets(forgetful, before)
    forgetful.process.terminate()
    forgetful.process.wait(timeout=30)
    assert not list(forgetful.temporary.glob("brainmri-demo-*"))


def answers_by(client: Client, file: Path, seconds: float = 60) -> None:
    """Wait until the server classifies."""
    end = time.monotonic() + seconds
    while True:
        try:
            client.predict(handle_file(file), api_name="/classify")
            return
        except AppError:
            if time.monotonic() > end:
                raise


def forgets(demo: Served, before: set[Path]) -> bool:
    """Whether the server's temporary files become those of before."""
    end = time.monotonic() + 60
    while files(demo) != before and time.monotonic() < end:
        time.sleep(0.3)
    return files(demo) == before


def files(demo: Served) -> set[Path]:
    return set(demo.uploads.rglob("*"))


@pytest.mark.slow
def test_every_hostile_file_is_answered_by_the_server_which_goes_on(
    run_folder: Path, tmp_path: Path, slice_png: Path
) -> None:
    (tmp_path / "hostile").mkdir()
    with served(tmp_path / "server", [run_folder], "--keep", "5") as demo:
        client, before = Client(demo.url, verbose=False), files(demo)
        resident = resident_mib(demo.process.pid)
        for one in hostile_files(tmp_path / "hostile"):
            if not one.path.is_file():
                continue
            for name, given in (("/classify", handle_file(one.path)), ("/classify_many", [handle_file(one.path)])):
                try:
                    client.predict(given, api_name=name)
                except AppError as error:
                    assert "Traceback" not in str(error)
                    assert len(str(error)) > 20, one.name  # a sentence, and not "None"
        assert client.predict(handle_file(slice_png), api_name="/classify")
        assert "Traceback" not in demo.log.read_text()
        if resident:
            assert (resident_mib(demo.process.pid) or 0) - resident < 700
        assert forgets(demo, before)
