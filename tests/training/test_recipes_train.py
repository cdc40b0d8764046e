"""Every recipe trains through all its stages, on a few small random images; only what it should train changes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from brainmri.data.pixel_cache import PixelCache
from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.models.layers import bare_network
from brainmri.recipe import recipe_names
from brainmri.training.batches import SliceBatches
from brainmri.training.optimizer import set_frozen
from brainmri.training.stages import run_stages

FOUR = ["glioma", "meningioma", "notumor", "pituitary"]
VIT = "{num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, intermediate_size: 32, image_size: 32}"
SIZED = ["cnn_4x4", "cnn_4to16", "cnn_4to32", "cnn_32to256", "hybrid_cnn_vit"]
SIZES = {
    **{name: ["model.arguments.image_size=32"] for name in SIZED},
    "vit_base": [f"model.arguments={VIT}"],
    "vit_two_stage": [f"model.arguments.vit={VIT}"],
}


def some_slices(count: int, size: int, seed: int | None) -> SliceBatches:
    drawn = np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    pixels = PixelCache(drawn[:, 0], drawn, np.arange(count))
    return SliceBatches(pixels, np.arange(count), np.arange(count) % 4, augmentation_seed=seed)


PUBLISHED = [name for name in recipe_names() if resolve(name).published]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "protocol"),
    [(name, "clean") for name in recipe_names()]
    + [pytest.param(name, "published", marks=pytest.mark.slow) for name in PUBLISHED],
)
def test_every_recipe_trains(name: str, protocol: str, tmp_path: Path) -> None:
    size = 64 if name == "cnn_six_block" else 32
    overrides = [f"input.size={size}", *SIZES.get(name, [])]
    recipe = resolve(name, protocol, overrides)
    recipe = resolve(
        name, protocol, [*overrides, *(f"stages.{k}={{epochs: 1, sizes: []}}" for k in range(len(recipe.stages)))]
    )
    torch.manual_seed(0)
    model = build_model(recipe, FOUR, "random")[0]
    before = {key: tensor.clone() for key, tensor in bare_network(model).state_dict().items()}
    given = {"per_device_train_batch_size": 8, "disable_tqdm": True}
    train, validation = some_slices(16, size, seed=0), some_slices(4, size, None)
    _, outcomes = run_stages(model, recipe, train, validation, given, tmp_path, seed=0, max_minutes=None)
    assert [len(outcome.history) for outcome in outcomes] == [1] * len(recipe.stages)
    assert all(np.isfinite(outcome.history[-1]["train_loss"]) for outcome in outcomes)

    may_change: set[str] = set()
    for stage in recipe.stages:
        set_frozen(model, stage)
        may_change |= {key for key, parameter in bare_network(model).named_parameters() if parameter.requires_grad}
    after = bare_network(model).state_dict()
    changed = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert changed & may_change
    frozen = {key for key, _ in bare_network(model).named_parameters()} - may_change
    assert not changed & frozen
    # A frozen batch norm keeps its running statistics too: it stayed in inference mode.
    norms = {key.rpartition(".")[0] for key in frozen}
    assert not {key for key in changed if "running" in key and key.rpartition(".")[0] in norms}
