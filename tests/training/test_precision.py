"""Which precision a run takes, and when it asks."""

import json
from pathlib import Path

import pytest
from transformers import PreTrainedModel

from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.recipe import Recipe
from brainmri.training.arguments import stage_arguments
from brainmri.training.precision import bf16_is_faster, precision_probe


@pytest.fixture(scope="module")
def tiny() -> tuple[Recipe, PreTrainedModel]:
    recipe = resolve("cnn_4x4", overrides=["input.size=32", "model.arguments.image_size=32", "stages.0.epochs=10"])
    return recipe, build_model(recipe, ["a", "b"], "random")[0]


def test_a_long_run_is_measured_once_and_leaves_the_model_alone(
    tiny: tuple[Recipe, PreTrainedModel], tmp_path: Path
) -> None:
    recipe, model = tiny
    arguments = [stage_arguments(recipe, recipe.stages[0], {}, 1, str(tmp_path))]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    record = tmp_path / "checkpoints" / "precision.json"
    probe = precision_probe(model, recipe, arguments, samples=32 * 20, record=record)
    assert probe is not None
    assert set(probe) == {"fp32", "bf16"}
    assert min(probe.values()) > 0
    assert all((tensor == before[name]).all() for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    record.write_text(json.dumps({"fp32": 9.0, "bf16": 1.0}))  # what a run that is resumed had measured
    assert precision_probe(model, recipe, arguments, 32 * 20, record) == {"fp32": 9.0, "bf16": 1.0}


def test_a_short_run_is_not_measured(tiny: tuple[Recipe, PreTrainedModel], tmp_path: Path) -> None:
    recipe, model = tiny
    for given, samples in (({}, 32 * 19), ({"max_steps": 50}, 32 * 1000)):
        arguments = [stage_arguments(recipe, recipe.stages[0], given, 1, str(tmp_path))]
        assert precision_probe(model, recipe, arguments, samples, tmp_path / "precision.json") is None
    assert not (tmp_path / "precision.json").exists()


def test_bfloat16_must_be_clearly_faster() -> None:
    assert bf16_is_faster({"fp32": 1.3, "bf16": 1.0})
    assert not bf16_is_faster({"fp32": 1.1, "bf16": 1.0})
    assert not bf16_is_faster({"fp32": 1.0, "bf16": 2.0})
