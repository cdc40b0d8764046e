"""`brainmri export`: a file that gives the network's logits, and what is needed beside it."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from scipy.special import softmax
from transformers import AutoImageProcessor
from transformers.models.timm_wrapper.image_processing_timm_wrapper import TimmWrapperImageProcessor

import brainmri
from brainmri.cli.export import written_processor
from brainmri.models import export

from ..scripts import run_here
from .conftest import Trained


@pytest.fixture(scope="module")
def image(trained: Trained) -> Image.Image:
    return Image.open(sorted((trained.data / "test").rglob("*.png"))[0])


def described(folder: Path, kind: str, logits: np.ndarray) -> dict[str, float]:
    """The probabilities as someone computes them who has the folder alone."""
    text = json.loads((folder / f"{kind}.json").read_text())
    assert text["probabilities"] == "softmax(logits / temperature)"
    assert text["compared_with_torch"]["images"] == 12
    assert text["compared_with_torch"]["largest_difference"] < 1e-4
    return dict(zip(text["classes"], softmax(logits / text["temperature"]).tolist(), strict=True))


@pytest.mark.integration
def test_onnx_and_torch_export_answer_as_the_model(trained: Trained, image: Image.Image, tmp_path: Path) -> None:
    out = tmp_path / "exported"
    for kind in ("onnx", "torch_export"):
        done = run_here("export.py", trained.run, "--format", kind, "--out", out)
        assert done.returncode == 0, done.stderr
        assert "Largest difference from torch on 12 images: " in done.stdout
    expected = brainmri.load_model(trained.run).predict(image).probabilities
    pixels = AutoImageProcessor.from_pretrained(out)(image, return_tensors="np")["pixel_values"]
    session = onnxruntime.InferenceSession(out / "model.onnx")
    (logits,) = session.run(["logits"], {"pixel_values": pixels})
    assert described(out, "onnx", logits[0]) == pytest.approx(expected, abs=1e-5)
    # Without this package: a process that knows torch alone.
    np.save(tmp_path / "pixels.npy", np.repeat(pixels, 3, axis=0))
    code = (
        "import sys, json, numpy, torch\n"
        "network = torch.export.load(sys.argv[1]).module()\n"
        "logits = network(torch.from_numpy(numpy.load(sys.argv[2]))).tolist()\n"
        "assert 'brainmri' not in sys.modules\n"
        "print(json.dumps(logits))"
    )
    command = [sys.executable, "-c", code, str(out / "model.pt2"), str(tmp_path / "pixels.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    assert len(rows) == 3
    for row in rows:
        assert described(out, "torch_export", np.array(row)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.integration
@pytest.mark.skipif(find_spec("openvino") is None, reason="the extra `export` is not installed")
def test_openvino_answers_as_the_model(trained: Trained, image: Image.Image, tmp_path: Path) -> None:
    import openvino

    done = run_here("export.py", trained.run, "--format", "openvino", "--out", tmp_path / "ov")
    assert done.returncode == 0, done.stderr
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(tmp_path / "ov" / "model.xml", "CPU", settings)
    pixels = AutoImageProcessor.from_pretrained(tmp_path / "ov")(image, return_tensors="np")["pixel_values"]
    expected = brainmri.load_model(trained.run).predict(image).probabilities
    assert described(tmp_path / "ov", "openvino", compiled([pixels])[0][0]) == pytest.approx(expected, abs=1e-5)


def test_a_missing_extra_says_what_to_install(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    done = run_here("export.py", trained.run, "--format", "openvino", "--out", tmp_path / "ov")
    assert (done.returncode, done.stderr) == (
        2,
        "error: --format openvino needs the package openvino: pip install -e '.[export]' in the clone\n",
    )
    assert not (tmp_path / "ov").exists()


def test_a_file_that_answers_otherwise_is_not_kept(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: torch.nn.Module, size: tuple[int, int], file: Path) -> export.Run:
        file.write_text("wrong")
        return lambda pixels: np.zeros((len(pixels), 4), np.float32)

    monkeypatch.setattr(export, "_torch_export", wrong)
    done = run_here("export.py", trained.run, "--format", "torch_export", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "the logits of model.pt2 differ from torch's by " in done.stderr
    assert not (tmp_path / "out" / "model.pt2").exists()


def test_another_models_folder_is_refused(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    done = run_here("export.py", trained.run, "--format", "torch_export", "--out", tmp_path / "mine")
    assert done.returncode == 2
    assert "holds something that this command did not make" in done.stderr


@pytest.mark.parametrize(("crop", "mode"), [(1.0, "squash"), (0.875, "center"), (1.0, "center")])
def test_the_preprocessing_of_timm_is_written_where_a_file_can_say_it(
    crop: float, mode: str, image: Image.Image
) -> None:
    """timm's own image processor saves nothing: an export held no preprocessing at all."""
    settings = {"input_size": (3, 32, 32), "interpolation": "bilinear", "mean": (0.4,) * 3, "std": (0.2,) * 3}
    timm = TimmWrapperImageProcessor(settings | {"crop_pct": crop, "crop_mode": mode}, architecture="test_resnet")
    model = mock.Mock(processor=timm)
    model.name = "a model"
    if (crop, mode) != (1.0, "squash"):
        with pytest.raises(ValueError, match=r"a model crops its images"):
            written_processor(model)
        return
    written = written_processor(model)
    ours, theirs = (one(images=[image.convert("RGB")], return_tensors="pt")["pixel_values"] for one in (written, timm))
    assert torch.allclose(
        ours, theirs, atol=1.01 / 255 / 0.2
    )  # one grey level: the one rounds pixels, the other does not
