"""scripts/explain.py as a user runs it, and the model and image that it looks at."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from brainmri.cli import explain
from brainmri.data.phantom.generate import make_phantom
from brainmri.evaluation.explain import subject
from brainmri.models.build import build_model, parameter_counts
from brainmri.models.introspect import resolve
from brainmri.models.load import save_model
from brainmri.models.preprocessing import image_processor, normalized
from brainmri.schemas import write

from ...conftest import CLASSES, MakeRun, dataset_info

SCRIPT = Path(__file__).parents[3] / "scripts" / "explain.py"
TINY_CNN = ["input.size=32", "model.arguments.image_size=32"]
TINY_RESNET = ["model.arguments.architecture=test_resnet", "input.size=64"]


def filled(run: Path, name: str, overrides: list[str]) -> torch.nn.Module:
    """Puts a tiny untrained model and its recipe into a run folder, and returns the model."""
    recipe = resolve(name, overrides=overrides)
    model = build_model(recipe, CLASSES, "random")[0].eval()
    save_model(model, image_processor(recipe.input.size, recipe.input.normalize), run)
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return model


@pytest.fixture
def slice_file(tmp_path: Path) -> Path:
    path = tmp_path / "slice.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)).save(path)
    return path


@pytest.mark.integration
def test_all_studies_of_a_run(make_run: MakeRun, slice_file: Path) -> None:
    run = make_run(arch="cnn_4x4")
    model = filled(run, "cnn_4x4", TINY_CNN)
    for code in run.glob("*.py"):
        code.write_text("raise SystemExit('code of the run folder was executed')")
    command = [sys.executable, str(SCRIPT), str(run), "--image", str(slice_file)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cnn_4x4 (clean, seed 1), image: slice.png\n")
    [out] = (run / "explain").iterdir()
    assert re.fullmatch("slice-[0-9a-f]{8}", out.name)
    names = [f"{k + 1:03d}_features.{3 * k}.png" for k in range(4)] + ["overview.png"]
    assert sorted(path.name for path in (out / "features").iterdir()) == names
    others = ["classification_report.txt", "dropout.csv", "dropout.png", "features", "layers.csv", "layers.txt"]
    others += ["made.json", "maps"]
    assert sorted(path.name for path in out.iterdir()) == others
    total = parameter_counts(model)["total"]
    assert pd.read_csv(out / "layers.csv")["parameters"].sum() == total
    assert f"Keras counts them: {total:,}" in (out / "layers.txt").read_text()
    assert f"{total:,} parameters" in done.stdout
    assert "Feature maps: 4 convolutions, from 4x32x32 to 4x4x4" in done.stdout
    assert pd.read_csv(out / "dropout.csv")["class"].drop_duplicates().tolist() == CLASSES
    assert (out / "classification_report.txt").read_text() in done.stdout
    assert "Maps at features.10 (4x4 places) for the predicted class\n" in done.stdout


def parsed(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> ModuleType:
    monkeypatch.setattr(sys, "argv", ["explain.py", *arguments])
    return explain


def test_an_untrained_model_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parsed(monkeypatch, "--arch", "cnn_4x4", "--studies", "layers", "--out", str(tmp_path)).main()
    assert "cnn_4x4, UNTRAINED (random weights)" in capsys.readouterr().out
    assert "UNTRAINED (random weights)" in (tmp_path / "layers.txt").read_text()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["layers.csv", "layers.txt", "made.json"]
    arguments = parsed(monkeypatch, "--arch", "cnn_4x4").parse_arguments()
    assert arguments.studies == ["layers", "features", "dropout"]


@pytest.mark.integration
def test_what_was_found_of_another_image_stays(
    slice_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    untrained = ["--arch", "cnn_4x4", "--image", str(slice_file), "--studies", "dropout"]
    for _ in range(2):
        parsed(monkeypatch, *untrained).main()
        parsed(monkeypatch, *untrained, "--out", "out").main()
    [first] = Path("explain").iterdir()
    before = (tmp_path / "out" / "dropout.csv").read_bytes()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40), dtype=np.uint8)).save(slice_file)
    with pytest.raises(ValueError, match=r"out holds what was made of other inputs \(dropout\)"):
        parsed(monkeypatch, *untrained, "--out", "out").main()
    assert (tmp_path / "out" / "dropout.csv").read_bytes() == before
    parsed(monkeypatch, *untrained).main()
    assert len({path.name for path in Path("explain").iterdir()} - {first.name}) == 1
    parsed(monkeypatch, *untrained, "--out", "out", "--overwrite").main()
    assert (tmp_path / "out" / "dropout.csv").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either the folder of a run or --arch NAME"),
        (["run", "--arch", "cnn_4x4"], "give either the folder of a run or --arch NAME"),
        (["run", "--studies", "layers", "gradients"], "unknown study gradients"),
        (["--arch", "cnn_4x4", "--studies", "report"], "need a finished run"),
        (["--arch", "cnn_4x4", "--studies", "maps"], "need a finished run"),
        (["run", "--class", "glioma", "--studies", "layers"], "belong to the study `maps`"),
        (["run", "--outlines", "outlines.csv"], "--outlines needs --data_dir"),
        (["run", "--data_dir", "data", "--image", "a.png"], "neither --image nor --arch"),
        (["--arch", "resnet999"], "unknown recipe 'resnet999'"),
        (["no_such_run"], "no_such_run: no such folder"),
    ],
)
def test_mistakes_are_told(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parsed(monkeypatch, *arguments).main()
    assert "\n" not in str(error.value)


def test_a_timm_run_loads_with_equal_logits_and_its_frozen_backbone(make_run: MakeRun) -> None:
    run = make_run()
    stages = "stages=[{epochs: 1, learning_rate: 0.001, freeze: backbone}]"
    model = filled(run, "resnet50", [*TINY_RESNET, stages])
    found = subject.trained(run)
    pixels = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(found.network(pixels), model(pixels).logits, rtol=0, atol=0)
    assert found.classes == CLASSES
    head = sum(p.numel() for p in found.network.get_classifier().parameters())
    assert parameter_counts(found.network)["trainable"] == head
    assert not found.network.training


def test_a_run_that_lacks_weights_is_refused(make_run: MakeRun) -> None:
    from safetensors.torch import load_file, save_file

    run = make_run()
    filled(run, "cnn_4x4", TINY_CNN)
    state = load_file(run / "model.safetensors")
    del state["hidden.bias"]
    save_file(state, run / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"its weights lack hidden\.bias"):
        subject.trained(run)
    (run / "recipe.yaml").unlink()
    with pytest.raises(ValueError, match=r"not the folder of a finished run: it has no recipe\.yaml"):
        subject.trained(run)


def test_the_first_test_image_of_the_data_that_the_run_saw(make_run: MakeRun, tmp_path: Path) -> None:
    run, data = make_run(), tmp_path / "data"
    (data / "test").mkdir(parents=True)
    (data / "test" / "0.png").write_bytes(b"")
    columns = "file_name,label,split,group_id,duplicate_id,site,source\n"
    (data / "index.csv").write_text(f"{columns}test/0.png,glioma,test,g0,p0,,0.png\n")
    write(dataset_info(classes=CLASSES, fingerprint="0123456789abcdef"), data / "dataset.json")
    assert subject.first_test_image(run, data) == data / "test" / "0.png"
    (data / "test" / "1.png").write_bytes(b"")
    (data / "index.csv").write_text(f"{columns}test/1.png,glioma,test,g0,p0,,1.png\n")
    with pytest.raises(ValueError, match=r"is not the data that .* it has no test/0\.png"):
        subject.first_test_image(run, data)


def test_the_network_gets_the_image_that_is_shown(slice_file: Path) -> None:
    image = subject.read_slice(slice_file)
    pixels, shown = subject.preprocessed(image, image_processor(32, "imagenet"))
    assert (shown.shape, shown.dtype) == ((32, 32, 3), np.uint8)
    expected = normalized(torch.from_numpy(shown).permute(2, 0, 1)[None].float(), "imagenet")
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=1e-5)
    slice_file.write_text("not an image")
    with pytest.raises(ValueError, match=r"slice\.png: not an image that can be read"):
        subject.read_slice(slice_file)


def test_the_default_image_is_of_the_phantom_set(tmp_path: Path) -> None:
    folder = make_phantom(tmp_path / "phantom", subjects=4, progress=False)
    images = [np.asarray(Image.open(path)) for path in (folder / "glioma").iterdir()]
    shown = np.asarray(subject.phantom_slice())
    assert any(np.array_equal(image, shown) for image in images)
