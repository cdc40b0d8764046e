"""Class weights and focal loss: the figures of a batch, however it is cut, and the flags down to the card."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch.nn import functional

from brainmri.models.introspect import resolve
from brainmri.recipe import Recipe, differences, read_recipe_file
from brainmri.runs.table import changes_of
from brainmri.training.arguments import RunArguments, recipe_changes
from brainmri.training.loss import TrainingLoss, balanced_weights, loss_of, training_loss
from brainmri.training.stages import run_stages
from tests.training.conftest import TINY, Train, result_of
from tests.training.test_features import run, small, without_chance
from tests.training.test_recipes_train import some_slices

WEIGHTS = [0.5, 3.0, 1.25, 0.25]


@pytest.fixture
def logits() -> torch.Tensor:
    return 3 * torch.randn(12, 4, generator=torch.Generator().manual_seed(0))


HARD = torch.tensor([0, 1, 2, 3, 1, 1, 0, 2, 3, 3, 0, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_weighted_loss_is_torchs_summed_over_the_images_by_their_number(
    logits: torch.Tensor, smoothing: float, mixed: bool
) -> None:
    labels = torch.softmax(torch.randn(12, 4), 1) if mixed else HARD
    expected = functional.cross_entropy(
        logits, labels, weight=torch.tensor(WEIGHTS), label_smoothing=smoothing, reduction="sum"
    )
    torch.testing.assert_close(TrainingLoss(WEIGHTS, 0, smoothing)(logits, labels), expected / 12)
    plain = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    assert torch.equal(TrainingLoss(None, 0, smoothing)(logits, labels), plain)
    torch.testing.assert_close(TrainingLoss([1.0] * 4, 0, smoothing)(logits, labels), plain)


def test_the_focal_loss_is_that_of_its_paper(logits: torch.Tensor) -> None:
    p = torch.softmax(logits, 1)[torch.arange(12), HARD]
    weights = torch.tensor(WEIGHTS)[HARD]
    expected = (-weights * (1 - p) ** 2 * torch.log(p)).mean()
    torch.testing.assert_close(TrainingLoss(WEIGHTS, 2, 0)(logits, HARD), expected)
    shares = functional.one_hot(HARD, 4).float()
    torch.testing.assert_close(TrainingLoss(WEIGHTS, 2, 0)(logits, shares), expected)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_type_weighs_less_than_whether_there_is_a_tumour(logits: torch.Tensor, weights: list[float] | None) -> None:
    """By hand: the cross entropy of two answers, and of three types where there is a tumour. Class 2 is none."""
    types, given = torch.tensor([0, 1, 3]), torch.tensor(weights or [1.0] * 4)
    p = torch.softmax(logits, 1)
    tumour = HARD != 2
    whether = -torch.where(tumour, 1 - p[:, 2], p[:, 2]).log()
    of_type = -torch.where(tumour, p[torch.arange(12), HARD] / p[:, types].sum(1), torch.ones(12)).log()
    expected = (given[HARD] * (whether + 0.2 * of_type)).mean()
    torch.testing.assert_close(TrainingLoss(weights, 0, 0, [0, 1, 3], 0.2)(logits, HARD), expected)
    plain = TrainingLoss(weights, 0, 0.1)(logits, HARD)
    torch.testing.assert_close(TrainingLoss(weights, 0, 0.1, [0, 1, 3], 1 - 1e-9)(logits, HARD), plain)


def test_types_are_the_classes_beside_the_one_without_tumour() -> None:
    recipe = resolve("cnn_4x4", overrides=["type_weight=0.2"])
    found = [
        training_loss(recipe, None, 0, classes)
        for classes in (["glioma", "no_tumor", "pituitary"], ["notumor", "tumor"], ["glioma", "pituitary"])
    ]
    assert [(loss.types, loss.type_weight) for loss in found] == [([0, 2], 0.2), ([1], 1.0), ([], 1.0)]
    assert loss_of(recipe) == "cross entropy, type of a tumour weighted 0.2"


@pytest.mark.parametrize("gamma", [0.5, 1, 2])
def test_an_image_that_is_sure_has_a_slope_that_is_a_number(gamma: float) -> None:
    sure = torch.tensor([[200.0, -200.0]], requires_grad=True)
    TrainingLoss([1, 1], gamma, 0.1)(sure, torch.tensor([0])).backward()
    assert sure.grad is not None
    assert torch.isfinite(sure.grad).all()


def test_a_batch_in_parts_has_the_loss_of_the_whole(logits: torch.Tensor) -> None:
    loss = TrainingLoss(WEIGHTS, 2, 0.1)
    parts = [loss(logits[chosen], HARD[chosen]) for chosen in (slice(0, 6), slice(6, 12))]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(logits, HARD))


def test_balanced_weights_have_a_mean_of_one_over_the_images() -> None:
    counts = [10, 30, 60]
    weights = balanced_weights(counts)
    assert weights == pytest.approx([100 / 30, 100 / 90, 100 / 180])
    assert np.average(weights, weights=counts) == pytest.approx(1)
    assert balanced_weights([10, 0, 30]) == pytest.approx([2, 0, 2 / 3])


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        ({"class_balance": "weights"}, {"class_weights": "balanced", "oversample": False}),
        ({"class_balance": "oversample"}, {}),
        ({"class_balance": "none"}, {"oversample": False}),
        ({"loss": "focal"}, {"loss": "focal", "focal_gamma": 2.0}),
        ({"loss": "focal", "focal_gamma": 1.0}, {"loss": "focal", "focal_gamma": 1.0}),
    ],
)
def test_flags_change_the_recipe_and_nothing_else(flags: dict, changed: dict, tmp_path: Path) -> None:
    before = resolve("resnet_small")  # which oversamples
    now = resolve("resnet_small", "clean", recipe_changes(RunArguments("resnet_small", **flags)))
    assert differences(before, now) == changed
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(now.model_dump(mode="json")))
    assert read_recipe_file(tmp_path / "recipe.yaml") == now
    assert len(changes_of(now, "resnet_small", "clean").split(", ")) == len(changed) or not changed


@pytest.mark.parametrize("change", ["type_weight=0.2", "class_weights=balanced"])
def test_a_change_can_be_taken_back(change: str) -> None:
    """A run of a recipe from before its packaged one had the key still says by which changes it is had again."""
    now, before = (
        resolve("cnn_4x4", overrides=["oversample=false", change]),
        resolve("cnn_4x4", overrides=["oversample=false"]),
    )
    back = differences(now, before)
    assert list(back) == [change.partition("=")[0]]
    assert Recipe.model_validate(now.model_dump(mode="json") | back) == before


def test_a_recipe_without_them_is_written_as_before_them() -> None:
    """Its digest names systems and folders, and those of earlier runs stay what they are."""
    assert (
        not {"class_weights", "loss", "focal_gamma", "type_weight"}
        & resolve("resnet_small").model_dump(mode="json").keys()
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["class_weights=balanced"], "oversample and class_weights each make up for small classes"),
        (["focal_gamma=2"], "focal_gamma 2 is of the focal loss: give loss=focal"),
        (["loss=hinge"], "loss: Input should be 'cross_entropy' or 'focal'"),
        (["loss=focal", "type_weight=0.5"], "type_weight 0.5 is of the cross entropy: leave out loss=focal"),
        (["type_weight=0"], "type_weight: Input should be greater than 0"),
        (["loss=focal", "focal_gamma=-1"], "focal_gamma: Input should be greater than or equal to 0"),
    ],
)
def test_what_does_not_go_together(changes: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        resolve("resnet_small", overrides=changes)


def trained(recipe: Recipe, folder: Path, **given: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    _, model = small("cnn_4x4")
    train = some_slices(10, 32, seed=0)
    settings = {"disable_tqdm": True, "optim": "sgd", "learning_rate": 0.1} | given
    run_stages(model, recipe, train, some_slices(8, 32, None), settings, folder, 0, None, class_weights=WEIGHTS)
    return model.state_dict()


@pytest.mark.integration
def test_the_last_part_of_a_step_counts_by_its_images(tmp_path: Path) -> None:
    """Ten images in parts of 4, 4 and 2 make the step that they make at once."""
    recipe, _ = small("cnn_4x4", "loss=focal", "model.arguments.dropout=0")
    stage = recipe.stages[0].model_copy(update={"epochs": 2, "keep": "last", "plateau": None, "early_stopping": None})
    recipe = recipe.model_copy(update={"augmentation": {}, "stages": [stage]})
    whole = trained(recipe, tmp_path / "whole", per_device_train_batch_size=10)
    parts = trained(recipe, tmp_path / "parts", per_device_train_batch_size=4, gradient_accumulation_steps=3)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, atol=1e-6, rtol=1e-4)


@pytest.mark.integration
def test_features_train_with_the_same_weighted_loss(tmp_path: Path) -> None:
    runs = []
    for views in (1, None):
        weighted = ("oversample=false", "class_weights=balanced", "loss=focal")
        recipe, model = without_chance(views, "resnet50_frozen", *weighted)
        outcomes, _ = run(recipe, model, tmp_path / str(views), weights=WEIGHTS)
        runs.append([row["train_loss"] for row in outcomes[0].history])
    assert runs[0] == pytest.approx(runs[1], rel=1e-3)
    outcomes, _ = run(recipe, small("resnet50_frozen")[1], tmp_path / "equal")
    assert runs[1] != pytest.approx([row["train_loss"] for row in outcomes[0].history], rel=1e-2)


@pytest.mark.slow  # several trainings
def test_two_ranks_and_accumulated_steps_train_to_one_weighted_loss(
    train: Train, train_here: Train, phantom: Path, tmp_path: Path
) -> None:
    command = [*TINY, "--data_dir", str(phantom), "--num_train_epochs", "2", "--class_balance", "weights"]
    command += ["--loss", "focal", "--focal_gamma", "1.5", "--label_smoothing_factor", "0.1", "--output_dir"]
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    runs = [tmp_path / name for name in ("one", "two", "parts")]
    ended = [
        train_here(*command, str(runs[0])),
        train(*command, str(runs[1]), launcher=launcher),
        train_here(*command, str(runs[2]), "--gradient_accumulation_steps", "4"),
    ]
    assert [done.returncode for done in ended] == [0, 0, 0], ended
    losses = ["train_loss", "validation_loss", "train_accuracy", "validation_accuracy"]
    first, *others = (pd.read_csv(folder / "history.csv")[losses] for folder in runs)
    for other in others:
        np.testing.assert_allclose(first, other, atol=1e-5)

    result = result_of(runs[0])
    counts = result["data"]["counts"]["train"]
    expected = {label: sum(counts.values()) / (len(counts) * count) for label, count in counts.items()}
    assert result["training"]["class_weights"] == pytest.approx(expected)
    assert len(set(expected.values())) > 1
    assert result["training"]["loss"] == "focal loss, gamma 1.5"
    recipe = yaml.safe_load((runs[0] / "recipe.yaml").read_text())
    assert (recipe["class_weights"], recipe["loss"], recipe["focal_gamma"]) == ("balanced", "focal", 1.5)
    row = f"focal loss, gamma 1.5; class weights glioma {expected['glioma']:.2f}, "
    assert f"| loss | {row}" in (runs[0] / "README.md").read_text()
    assert row in (runs[0] / "report.html").read_text()
    assert "class_weights=balanced, focal_gamma=1.5" in changes_of(
        read_recipe_file(runs[0] / "recipe.yaml"), "cnn_4x4", "clean"
    )
    # Validation losses stay plain cross entropy, so that they compare between recipes.
    rows = pd.read_csv(runs[0] / "predictions.csv").query("split == 'validation'")
    own = -np.log([row[f"p_{row['label']}"] for row in rows.to_dict("records")]).mean()
    assert own == pytest.approx(result["validation"]["loss"], abs=1e-6)
    assert own == pytest.approx(first["validation_loss"].min(), abs=1e-4)
