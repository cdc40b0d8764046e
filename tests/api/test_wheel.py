"""The wheel, installed outside the repository: what a user has who never cloned it."""

import json
import os
import subprocess
import sys
import sysconfig
import textwrap
from importlib import metadata
from pathlib import Path

import pytest
from packaging.version import Version

from .conftest import Trained

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        Version(metadata.version("setuptools")) < Version("77"), reason="the extra `dev` has what builds the wheel"
    ),
]
README = """
import brainmri, json, sys
model = brainmri.load_model(sys.argv[1])
found = model.predict(sys.argv[2])
study = model.predict_scan(sys.argv[3])
scan = brainmri.read_scan(sys.argv[2])
score = brainmri.evaluate(model, sys.argv[4])
print(json.dumps([
    brainmri.__file__, found.label, found.probabilities, len(study.slices), scan.slice().shape, len(score.predictions)
]))
"""


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """In a folder outside the repository, of which the environment says nothing."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=own, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel; the other packages are those of this one, nothing is fetched."""
    base = tmp_path_factory.mktemp("wheel")
    uv = (sys.executable, "-m", "uv", "--offline", "--quiet")
    run(*uv, "build", "--wheel", "--no-build-isolation", "--out-dir", base / "dist", ROOT, cwd=base)
    run(sys.executable, "-m", "venv", "--without-pip", base / "env", cwd=base)
    programs = base / "env" / ("Scripts" if os.name == "nt" else "bin")
    variables = {"base": str(base / "env"), "platbase": str(base / "env")}
    packages = Path(sysconfig.get_path("purelib", vars=variables))
    # Behind the wheel's own folder; .pth files in there (of an editable installation) are not looked at.
    outer = [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    (packages / "outer.pth").write_text("\n".join(outer) + "\n")
    (wheel,) = (base / "dist").glob("*.whl")
    run(*uv, "pip", "install", "--no-deps", "--python", programs / "python", wheel, cwd=base)
    return programs


def test_the_api_works_from_the_wheel(installed: Path, trained: Trained, tmp_path: Path) -> None:

    image = sorted((trained.data / "test").rglob("*.png"))[0]
    done = run(installed / "python", "-c", README, trained.run, image, image.parent, trained.data, cwd=tmp_path)
    file, label, probabilities, slices, shape, scored = json.loads(done.stdout.splitlines()[-1])
    assert Path(file).is_relative_to(installed.parent)
    assert label in probabilities
    assert slices == len(list(image.parent.glob("*.png")))
    assert shape == [32, 32]
    assert scored > 0


def test_the_console_command_predicts(installed: Path, trained: Trained, tmp_path: Path) -> None:
    done = run(installed / "brainmri", "predict", trained.run, trained.data / "test", "--out", "p.csv", cwd=tmp_path)
    assert "images classified" in done.stdout
    header = (tmp_path / "p.csv").read_text().splitlines()[0]
    assert header.startswith("path,plane,slice,patient,predicted,p_glioma,")
    assert {path.name for path in tmp_path.iterdir()} == {
        "p.csv",
        "patients.csv",
        "scans.csv",
        "rejected.csv",
        "made.json",
    }


@pytest.mark.slow  # a type checker reads all of torch
def test_types_are_seen_by_a_type_checker(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(
        textwrap.dedent(
            """
            import brainmri

            model = brainmri.load_model("runs/NAME")
            reveal_type(model.predict("slice.png"))
            reveal_type(brainmri.audit("folder"))
            reveal_type(brainmri.prepare("a", "b"))
            reveal_type(brainmri.read_scan("head.nii").slice("axial", 3))
            model.predict(3)
            """
        )
    )
    command = [sys.executable, "-m", "mypy", "--python-executable", installed / "python", "--follow-imports=silent"]
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(
        [*map(str, command), "--ignore-missing-imports", "user.py"],
        cwd=tmp_path,
        env=own,
        capture_output=True,
        text=True,
        timeout=600,
    )
    for name in ("inference.Prediction", "AuditReport", "dataset.PreparedData", "_8Bit"):
        assert any("Revealed type" in line and name in line for line in done.stdout.splitlines()), done.stdout
    assert 'Argument 1 to "predict"' in done.stdout
