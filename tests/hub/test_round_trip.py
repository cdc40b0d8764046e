"""The whole way on a loopback Hub: train, publish all, and pull as somebody who has nothing of ours."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from gradio_client import Client, handle_file
from huggingface_hub import HfApi, ModelCard
from PIL import Image

from brainmri.data.dataset import open_prepared
from brainmri.demo.model import open_models
from brainmri.hub.dataset_repository import dataset_repository
from brainmri.hub.lineage import pin_data
from brainmri.hub.model_repository import model_repository
from brainmri.metrics.bootstrap import group_bootstrap
from brainmri.runs.table import SEEDS

from .conftest import ROOT, TINY_CNN, Run, python
from .loopback import LoopbackHub

pytestmark = pytest.mark.integration

CNN, TIMM = "anna/brainmri-cnn_4x4", "anna/brainmri-timm-test_vit2"
DATA, RESULTS, METRIC = "anna/brainmri-phantom-tiny", "anna/brainmri-results", "anna/grouped_accuracy"
DEMO = "anna/brainmri-demo"
MODES = ("L", "RGB", "RGBA", "P")
# A stranger has torch, transformers and timm. What else there is here cannot be imported, and that is proved first.
STRANGER = """
import importlib, json, sys
for name in ("brainmri", "datasets", "evaluate", "gradio", "pandas", "sklearn", "nilearn", "accelerate"):
    sys.modules[name] = None
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported")
"""
CLASSIFY = """
import onnxruntime, timm, torch
from huggingface_hub import hf_hub_download
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

found = {}
for place, files in json.loads(sys.argv[1]).items():
    own = {"trust_remote_code": True} if "cnn" in place else {}
    classify = pipeline("image-classification", model=place, **own)
    found[place] = {file: {one["label"]: one["score"] for one in classify(file, top_k=10)} for file in files}
    image = Image.open(files[0]).convert("RGB")
    pixels = AutoImageProcessor.from_pretrained(place)(image, return_tensors="pt")["pixel_values"]
    model = AutoModelForImageClassification.from_pretrained(place, **own)
    with torch.inference_mode():
        logits = model(pixels).logits
        if not own:
            network = timm.create_model(f"hf-hub:{place}", pretrained=True).eval()
            assert torch.allclose(network(pixels), logits, atol=1e-6), "timm gives other logits"
    session = onnxruntime.InferenceSession(hf_hub_download(place, "onnx/model.onnx"))
    for copies in (1, 3):
        (onnx,) = session.run(["logits"], {"pixel_values": pixels.expand(copies, -1, -1, -1).numpy()})
        assert torch.allclose(torch.from_numpy(onnx), logits.expand(copies, -1), atol=1e-4), "ONNX gives other logits"
print(json.dumps(found))
"""
# An installed brainmri is hidden, so that the one beside app.py is what runs.
AS_A_SPACE = """
import os, runpy, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.path = [os.getcwd(), *(path for path in sys.path if path and not os.path.isdir(os.path.join(path, "brainmri")))]
import brainmri
assert brainmri.__file__.startswith(os.getcwd()), brainmri.__file__
sys.argv = [os.path.join(os.getcwd(), "app.py")]
runpy.run_path("app.py", run_name="__main__")
"""


@dataclass(frozen=True)
class Published:
    hub: LoopbackHub
    home: Path
    runs: dict[str, Path]
    stdout: str


@pytest.fixture(scope="module")
def published(
    phantom: Path, cnn_run: Path, timm_run: Path, brainmri_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Published]:
    """Everything of two runs, published by one command in public."""
    hub, home = LoopbackHub(), tmp_path_factory.mktemp("home")
    arguments = [
        "all",
        cnn_run,
        timm_run,
        "--data_dir",
        phantom,
        "--license",
        "cc-by-4.0",
        "--app_dir",
        ROOT,
        "--public",
    ]
    arguments += ["--cite", "Somebody (2020)"]
    environment = {"HF_HOME": str(home / "publisher"), "BRAINMRI_CACHE": str(brainmri_cache)}
    done = python(hub, ROOT / "scripts" / "publish.py", *arguments, **environment)
    assert done.returncode == 0, done.stderr
    yield Published(hub, home, {CNN: cnn_run, TIMM: timm_run}, done.stdout)
    hub.close()


def stranger(
    published: Published, folder: Path, code: str, *arguments: str, hub: bool = True, **environment: str
) -> str:
    """What a stranger's code prints, without a token."""
    home = {"HF_HOME": str(published.home / "stranger")}
    done = python(published.hub if hub else None, "-c", code, *arguments, cwd=folder, token=None, **home | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_stranger_gets_the_probabilities_of_the_run_and_the_snippets_of_the_cards_run(
    published: Published, phantom: Path, tmp_path: Path
) -> None:
    asked, expected = {}, {}
    for place, run in published.runs.items():
        table = pd.read_csv(run / "predictions.csv").query("split == 'test'").head(3)
        asked[place] = []
        for name, row in zip(table["file_name"], table.filter(regex="^p_").to_dict("records"), strict=True):
            for mode in MODES:  # the same image in every mode
                file = tmp_path / f"{Path(name).stem}-{mode}.png"
                with Image.open(phantom / name) as image:
                    (image.convert("RGB") if mode == "RGBA" else image).convert(mode).save(file)
                asked[place].append(str(file))
                expected[place, str(file)] = {key.removeprefix("p_"): value for key, value in row.items()}
    assert {Image.open(file).mode for file in asked[CNN]} == set(MODES)
    with Image.open(next((phantom / "test").rglob("*.png"))) as image:
        image.save(tmp_path / "slice.png")
    snippets = []
    for place in published.runs:
        card = published.hub.files("model", place)["README.md"].decode()
        found = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
        assert len(found) == (5 if place == TIMM else 4)
        snippets += found
    printed = stranger(published, tmp_path, "\n".join([STRANGER, *snippets, CLASSIFY]), json.dumps(asked))
    found = json.loads(printed.splitlines()[-1])
    for (place, file), probabilities in expected.items():
        assert found[place][file] == pytest.approx(probabilities, abs=1e-4)


def test_the_card_says_what_was_measured_and_where(published: Published) -> None:
    for place, run in published.runs.items():
        result = json.loads((run / "result.json").read_text())
        files = published.hub.files("model", place)
        text = files["README.md"].decode()
        data = ModelCard(text).data
        assert (data.license, data.datasets) == ("apache-2.0", [DATA])
        accuracy = next(one for one in data.eval_results if one.metric_type == "accuracy")
        assert accuracy.metric_value == pytest.approx(result["test"]["accuracy"], abs=1e-6)
        assert (accuracy.dataset_type, accuracy.dataset_split) == (DATA, "test")
        tag = published.hub.repos["dataset", DATA].tags[result["data"]["fingerprint"]]
        assert accuracy.dataset_revision == tag
        for path in re.findall(r"!\[.*?\]\((.*?)\)", text):
            assert path in files
        for words in (
            "baseline: ",
            "Confusion matrix",
            "temperature",
            "| hardware |",
            "Cite the sources",
            "not a medical device",
        ):
            assert words in text


def test_nothing_published_tells_of_this_machine_or_is_a_pickle(published: Published, phantom: Path) -> None:
    hub = published.hub
    secrets = [str(Path.home()).encode() + b"/", str(phantom.parent).encode(), str(ROOT).encode(), b"hf_anna"]
    assert len(hub.repos) == 6
    for type_, place in hub.repos:
        for path, content in hub.files(type_, place).items():
            assert not path.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt", ".joblib"))
            assert not content.startswith((b"\x80\x02", b"\x80\x04", b"PK"))
            assert [secret for secret in secrets if secret in content] == [], path
    for place in published.runs:
        command = json.loads(hub.files("model", place)["result.json"])["command"]
        assert "--data_dir ready" in command


def test_another_process_makes_the_same_bytes(published: Published, phantom: Path, tmp_path: Path) -> None:
    """Else a second publication would upload what did not change."""
    cited = {"license": "cc-by-4.0"}
    trees = [
        dataset_repository(phantom, DATA, tmp_path / "data", cited, source_citations=("Somebody (2020)",)),
        model_repository(published.runs[TIMM], TIMM, tmp_path / TIMM, data_id=DATA),  # one of ours: test_push.py
    ]
    for tree in trees:
        pin_data(HfApi(endpoint=published.hub.url, token="hf_anna"), tree)
        there = published.hub.files(tree.repo_type, tree.repo_id)
        assert {*tree.files, ".gitattributes"} == there.keys()
        assert [name for name in tree.files if (tree.folder / name).read_bytes() != there[name]] == []


def test_the_data_load_with_their_groups_and_at_their_fingerprint(
    published: Published, phantom: Path, tmp_path: Path
) -> None:
    prepared = open_prepared(phantom)
    code = f"""
import json
from datasets import load_dataset
data = load_dataset("{DATA}", revision="{prepared.info.fingerprint}")
data["test"][0]["image"].save("first.png")
rows = data["test"].remove_columns("image")
print(json.dumps([{{s: len(data[s]) for s in data}}, data["test"].features["label"].names, rows[:]]))
"""
    counts, names, rows = json.loads(stranger(published, tmp_path, code))
    assert counts == {split: len(prepared.rows(split)) for split in ("train", "validation", "test")}
    assert names == prepared.classes
    test = prepared.index.iloc[prepared.rows("test")]
    for column in ("file_name", "group_id", "duplicate_id"):
        assert rows[column] == test[column].tolist()
    assert "source" not in rows
    assert [names[k] for k in rows["label"]] == test["label"].tolist()
    with Image.open(tmp_path / "first.png") as ours, Image.open(phantom / test["file_name"].iloc[0]) as theirs:
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_the_data_card_states_licence_audit_and_sources(published: Published) -> None:
    files = published.hub.files("dataset", DATA)
    text = files["README.md"].decode()
    assert yaml.safe_load(text.split("---")[1])["license"] == "cc-by-4.0"
    for words in ("No group stands in more than one split", "images that share", "- Somebody (2020)", "SIMULATED"):
        assert words in text
    assert json.loads(files["audit.json"])["images"] == 120


def test_the_results_load(published: Published, tmp_path: Path) -> None:
    code = f"""
import json
from datasets import load_dataset
runs = load_dataset("{RESULTS}", split="train").to_pandas()
board = load_dataset("{RESULTS}", "leaderboard", split="train").to_pandas()
print(json.dumps([list(runs), runs["recipe"].tolist(), runs["accuracy"].tolist(), board["kind"].tolist()]))
"""
    columns, recipes, accuracies, kinds = json.loads(stranger(published, tmp_path, code))
    assert columns == SEEDS
    measured = [json.loads((run / "result.json").read_text()) for run in published.runs.values()]
    assert dict(zip(recipes, accuracies, strict=True)) == {r["arch"]: r["test"]["accuracy"] for r in measured}
    assert kinds == ["model"] * 2 + ["floor"] * 3
    assert "| `cnn_4x4` with" in published.hub.files("dataset", RESULTS)["README.md"].decode()


METRIC_USED = """
values = metric.compute(references=[0, 0, 1, 1, 1, 0], predictions=[0, 0, 1, 0, 0, 0], groups=list("aabbcd"))
plain = metric.compute(references=[0, 1], predictions=[0, 0])
print(json.dumps([values, plain]))
"""


def check_metric(printed: str) -> None:
    values, plain = json.loads(printed)
    low, high = group_bootstrap([1, 1, 1, 0, 0, 1], list("aabbcd"))
    assert values == {"accuracy": 4 / 6, "ci_low": low, "ci_high": high, "groups": 4, "n": 6, "majority": 0.5}
    assert plain["groups"] == 2


def test_a_downloaded_metric_loads_without_a_network(published: Published, tmp_path: Path) -> None:
    HfApi(endpoint=published.hub.url).snapshot_download(
        METRIC, repo_type="space", local_dir=tmp_path / "grouped_accuracy", token=False
    )
    code = 'import evaluate, json\nmetric = evaluate.load("./grouped_accuracy")\n' + METRIC_USED
    own = {"HF_HOME": str(tmp_path / "hf"), "HF_EVALUATE_OFFLINE": "1"}
    check_metric(stranger(published, tmp_path, code, hub=False, **own))


@pytest.mark.slow
def test_the_page_of_the_metric_scores_the_predictions_of_a_run(published: Published, tmp_path: Path) -> None:
    HfApi(endpoint=published.hub.url).snapshot_download(
        METRIC, repo_type="space", local_dir=tmp_path / "grouped_accuracy", token=False
    )
    code = "import json, sys\nsys.path.insert(0, '.')\nfrom app import scores\nprint(json.dumps(scores(sys.argv[1])))"
    run = published.runs[CNN]
    own = {"HF_HOME": str(tmp_path / "hf"), "HF_EVALUATE_OFFLINE": "1"}
    printed = stranger(published, tmp_path / "grouped_accuracy", code, str(run / "predictions.csv"), hub=False, **own)
    values, measured = json.loads(printed), json.loads((run / "result.json").read_text())["test"]
    assert values["accuracy"] == measured["accuracy"]
    assert [values["ci_low"], values["ci_high"]] == measured["accuracy_ci95"]
    assert (values["n"], values["groups"]) == (measured["n"], measured["groups"])


@pytest.mark.slow
def test_the_metric_loads_by_its_name(published: Published, tmp_path: Path) -> None:
    code = f'import evaluate, json\nmetric = evaluate.load("{METRIC}")\n' + METRIC_USED
    check_metric(stranger(published, tmp_path, code, HF_HOME=str(tmp_path / "hf")))


def test_the_space_has_all_that_it_starts_with(published: Published, tmp_path: Path) -> None:
    files = published.hub.files("space", DEMO)
    front = yaml.safe_load(files["README.md"].decode().split("---")[1])
    measured = {place: json.loads((run / "result.json").read_text())["test"] for place, run in published.runs.items()}
    best_first = sorted(published.runs, key=lambda place: measured[place]["accuracy"], reverse=True)
    assert (front["sdk"], front["app_file"], front["datasets"]) == ("gradio", "app.py", [DATA])
    assert front["models"] == best_first
    assert {"title", "emoji", "colorFrom", "colorTo", "sdk_version", "license", "python_version"} <= front.keys()
    for line, place in zip(front["preload_from_hub"], front["models"], strict=True):
        name, preloaded, revision = line.split(" ")
        assert (name, revision) == (place, published.hub.repos["model", place].branches["main"])
        assert f"{name} {revision}\n" in files["model_revisions.txt"].decode()
        assert set(preloaded.split(",")) <= published.hub.files("model", place).keys()
    assert {
        "app.py",
        "requirements.txt",
        "results/comparison.csv",
        "results/neutralize/seeds.csv",
        "CITATION.cff",
    } <= files.keys()
    with served_space(published, tmp_path) as url:  # from these files alone, and the models of the Hub
        client = Client(url, verbose=False)
        assert [one["data"] for one in client.predict(api_name="/models")] == ["phantom tiny"] * 2
        slice_ = next(iter((ROOT / "docs").glob("*.png")))
        for model in client.predict(api_name="/models"):
            (answer,) = client.predict(handle_file(slice_), models_asked=[model["name"]], api_name="/classify")
            assert sum(answer["probabilities"].values()) == pytest.approx(1)


@contextmanager
def served_space(published: Published, folder: Path) -> Iterator[str]:
    """The published demo, run as a Space runs it: its files are the working folder, and no other brainmri is there."""
    for path, content in published.hub.files("space", DEMO).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": published.hub.url, "HF_HOME": str(folder / "hf"), "OMP_NUM_THREADS": "1"}
    environment |= {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "PYTHONPATH": ""}
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", AS_A_SPACE], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            said = (folder / "log.txt").read_text()
            assert server.poll() is None, said
            if "Running on" in said:
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_the_demo_opens_what_is_published_and_uses_its_onnx_file(
    published: Published, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
import json, sys
from PIL import Image
from brainmri.demo.model import open_models

models = open_models(sys.argv[2:])
judged = [model.judge([Image.open(sys.argv[1])])[0] for model in models]
print(json.dumps([[model.backend, one.probabilities, one.ood_score] for model, one in zip(models, judged)]))
"""
    image = next((phantom / "test").rglob("*.png"))
    home = {"HF_HOME": str(tmp_path / "hf"), "BRAINMRI_CACHE": str(tmp_path / "cache")}
    done = python(published.hub, "-c", code, image, f"{CNN}@main", TIMM, token=None, **home)
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "cache").glob("onnx/*.onnx"))
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    of_folders = open_models([str(published.runs[CNN]), str(published.runs[TIMM])])
    assert len(list((tmp_path / "cache").glob("onnx/*.onnx"))) == 2
    for (backend, probabilities, score), model in zip(json.loads(done.stdout), of_folders, strict=True):
        with Image.open(image) as source:
            own = model.judge([source])[0]
        assert backend == model.backend == "ONNX Runtime"
        assert probabilities == pytest.approx(own.probabilities, abs=1e-4)
        assert score == pytest.approx(own.ood_score, rel=1e-3)


def test_a_collection_binds_them(published: Published) -> None:
    (collection,) = published.hub.collections.values()
    assert {item["id"] for item in collection["items"]} == {CNN, TIMM, DATA, RESULTS, METRIC, DEMO}
    assert not collection["private"]
    assert "collection of all of them" in published.stdout


def evaluated(published: Published, place: str, phantom: Path, out: Path, home: Path, *, online: bool = True):
    """scripts/evaluate.py on the model of that name, with the cache in `home`."""
    arguments = [ROOT / "scripts" / "evaluate.py", place, "--data", phantom, "--out", out]
    return python(published.hub if online else None, *arguments, token=None, HF_HOME=str(home))


def test_evaluate_pulls_by_name_and_revision_and_from_the_cache(
    published: Published, here: Run, phantom: Path, tmp_path: Path
) -> None:
    (tag,) = published.hub.repos["model", CNN].tags
    place = f"{CNN}@{tag}"
    for online in (True, False):
        out = tmp_path / f"online-{online}"
        if online:
            done = here(published.hub, "evaluate.py", place, "--data", phantom, "--out", out, token=None)
            assert list((tmp_path / "hf" / "hub").glob("models--anna--*"))
        else:
            done = evaluated(published, place, phantom, out, tmp_path / "hf", online=False)
        assert done.returncode == 0, done.stderr
        scored = json.loads((out / "evaluation.json").read_text())
        assert scored["kind"] == "run"
        result = json.loads((published.runs[CNN] / "result.json").read_text())
        assert scored["scores"]["accuracy"] == result["test"]["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "online"), [(f"{CNN}@v9", True), (TIMM, False), ("anna/nothing", True)])
def test_what_cannot_be_pulled_is_said_in_a_line(
    published: Published, phantom: Path, tmp_path: Path, place: str, online: bool
) -> None:
    done = evaluated(published, place, phantom, tmp_path / "out", tmp_path / "hf", online=online)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert place.partition("@")[0] in line


@pytest.mark.slow
def test_training_starts_from_weights_of_the_hub(published: Published, phantom: Path, tmp_path: Path) -> None:
    (tag,) = published.hub.repos["model", CNN].tags
    flags = [*TINY_CNN, "--weights", f"{CNN}@{tag}", "--num_train_epochs", "1", "--data_dir", phantom]
    home = {"HF_HOME": str(tmp_path / "hf"), "BRAINMRI_CACHE": str(tmp_path / "cache")}
    done = python(
        published.hub, ROOT / "scripts" / "train.py", *flags, "--output_dir", tmp_path / "run", token=None, **home
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["weights"].startswith(f"{CNN}@{tag}, sha256 ")
