"""The snippet of the cards for transformers.js, run as it stands in Node, of a timm backbone and of an own network."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import pipeline

from brainmri.hub.model_repository import model_repository

from .conftest import ROOT

pytestmark = pytest.mark.integration

PACKAGES = ROOT / "browser" / "node_modules"
NODE = shutil.which("node")


@pytest.mark.parametrize("of", ["cnn_run", "timm_run"])
def test_the_snippet_of_the_card_runs_as_it_stands(of: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run: Path = request.getfixturevalue(of)
    tree = tmp_path / "models" / "anna" / "one"
    model_repository(run, "anna/one", tree, licence="apache-2.0")
    config = json.loads((tree / "config.json").read_text())
    names = [config["id2label"][str(number)] for number in range(len(config["id2label"]))]
    assert config["label2id"] == {name: number for number, name in enumerate(names)}
    own = {"trust_remote_code": True} if of == "cnn_run" else {}
    classify = pipeline("image-classification", model=str(tree), **own)
    assert list(classify.model.config.id2label.values()) == names
    card = (tree / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```js\n(.*?)```", card, re.DOTALL)
    if NODE is None or not (PACKAGES / "@huggingface" / "transformers").is_dir():
        pytest.skip("Node is not installed, or `npm ci` was not run in browser")

    # Of the size that the network takes: transformers.js resizes in a way of its own.
    side = json.loads((tree / "preprocessor_config.json").read_text())["size"]["height"]
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))
    image.save(tmp_path / "slice.png")
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    local = (
        "import { env } from '@huggingface/transformers';\nenv.allowRemoteModels = false;\n"
        f"env.localModelPath = {json.dumps(str(tmp_path / 'models'))};\n"
    )
    script = snippet.replace("console.log(", "console.log(JSON.stringify(").replace("));", ")));")
    (tmp_path / "snippet.mjs").write_text(local + script, encoding="utf-8")
    done = subprocess.run([NODE, "snippet.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = {one["label"]: one["score"] for one in json.loads(done.stdout.splitlines()[-1])}
    expected = {one["label"]: one["score"] for one in classify(image, top_k=len(names))}
    assert found == pytest.approx(expected, abs=1e-3)
