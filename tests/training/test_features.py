"""Frozen backbones: features once, then the trained part alone, against the whole network on the same images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.models.layers import bare_network, classifier_layer
from brainmri.models.preprocessing import normalized
from brainmri.recipe import Recipe, recipe_names
from brainmri.training.feature_cache import AfterFrozen, FeatureBatches
from brainmri.training.optimizer import set_frozen
from brainmri.training.stages import run_stages
from brainmri.training.train import predict
from tests.training.test_recipes_train import FOUR, SIZES, some_slices

pytestmark = pytest.mark.integration  # each trains

FROZEN = [name for name in recipe_names() if any(stage.cached_views for stage in resolve(name).stages)]


def small(name: str, *overrides: str) -> tuple[Recipe, PreTrainedModel]:
    recipe = resolve(name, overrides=["input.size=32", *SIZES.get(name, []), *overrides])
    torch.manual_seed(0)
    return recipe, build_model(recipe, FOUR, "random")[0]


def without_chance(views: int | None, name: str, *overrides: str) -> tuple[Recipe, PreTrainedModel]:
    """`small`, so that training on features (`views` of each image) and on images (None) see the same."""
    recipe, model = small(name, *overrides)
    stage = recipe.stages[0].model_copy(
        update={"epochs": 2, "learning_rate": 1e-4, "keep": "last", "plateau": None, "cached_views": views}
    )
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return recipe.model_copy(update={"augmentation": {}, "stages": [stage]}), model


def test_every_recipe_with_a_frozen_backbone_keeps_its_features() -> None:
    frozen = {name for name in recipe_names() if resolve(name).stages[0].freeze == "backbone"}
    assert frozen - set(FROZEN) == {"hybrid_resnet_cnn"}  # whose own branch trains beside the frozen one


@pytest.mark.parametrize("name", FROZEN)
def test_what_trains_follows_the_frozen_part_in_a_chain(name: str) -> None:
    recipe, model = small(name)
    stage = next(stage for stage in recipe.stages if stage.cached_views)
    set_frozen(model, stage)
    after = AfterFrozen(model)
    after.check(model, torch.randn(2, 3, 32, 32))
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert trainable == {id(p) for p in after.parameters() if p.requires_grad}


def test_a_branch_beside_the_frozen_part_is_refused() -> None:
    recipe, model = small("hybrid_resnet_cnn")
    set_frozen(model, recipe.stages[0])
    with pytest.raises(ValueError, match="not a chain"):
        AfterFrozen(model).check(model, torch.randn(2, 3, 32, 32))


def run(
    recipe: Recipe, model: PreTrainedModel, folder: Path, *, weights: list[float] | None = None, **given: Any
) -> tuple[Any, dict[str, torch.Tensor]]:
    given = {"per_device_train_batch_size": 8, "disable_tqdm": True} | given
    train, validation = some_slices(24, 32, seed=0), some_slices(8, 32, None)
    _, outcomes = run_stages(model, recipe, train, validation, given, folder, 0, None, class_weights=weights)
    return outcomes, bare_network(model).state_dict()


def test_bfloat16_ends_with_training_although_its_trainer_saw_no_image(tmp_path: Path) -> None:
    """Every split is scored in float32: the trainer of images comes to its first one without having trained."""
    recipe, model = small("resnet50_frozen", "stages.0.epochs=1", "stages.0.cached_views=1")
    given = {"per_device_train_batch_size": 8, "disable_tqdm": True, "bf16": True}
    images = some_slices(8, 32, None)
    trainer, _ = run_stages(model, recipe, some_slices(24, 32, seed=0), images, given, tmp_path, 0, None)
    assert trainer.args.bf16
    scored = [predict(trainer, images) for _ in ("validation", "test")]
    model.eval()
    pixels = normalized(images.__getitems__(range(8))["pixel_values"].float(), recipe.input.normalize)
    with torch.no_grad():
        expected = model(pixel_values=pixels).logits.double().softmax(1).numpy()
    last = model.get_submodule(classifier_layer(model, pixels))
    for probabilities, features in scored:
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        with torch.no_grad():  # of these images, in their order: what the last layer makes the probabilities of
            np.testing.assert_allclose(last(torch.from_numpy(features)).double().softmax(1), expected, atol=1e-5)


PARTIAL = ["layer4.0.conv3", "layer4.0.bn3", "layer4.0.downsample.1", "layer4.1", "layer4.2"]


@pytest.mark.parametrize(
    "name",
    ["resnet50_frozen", pytest.param("resnet50_partial", marks=pytest.mark.integration), "vit_two_stage"],
)
def test_features_train_to_the_weights_that_images_train_to(name: str, tmp_path: Path) -> None:
    runs = []
    for views in (1, None):
        recipe, model = without_chance(views, name)
        outcomes, state = run(recipe, model, tmp_path / str(views))
        runs.append(([row["train_loss"] for row in outcomes[0].history], state))
    (losses, weights), (expected_losses, expected_weights) = runs
    assert len(losses) == 2
    assert losses == pytest.approx(expected_losses, rel=1e-3)
    for key, tensor in expected_weights.items():
        limit = 1e-6
        if "partial" in name:  # maps are kept in float16, and Adam makes much of small gradients
            limit = 1e-3 if "running" in key else 2e-5
        assert float((weights[key] - tensor).float().abs().mean()) < limit, key


def test_copies_of_a_image_and_epochs_take_turns_through_its_views() -> None:
    views = np.arange(6, dtype=np.float32).reshape(3, 2, 1)  # three views of two images
    batches = FeatureBatches(views, np.array([0, 1, 0, 0]), np.zeros(4, np.int64), training=True)
    seen = []
    for epoch in range(3):
        batches.set_epoch(epoch)
        seen.append(batches.__getitems__([0, 1, 2, 3])["features"][:, 0].tolist())
    assert seen == [[0, 1, 2, 4], [2, 3, 4, 0], [4, 5, 0, 2]]
