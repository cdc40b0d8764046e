"""A command waits for nothing that it does not need. What is imported is tested; the time is measured elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "scripts").glob("*.py"))
GRADIO = {"numpy", "pandas", "PIL", "scipy"}  # what it imports itself, in part
HEAVY = {"numpy", "pandas", "PIL", "scipy", "torch", "torchvision", "transformers", "timm", "datasets", "accelerate"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_help_imports_nothing_heavy(script: Path) -> None:
    assert not HEAVY & imported_by(str(script), "--help")


CONSOLE = "from brainmri.cli.main import main; main()"


@pytest.mark.parametrize(
    "arguments",
    [("-c", "import brainmri"), ("-c", CONSOLE, "--help"), ("-c", CONSOLE, "train", "--help")],
    ids=["import", "overview", "train"],
)
def test_the_package_and_the_console_command_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not HEAVY & imported_by(*arguments)


@pytest.mark.integration
def test_the_page_of_the_demo_stands_before_torch_is_imported() -> None:
    page = "import brainmri.demo.app, brainmri.demo.model, brainmri.demo.sample\n"
    page += "from brainmri.demo.pages import about, audit, classify, compare, endpoints\n"
    page += "from brainmri.evaluation.run_warnings import from_scratch; assert from_scratch('cnn_4x4')"
    more = {"captum", "evaluate", "matplotlib", "scipy.stats", "sklearn"}
    assert not (HEAVY | more) - GRADIO & imported_by("-c", page)


def test_plain_images_are_read_without_the_libraries_of_scans() -> None:
    code = "import brainmri.io.inputs, brainmri.data.layouts, brainmri.evaluation.load"
    assert not {"nibabel", "pydicom", "h5py", "torch", "transformers"} & imported_by("-c", code)


def imported_by(*arguments: str) -> set[str]:
    """The modules that `python ARGUMENTS` imports, which ends well and, asked for help, gives it."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "--help" not in arguments or "usage: " in done.stdout
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_what_needs_no_network_is_published_without_torch(tmp_path: Path) -> None:
    script = next(path for path in SCRIPTS if path.name == "publish.py")
    arguments = ["metric", "--repo", "anna/metric", "--dry-run", str(tmp_path / "tree")]
    assert not imported_by(str(script), *arguments) & {"torch", "torchvision", "transformers", "timm", "datasets"}
