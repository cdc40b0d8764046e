"""A command waits for nothing that it does not need. What is imported is tested; the time is measured elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "scripts").glob("*.py"))
HEAVY = {"numpy", "pandas", "PIL", "scipy", "torch", "torchvision", "transformers", "timm", "datasets", "accelerate"}
# Its flags are those of TrainingArguments, whose import brings these.
NEEDS = {"train.py": {"numpy", "PIL", "torch", "transformers", "accelerate"}}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_help_imports_nothing_heavy(script: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert imported & HEAVY <= NEEDS.get(script.name, set())


def test_what_needs_no_network_is_published_without_torch(tmp_path: Path) -> None:
    script = next(path for path in SCRIPTS if path.name == "publish.py")
    arguments = ["metric", "--repo", "anna/metric", "--dry-run", str(tmp_path / "tree")]
    command = [sys.executable, "-X", "importtime", str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "torchvision", "transformers", "timm", "datasets"}
