"""Feature maps: what the convolutions really give, in running order, with no hook left behind."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from brainmri.evaluation.explain.inspect import feature_maps
from brainmri.reporting.explain_plots import convolution_grid, convolution_overview


class Branches(nn.Module):
    """Convolutions defined in another order than they run in, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(70, 4, 1)
        self.wide = nn.Conv2d(6, 70, 3, stride=2, padding=1)
        self.twice = nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.gate = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.last(self.wide(torch.cat([self.twice(x), self.twice(x)], 1)).relu())
        return x * self.gate(x.mean((2, 3), keepdim=True))


@pytest.fixture
def network() -> Branches:
    torch.manual_seed(0)
    return Branches().eval()


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(1))


def test_every_call_of_every_convolution_in_running_order(network: Branches, pixels: torch.Tensor) -> None:
    found = feature_maps(network, pixels)
    assert [(one.name, one.kernel, one.size) for one in found] == [
        ("twice", "3x3, depthwise", "3x12x16"),
        ("twice", "3x3, depthwise", "3x12x16"),
        ("wide", "3x3, stride 2", "70x6x8"),
        ("last", "1x1", "4x6x8"),
        ("gate", "1x1", "4x1x1"),
    ]
    assert [len(one.maps) for one in found] == [3, 3, 64, 4, 4]
    assert not any(module._forward_hooks for module in network.modules())


def test_maps_are_the_outputs_each_on_its_own_scale(network: Branches, pixels: torch.Tensor) -> None:
    maps = feature_maps(network, pixels)[0].maps
    for one, output in zip(maps, network.twice(pixels)[0].detach().numpy(), strict=True):
        expected = 255 * (output - output.min()) / (output.max() - output.min())
        assert np.abs(one - expected).max() < 0.51
        assert (one.min(), one.max()) == (0, 255)


def test_constant_maps_are_black_and_maps_of_one_pixel_share_a_scale(network: Branches, pixels: torch.Tensor) -> None:
    nn.init.zeros_(network.last.weight)
    nn.init.zeros_(network.gate.weight)
    with torch.no_grad():
        network.gate.bias.copy_(torch.tensor([0.0, 1.0, 2.0, 4.0]))
    found = feature_maps(network, pixels)
    assert (found[3].maps == 0).all()
    assert found[4].maps.ravel().tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize(("name", "first"), [("test_resnet", "conv1.0"), ("test_vit", "patch_embed.proj")])
def test_networks_of_timm(name: str, first: str) -> None:
    model = timm.create_model(name, num_classes=4).eval()
    found = feature_maps(model, torch.rand(1, 3, 160, 160))
    assert found[0].name == first
    assert len(found) == sum(isinstance(module, nn.Conv2d) for module in model.modules())


def test_a_network_without_convolutions_is_refused() -> None:
    with pytest.raises(ValueError, match="has no convolution"):
        feature_maps(nn.Flatten(), torch.rand(1, 3, 8, 8))


def test_the_figures_say_what_is_shown_and_cut_nothing_off(
    network: Branches, pixels: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k)))
    found = feature_maps(network, pixels)
    source = np.zeros((12, 16, 3), np.uint8)
    for part in ("encoder.layers", "attention_output", "a_name_without_any_end_to_it"):
        object.__setattr__(found[3], "name", f"{found[3].name}.{part}")
    convolution_grid(found[2], tmp_path / "grid.png", title="wide, UNTRAINED")
    convolution_overview(found * 8, source, tmp_path / "overview.png", title="wide, UNTRAINED")
    headings = [figure.texts[0].get_text() for figure in drawn]
    assert "the first 64 channels, 6 not shown" in headings[0]
    assert "each map from its own minimum (black) to its own maximum (white)" in headings[0]
    assert "one-pixel maps share a scale" in headings[1]
    assert len(drawn[0].axes[0].images) == 64
    assert len(drawn[1].axes[0].images) == 1 + 8 * (3 + 3 + 8 + 4 + 4)
    for figure in drawn:
        renderer = figure.canvas.get_renderer()
        heading = figure.texts[0].get_window_extent(renderer)
        assert heading.y0 > figure.axes[0].get_window_extent(renderer).y1
        names = [label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()]
        for box in (*names, heading):
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height
        for upper, lower in pairwise(names):
            assert not upper.overlaps(lower)
    before = (tmp_path / "grid.png").read_bytes()
    convolution_grid(found[2], tmp_path / "grid.png", title="wide, UNTRAINED")
    assert (tmp_path / "grid.png").read_bytes() == before
    with Image.open(tmp_path / "overview.png") as image:
        assert np.asarray(image.convert("L")).std() > 5
