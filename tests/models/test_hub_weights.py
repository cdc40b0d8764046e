"""Each recipe whose ImageNet weights lie on the Hub: files of real names, shapes and formats, to a trained epoch.

The files are drawn at random and served by the loopback Hub under the repositories' own names: timm's layout for
ResNet-50 and EfficientNet-B0 (a classifier of 1,000 classes), transformers' layout for ViT-B/16. Networks are those of
the recipes. The data are a dozen phantom images, smaller than the recipes' where the network takes any size, and each
stage lasts one epoch of one step.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file, save
from transformers import ViTConfig, ViTForImageClassification

from brainmri.data.phantom.generate import make_phantom
from brainmri.data.prepare import prepare
from brainmri.models.introspect import imagenet_repository, resolve
from brainmri.models.weights import PINNED
from brainmri.recipe import recipe_names

from ..hub.conftest import FILE
from ..hub.loopback import Blob, LoopbackHub, Repo
from ..scripts import run_here
from ..training.conftest import result_of

pytestmark = pytest.mark.slow  # real networks: ten to twenty seconds for each recipe on one core

RECIPES = [name for name in recipe_names() if imagenet_repository(resolve(name)) in PINNED]
VIT = "google/vit-base-patch16-224"
# A tensor of each file as its publisher names it, and its shape.
LANDMARKS = {
    VIT: ("vit.encoder.layer.11.attention.attention.query.weight", (768, 768)),
    "timm/resnet50.tv_in1k": ("layer4.2.conv3.weight", (2048, 512, 1, 1)),
    "timm/efficientnet_b0.ra_in1k": ("blocks.6.0.conv_pwl.weight", (320, 1152, 1, 1)),
}


def published(repository: str) -> bytes:
    """The bytes of `model.safetensors`, with random values."""
    torch.manual_seed(1)
    if repository == VIT:
        return save(as_published(ViTForImageClassification(ViTConfig(num_labels=1000)).state_dict()), {"format": "pt"})
    name = repository.partition("/")[2].partition(".")[0]
    return save(timm.create_model(name, num_classes=1000).state_dict(), {"format": "pt"})


def as_published(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A ViT's tensors under the names of the published file, whatever transformers calls its modules today."""
    renamed = {
        "vit.layers.": "vit.encoder.layer.",
        ".attention.q_proj.": ".attention.attention.query.",
        ".attention.k_proj.": ".attention.attention.key.",
        ".attention.v_proj.": ".attention.attention.value.",
        ".attention.o_proj.": ".attention.output.dense.",
        ".mlp.fc1.": ".intermediate.dense.",
        ".mlp.fc2.": ".output.dense.",
    }
    found = {}
    for name, tensor in state.items():
        for ours, theirs in renamed.items():
            name = name.replace(ours, theirs)
        found[name] = tensor.contiguous()
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub_weights")
    phantom = make_phantom(folder / "phantom", subjects=12, size=64, slices_per_subject=4, progress=False)
    groups = pd.read_csv(phantom / "groups.csv").drop_duplicates("group_id")  # one image of each subject
    for name in groups["file_name"]:
        (folder / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(phantom / name, folder / "raw" / name)
    groups.to_csv(folder / "groups.csv", index=False)
    return prepare(folder / "raw", folder / "ready", layout="imagefolder", groups=folder / "groups.csv")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[LoopbackHub, dict[str, tuple[str, str]]]]:
    """A Hub with the three repositories, and the commit and SHA-256 of each file."""
    hub, pinned = LoopbackHub(), {}
    for repository in PINNED:
        content = published(repository)
        repo = hub.repos["model", repository] = Repo("model", repository, private=False)
        commit = repo.commit("main", {"model.safetensors": Blob(content, lfs=True)}, "weights")
        pinned[repository] = (commit, hashlib.sha256(content).hexdigest())
    yield hub, pinned
    hub.close()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_from_the_weights_that_the_hub_serves(name, data, served, tmp_path, monkeypatch):
    hub, pinned = served
    for constant, value in {
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + FILE,
        "HF_HUB_CACHE": str(tmp_path / "hf"),
    }.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{constant}", value)
    for repository, pin in pinned.items():
        monkeypatch.setitem(PINNED, repository, pin)
    recipe = resolve(name)
    repository = imagenet_repository(recipe)
    epochs = [f"stages.{number}.epochs=1" for number in range(len(recipe.stages))]
    epochs += [f"stages.{n}.cached_views=1" for n, stage in enumerate(recipe.stages) if stage.cached_views]
    if repository != VIT:  # whose position embeddings are of one size
        epochs.append("input.size=96")
    arguments = ["--arch", name, "--weights", "imagenet", "--data_dir", data, "--output_dir", tmp_path / "run"]
    arguments += ["--ood", "false", "--bf16", "false", "--recipe", *epochs]
    done = run_here("train.py", *arguments, environment={"BRAINMRI_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 0, done.stderr
    result = result_of(tmp_path / "run")
    commit, sha256 = pinned[repository]
    assert result["weights"] == f"{repository}@{commit}, sha256 {sha256[:16]}"
    assert result["training"]["epochs_run"] == len(recipe.stages)
    assert (result["test"]["n"] > 0, result["normalize"]) == (True, recipe.input.normalize)

    # The trained network is the Hub's, moved by a few small steps: not one that was drawn anew.
    landmark, shape = LANDMARKS[repository]
    (file,) = (tmp_path / "hf").rglob("model.safetensors")
    theirs = load_file(file)[landmark]
    assert theirs.shape == shape
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    ours = load_file(tmp_path / "run" / "model.safetensors")
    same = [tensor for tensor in ours.values() if tensor.shape == shape]
    nearest = max(torch.corrcoef(torch.stack([theirs.flatten(), tensor.flatten()]))[0, 1].item() for tensor in same)
    assert nearest > 0.9, (config["architectures"], nearest)
