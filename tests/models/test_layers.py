"""Layers of a network that others ask for."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.models.layers import classifier_layer, features_of, folded


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def unlike_new(model: nn.Module) -> nn.Module:
    """Its norms have other statistics than those that they begin with."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize("arch", ["efficientnet_lite0", "resnet_small"])
def test_a_network_with_folded_norms_says_the_same(arch: str) -> None:
    model = unlike_new(build_model(resolve(arch, overrides=["input.size=64"]), ["a", "b", "c"], "random")[0])
    images = torch.randn(2, 3, 64, 64)
    layer = classifier_layer(model, images)
    fast = folded(model, images)
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    with torch.inference_mode(), features_of(fast, layer) as ours, features_of(model, layer) as before:
        logits, expected = fast(pixel_values=images).logits, model(pixel_values=images).logits
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours[0], before[0], rtol=1e-3, atol=1e-3)


def test_a_network_whose_norms_stand_elsewhere_stays_as_it_is() -> None:
    class Before(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=self.convolution(self.norm(pixel_values)).mean((2, 3)))

    model = unlike_new(Before())
    assert folded(model, torch.randn(2, 3, 4, 4)) is model
