"""The page finds what the script finds, keeps nothing, and says what is wrong with a zip."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from brainmri.audit.audit import STEPS
from brainmri.audit.audit import audit as run_audit
from brainmri.data.phantom.generate import draw_slices, draw_subject
from brainmri.demo.pages import audit

from ...scripts import run_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images of as many subjects; one of train stands in test too, and one file is no image."""
    root = tmp_path_factory.mktemp("audit") / "scans"
    images = []
    for number in range(9):
        rng = np.random.default_rng([8, number])
        images.append(Image.fromarray(draw_slices(rng, draw_subject(rng, number), 1, 64)[0][2]))
    for number, image in enumerate([*images, images[1]]):
        part, label = "test" if number > 6 else "train", "glioma" if number % 2 else "notumor"
        (root / part / label).mkdir(parents=True, exist_ok=True)
        image.save(root / part / label / f"{number}.png")
    (root / "test" / "notumor" / "<b>broken.png").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def archive(folder: Path) -> Path:
    """The contents of `folder` in a zip of its name."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as file:
        for image in sorted(folder.rglob("*.png")):
            file.write(image, image.relative_to(folder))
    return path


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with gr.Blocks() as demo:
        audit.build()
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    yield Client(url, verbose=False)
    demo.close()


def test_the_page_finds_what_the_script_finds(folder: Path, archive: Path, client: Client, tmp_path: Path) -> None:
    temporary = Path(client.output_dir).parent
    before = set(temporary.glob("brainmri-audit-*"))
    page, found, files = client.predict(handle_file(archive), None, api_name="/audit")
    done = run_here("audit.py", folder, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    served = {Path(file).name: Path(file) for file in files}
    assert set(served) == {"audit.html", "audit.json", "groups.csv"}
    assert served["audit.json"].read_bytes() == (tmp_path / "audit.json").read_bytes()
    assert served["groups.csv"].read_bytes() == (tmp_path / "groups.csv").read_bytes()
    assert found == json.loads((tmp_path / "audit.json").read_text())
    assert page.index("LEAK") < page.index("What repeats") < page.index("Pairs to look at")
    assert "1 of 3 images" in page
    assert "<b>broken" not in page
    assert set(temporary.glob("brainmri-audit-*")) == before  # nothing is left beside Gradio's own copies


def test_a_second_set_is_told_to_be_none_of_its_own(archive: Path, client: Client) -> None:
    page, found, _ = client.predict(handle_file(archive), handle_file(archive), api_name="/audit")
    assert (found["name"], found["against"]) == ("scans", "scans (second)")
    assert "NOT EXTERNAL" in page


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (None, "no ZIP file"),
        ({"notes.txt": b"hello"}, "holds no images"),
        ({"a/x.png": b"no image"}, "a folder of images for each class"),
        ({f"a/{number}.png": b"" for number in range(audit.MEMBERS + 1)}, "2,000"),
    ],
)
def test_a_bad_zip_gives_a_clear_message(
    members: dict[str, bytes] | None, message: str, client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.zip"
    if members is None:
        path.write_bytes(b"not a zip")
    else:
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(name, content)
    with pytest.raises(AppError) as error:
        client.predict(handle_file(path), None, api_name="/audit")
    assert message in str(error.value)
    assert str(tmp_path.parent.parent) not in str(error.value)
    assert "brainmri-audit-" not in str(error.value)
    assert "Traceback" not in capfd.readouterr().err


def test_no_zip_at_all_says_what_to_choose(client: Client) -> None:
    with pytest.raises(AppError, match="Choose a zip first"):
        client.predict(None, None, api_name="/audit")


def test_the_endpoint_is_documented(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/audit"}
    assert endpoints["/audit"]["description"].startswith("Look for leaks")


def test_steps_are_told_as_they_begin(folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    run_audit(folder, None, tmp_path / "out", tell=told.append)
    assert tuple(told) == STEPS
