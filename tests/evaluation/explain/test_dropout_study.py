"""The dropout study: torch's dropout against the formula, on the layer that really gives the logits."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from brainmri.evaluation.explain.inspect import (
    MASKS,
    RATES,
    dropout_table,
    final_classifier,
    image_under_dropout,
    logits_under_dropout,
)
from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.reporting.explain_plots import dropout_figure

CLASSES = ["glioma", "meningioma", "notumor"]


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(200, 3)


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(200, generator=torch.Generator().manual_seed(1)).relu()


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_the_classifier_is_the_layer_that_gives_the_logits(name: str) -> None:
    model = timm.create_model(name, num_classes=4).eval()
    pixels = torch.rand(1, 3, 160, 160)
    layer, inputs = final_classifier(model, pixels)
    assert layer is model.get_classifier()
    torch.testing.assert_close(layer(inputs), model(pixels)[0])
    assert not any(module._forward_hooks for module in model.modules())


def test_the_classifier_of_an_own_network() -> None:
    model = build_model(resolve("cnn_4x4"), CLASSES, "random")[0].eval()
    layer, inputs = final_classifier(model, torch.rand(1, 3, 256, 256))
    assert layer is model.classifier
    assert inputs.shape == (32,)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()),
        nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.Softmax(1)),
        nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.Unflatten(1, (4, 1, 1)), nn.Conv2d(4, 4, 1), nn.Flatten()),
    ],
)
def test_a_network_without_a_linear_classifier_is_refused(network: nn.Module) -> None:
    with pytest.raises(ValueError, match="no linear classifier as its last layer"):
        final_classifier(network.eval(), torch.rand(1, 3, 8, 8))


def test_the_mean_stays_and_the_spread_follows_the_formula(layer: nn.Linear, inputs: torch.Tensor) -> None:
    logits = logits_under_dropout(layer, inputs)
    table = dropout_table(layer, inputs, logits, CLASSES).set_index(["p", "class"])
    exact = layer(inputs).tolist()
    for p in RATES:
        for k, name in enumerate(CLASSES):
            row = table.loc[(p, name)]
            terms = [w * x for w, x in zip(layer.weight[k].tolist(), inputs.tolist(), strict=True)]
            deviation = (p / (1 - p) * sum(term**2 for term in terms)) ** 0.5
            assert row["mean_in_theory"] == pytest.approx(exact[k], abs=1e-5)
            assert row["standard_deviation_in_theory"] == pytest.approx(deviation)
            assert abs(row["mean"] - exact[k]) <= 4 * deviation / MASKS**0.5 + 1e-6
            # Four standard errors of a standard deviation, of a nearly normal variable.
            assert row["standard_deviation"] == pytest.approx(deviation, rel=4 / (2 * MASKS) ** 0.5)
            assert row["mean"] == pytest.approx(logits[p][:, k].mean())
            assert row["standard_deviation"] == pytest.approx(logits[p][:, k].std(ddof=1), abs=1e-12)
    assert (table.loc[0.0, "standard_deviation"] == 0).all()
    assert table.loc[0.9, "standard_deviation"].min() > 3 * table.loc[0.3, "standard_deviation"].min()


def test_masks_are_seeded_and_leave_the_global_random_state_alone(layer: nn.Linear, inputs: torch.Tensor) -> None:
    before = torch.random.get_rng_state()
    first, second = (logits_under_dropout(layer, inputs, masks=10)[0.5] for _ in range(2))
    other = logits_under_dropout(layer, inputs, masks=10, seed=1)[0.5]
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_an_image_loses_whole_pixels_and_the_others_grow() -> None:
    image = np.random.default_rng(0).integers(1, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(image_under_dropout(image, 0.0), image)
    dropped = image_under_dropout(image, 0.7)
    gone = (dropped == 0).all(axis=2)
    assert gone.mean() == pytest.approx(0.7, abs=4 * (0.21 / gone.size) ** 0.5)
    np.testing.assert_allclose(dropped[~gone], np.minimum(image[~gone] / 0.3, 255), atol=0.51)


def test_the_figure_is_drawn_even_where_nothing_varies(layer: nn.Linear, tmp_path: Path) -> None:
    dead = torch.zeros(200)
    logits = logits_under_dropout(layer, dead, (0.0, 0.5), masks=20)
    table = dropout_table(layer, dead, logits, CLASSES)
    source = np.full((16, 16, 3), 90, np.uint8)
    first, second = (
        dropout_figure(source, logits, table, tmp_path / f"{k}.png", title="UNTRAINED").read_bytes() for k in range(2)
    )
    assert first == second
    with Image.open(tmp_path / "0.png") as image:
        assert min(image.size) > 500
