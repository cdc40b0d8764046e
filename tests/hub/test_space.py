"""The demo as a Space: its models are looked up, pinned to their commits, and private ones read with a secret."""

import io
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi

from brainmri.cli import publish as command
from brainmri.demo.sample import model_places

from .conftest import MakeHub, Run
from .loopback import LoopbackHub
from .test_upload import failed

DEMO = ("space", "anna/demo")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with an app that is none of the package's, so that nothing of that is copied."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text("print('demo')\n")
    (folder / "requirements.txt").write_text("gradio\n")
    return folder


def give_model(hub: LoopbackHub, place: str, *files: str, private: bool = False) -> str:
    """A model of somebody's; returns its commit."""
    api = HfApi(endpoint=hub.url, token="hf_bert" if place.startswith("bert/") else "hf_anna")
    api.create_repo(place, private=private)
    for name in files:
        api.upload_file(path_or_fileobj=b"{}", path_in_repo=name, repo_id=place)
    return hub.repos["model", place].branches["main"]


def front(hub: LoopbackHub) -> dict[str, object]:
    return yaml.safe_load(hub.files(*DEMO)["README.md"].decode().split("---")[1])


def test_a_model_that_is_not_there_stops_it_before_anything_is_made(hub: LoopbackHub, publish: Run, app: Path) -> None:
    give_model(hub, "bert/theirs", "config.json")
    give_model(hub, "bert/no-model", "README.md")
    give_model(hub, "bert/hidden", "config.json", private=True)
    for place, reason in {
        "alice/does-not-exist": "there is no such model on the Hub that this token may read",
        "bert/hidden": "there is no such model on the Hub that this token may read",
        "bert/theirs@v9": "bert/theirs has no revision v9 (it has main)",
        "bert/no-model": "the repository has no config.json, so the demo cannot open it",
    }.items():
        message = failed(publish, hub, "space", "--models", "bert/theirs", place, "--app_dir", str(app))
        assert message.startswith(f"error: --models {place}: {reason}")
    assert not [kind for kind, _ in hub.repos if kind == "space"]


def test_models_are_plain_in_the_metadata_and_pinned_where_the_demo_reads_them(
    hub: LoopbackHub, publish: Run, app: Path, tmp_path: Path
) -> None:
    ours = ("config.json", "model.safetensors", "uncertainty.json", "uncertainty.safetensors", "report.html")
    first = give_model(hub, "anna/ours", *ours)
    HfApi(endpoint=hub.url, token="hf_anna").create_tag("anna/ours", tag="v1")
    give_model(hub, "anna/ours2", "config.json")
    HfApi(endpoint=hub.url, token="hf_anna").upload_file(
        path_or_fileobj=b"new", path_in_repo="config.json", repo_id="anna/ours"
    )
    theirs = give_model(hub, "bert/theirs", "config.json", "model-00001-of-00002.safetensors", "tf_model.h5")
    models = ["anna/ours@v1", "bert/theirs"]
    done = publish(hub, "space", "--models", *models, "--app_dir", app, "--repo", "demo")
    assert done.returncode == 0, done.stderr
    metadata = front(hub)
    assert metadata["models"] == ["anna/ours", "bert/theirs"]
    assert metadata["preload_from_hub"] == [
        f"anna/ours config.json,model.safetensors,uncertainty.json,uncertainty.safetensors {first}",
        f"bert/theirs config.json,model-00001-of-00002.safetensors {theirs}",
    ]
    for name, content in hub.files(*DEMO).items():
        (tmp_path / name).write_bytes(content)
    assert model_places((), tmp_path) == [f"anna/ours@{first}", f"bert/theirs@{theirs}"]
    assert "secret" not in done.stdout
    again = publish(hub, "space", "--models", *models, "--app_dir", app, "--repo", "demo")
    assert "nothing new" in again.stdout


def test_a_private_model_needs_a_secret_which_is_explained(hub: LoopbackHub, publish: Run, app: Path) -> None:
    give_model(hub, "anna/hidden", "config.json", "model.safetensors", private=True)
    done = publish(hub, "space", "--models", "anna/hidden", "--app_dir", app, "--repo", "demo")
    assert done.returncode == 0, done.stderr
    assert "anna/demo reads private models (anna/hidden): it starts with the secret HF_TOKEN" in done.stdout
    assert "hf spaces secrets add anna/demo -s HF_TOKEN" in done.stdout
    assert "preload_from_hub" not in front(hub)  # which is read when the Space is built, without the secret
    assert "Without it the Space does not start" in hub.files(*DEMO)["README.md"].decode()
    assert not hub.repos[DEMO].secrets


@pytest.mark.parametrize("habit", [None, "not implemented"])
def test_a_terminal_is_asked_for_the_secret(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], habit: str | None
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    hub = make_hub(*([habit] if habit else []))
    api = HfApi(endpoint=hub.url, token="hf_anna")
    api.create_repo(DEMO[1], repo_type="space", space_sdk="gradio")
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: "hf_reading")
    command._give_secret(api, DEMO[1], ("anna/hidden",))
    said = capsys.readouterr().out
    assert "hf_reading" not in said
    if habit:
        assert "this server does not do that" in said
        assert "hf spaces secrets add anna/demo -s HF_TOKEN" in said
    else:
        assert "anna/demo has the secret HF_TOKEN" in said
        assert hub.repos[DEMO].secrets == {"HF_TOKEN": "hf_reading"}


def test_a_dry_run_of_a_space_asks_nobody(publish: Run, make_hub: MakeHub, app: Path, tmp_path: Path) -> None:
    hub = make_hub()
    hub.close()
    flags = ["--app_dir", app, "--repo", "anna/demo", "--dry-run", tmp_path / "tree"]
    done = publish(hub, "space", "--models", "alice/x@v1", *flags)
    assert done.returncode == 0, done.stderr
    assert "The models of the Space are looked up, and pinned to their commits, when it is published" in done.stdout
    assert (tmp_path / "tree" / "model_revisions.txt").read_text() == "alice/x v1\n"


def test_a_static_space_takes_a_run_folder(hub: LoopbackHub, publish: Run) -> None:
    message = failed(publish, hub, "space", "--static", "--models", "runs/none")
    assert message.startswith("error: runs/none: no such folder or file")
