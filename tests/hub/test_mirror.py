"""Every command of the guide to a mirror behind a firewall, in its order, against a server on loopback."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from .conftest import ROOT, MakeHub
from .loopback import Blob, LoopbackHub, Repo

GUIDE = ROOT / "docs" / "guides" / "mirror.md"
BLOCK = re.compile(r"```bash\n(.*?)```", flags=re.DOTALL)
OUTSIDE = "hf download timm/"  # the one command that is for a machine with an open network


def blocks() -> tuple[str, list[str]]:
    """The variables that the guide sets, and its other commands."""
    variables, *commands = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    return variables, commands


@pytest.fixture
def work(tmp_path: Path, timm_run: Path, phantom: Path) -> Path:
    """A folder with what the guide names: a run, its data, and a slice."""
    shutil.copytree(timm_run, tmp_path / "runs" / "net")
    shutil.copytree(phantom, tmp_path / "data" / "slices")
    shutil.copy(next((phantom / "test").rglob("*.png")), tmp_path / "slice.png")
    return tmp_path


def run_of(command: str, hub: LoopbackHub, work: Path, variables: str) -> str:
    """What a block prints, with the guide's variables set to this server; stops where a command fails."""
    script = f"set -e\n{variables}\n{command}"
    for written, here in (("https://hub.hospital.example", hub.url), ("hf_of_your_server", "hf_anna")):
        script = script.replace(written, here)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    tools = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    environment = kept | {"PATH": tools, "OMP_NUM_THREADS": "1", "BRAINMRI_CACHE": str(work / "cache"), "NO_COLOR": "1"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=work, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow  # two models are built, and each command is a process of its own
def test_the_guide_is_tried_command_by_command(make_hub: MakeHub, work: Path) -> None:
    hub, outside = make_hub("no collections", "bare info"), make_hub()
    public = Repo("model", "timm/resnet50.tv_in1k", private=False)
    files = {"model.safetensors": Blob(b"weights", lfs=True), "config.json": Blob(b"{}", lfs=False)}
    outside.objects[files["model.safetensors"].sha256] = b"weights"
    public.commit("main", files, "initial")
    outside.repos["model", public.id] = public

    variables, commands = blocks()
    printed = {}
    for command in commands:
        server = outside if command.startswith(OUTSIDE) else hub
        printed[command] = run_of(command, server, work, variables)
    found = list(printed.values())

    assert "anna" in found[0]
    assert hub.files("model", "lab/resnet50")["model.safetensors"] == b"weights"
    assert {("dataset", "lab/slices"), ("model", "lab/net")} <= hub.repos.keys()
    assert all(repo.private for repo in hub.repos.values())
    assert "nothing new" in next(text for command, text in printed.items() if command.count("publish") == 1)
    assert "'label': " in next(text for command, text in printed.items() if command.startswith("python"))
    answers = [pd.read_csv(work / name / "predictions.csv") for name in ("answers", "answers-of-the-folder")]
    cached = pd.read_csv(work / "answers-of-the-cache" / "predictions.csv")
    for table in answers:
        assert table["predicted"].tolist() == cached["predicted"].tolist()


def test_the_guide_asks_nothing_of_the_public_hub() -> None:
    variables, commands = blocks()
    assert "export HF_ENDPOINT=" in variables
    assert not re.search(r"huggingface\.co", "\n".join(commands))
    assert sum(command.startswith(OUTSIDE) for command in commands) == 1
