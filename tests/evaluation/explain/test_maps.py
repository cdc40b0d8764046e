"""Grad-CAM on networks whose right map is known, the checks of it, and the study as a user runs it."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, AutoModelForImageClassification, ViTConfig, ViTForImageClassification

from brainmri.data.masks import polygon_mask, read_polygons, widened
from brainmri.data.phantom.generate import make_phantom
from brainmri.data.prepare import prepare
from brainmri.evaluation.explain.grad_cam import enlarged, grad_cam, layer_named, target_layer
from brainmri.evaluation.explain.sanity_checks import (
    cascade,
    centred_gaussian,
    energy_inside,
    layers_from_the_top,
    pointing_hits,
    randomisation_check,
    rank_correlation,
    similarity,
    tolerance_in_pixels,
    verdict,
)
from brainmri.models.build import OWN_NETWORKS, build_model
from brainmri.models.introspect import resolve
from brainmri.models.layers import bare_network

from ...conftest import CLASSES, MakeRun
from ...scripts import run_here
from .test_explain import TINY_CNN, filled, parsed

SIDE = 24
TINY_VIT = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}


class SquareFinder(nn.Module):
    """Its first feature is bright squares, its second one darkness; class 0 is the bright square."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.classifier = nn.Linear(2, 2)
        with torch.no_grad():
            weight = torch.full((3, 3, 3), 1 / 27)
            self.features[0].weight.copy_(torch.stack([weight, -weight]))
            self.features[0].bias.copy_(torch.tensor([-0.6, 0.3]))
            self.classifier.weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
            self.classifier.bias.zero_()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(pixels).mean((2, 3)))


def squares(n: int) -> tuple[torch.Tensor, np.ndarray]:
    """Grey images (n, 3, SIDE, SIDE) with a bright square of 6 pixels somewhere, and masks of it."""
    rng = np.random.default_rng(0)
    images, masks = rng.uniform(0, 0.2, (n, SIDE, SIDE)), np.zeros((n, SIDE, SIDE), bool)
    for k, (row, column) in enumerate(rng.integers(0, SIDE - 6, (n, 2))):
        masks[k, row : row + 6, column : column + 6] = True
    images[masks] = 1.0
    return torch.from_numpy(images).float()[:, None].repeat(1, 3, 1, 1), masks


# ---------------------------------------------------------------------- the maps


def test_the_map_of_a_network_that_looks_for_bright_squares_is_the_square() -> None:
    network, (pixels, masks) = SquareFinder().eval(), squares(20)
    layer = target_layer(network, pixels[:2])
    assert (layer.name, layer.side, layer.form) == ("features.1", SIDE, "maps")  # before the pooling
    maps, logits = grad_cam(network, layer, pixels, torch.zeros(20, dtype=torch.int64))
    torch.testing.assert_close(logits, network(pixels))
    maps = maps.numpy()
    assert pointing_hits(maps, masks).tolist() == [1.0] * 20
    assert energy_inside(maps, masks).min() > 0.9
    other, _ = grad_cam(network, layer, pixels, torch.ones(20, dtype=torch.int64))
    assert energy_inside(other.numpy(), masks).max() < 0.05  # the other class has its evidence elsewhere
    assert not any(m._forward_hooks for m in network.modules())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_the_map_is_the_formula_of_the_paper() -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=4).eval()
    pixels = torch.randn(3, 3, 64, 64)
    classes = torch.tensor([3, 0, 1])
    caught: list[torch.Tensor] = []
    with network.layer4.register_forward_hook(lambda module, inputs, output: caught.append(output)):
        logits = network(pixels)
    (gradient,) = torch.autograd.grad(logits[range(3), classes].sum(), caught)
    expected = (gradient.mean((2, 3), keepdim=True) * caught[0]).sum(1).relu()
    for parameter in network.parameters():
        parameter.requires_grad_(False)  # of a frozen network too
    maps, _ = grad_cam(network, target_layer(network, pixels), pixels, classes)
    torch.testing.assert_close(maps, expected)
    assert enlarged(maps, 64).shape == (3, 64, 64)


def own(name: str, *overrides: str) -> nn.Module:
    return bare_network(build_model(resolve(name, overrides=list(overrides)), ["a", "b", "c"], "random")[0])


def transformers_model(kind: str, **arguments: object) -> nn.Module:
    return AutoModelForImageClassification.from_config(AutoConfig.for_model(kind, num_labels=4, **arguments))


def vit_mlp() -> nn.Module:
    config, network = OWN_NETWORKS["vit_mlp"]
    return network(config(vit=TINY_VIT, num_labels=3))


NETWORKS = {
    "plain_cnn": (lambda: own("cnn_4x4", *TINY_CNN), 32, "features.10", 4),
    "six_block_cnn": (lambda: own("cnn_six_block"), 64, "features.39", 2),
    "small_resnet": (lambda: own("resnet_small"), 64, "blocks", 16),
    "backbone_cnn": (
        lambda: own("hybrid_resnet_cnn", "model.arguments.backbone=test_resnet"),
        64,
        "branch.14",
        8,
    ),
    "hybrid_cnn_vit": (lambda: own("hybrid_cnn_vit"), 128, "norm", 8),
    "vit_mlp": (vit_mlp, 32, "vit.layers.1.layernorm_before", 4),
    "test_resnet": (lambda: timm.create_model("test_resnet"), 64, "layer4", 2),
    "test_efficientnet": (lambda: timm.create_model("test_efficientnet"), 64, "bn2", 2),
    "test_vit": (lambda: timm.create_model("test_vit"), 160, "blocks.5.norm1", 10),  # classifies a class token
    "test_vit2": (lambda: timm.create_model("test_vit2"), 160, "norm", 10),  # has one, and averages the others
    "channels_last": (lambda: timm.create_model("test_mambaout"), 64, "stages", 2),
    "transformers_vit": (
        lambda: ViTForImageClassification(ViTConfig(**TINY_VIT, num_labels=4)),
        32,
        "vit.layers.1.layernorm_before",
        4,
    ),
    "registers": (
        lambda: transformers_model(
            "dinov2_with_registers",
            hidden_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
        ),
        32,
        "dinov2_with_registers.layernorm",
        4,
    ),
    "merged_tokens": (
        lambda: transformers_model(
            "swin", embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4, image_size=32, patch_size=4
        ),
        32,
        "swin.layernorm",
        4,
    ),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_kind_of_network_has_a_layer_with_places(kind: str) -> None:
    make, size, name, side = NETWORKS[kind]
    torch.manual_seed(0)
    network = make().eval()
    pixels = torch.randn(2, 3, size, size)
    layer = target_layer(network, pixels)
    assert (layer.name, layer.side) == (name, side)
    maps, logits = grad_cam(network, layer, pixels)
    assert maps.shape == (2, side, side)
    assert maps.isfinite().all() and (maps >= 0).all()
    with torch.no_grad():
        output = network(pixels)
    torch.testing.assert_close(logits, output if isinstance(output, torch.Tensor) else output.logits)


def test_tokens_stand_for_their_own_places() -> None:
    """What is changed at one place of the layer is at that place of the map, class and register tokens left aside."""
    network, pixels = NETWORKS["registers"][0]().eval(), torch.randn(1, 3, 32, 32)
    layer = target_layer(network, pixels)
    assert (layer.form, layer.prefix) == ("tokens", 5)
    tokens = torch.arange(5.0 + 16)[None, :, None].repeat(1, 1, 3)
    maps = layer.to_maps(tokens)
    assert maps[0, 0].tolist() == [[5.0 + 4 * row + column for column in range(4)] for row in range(4)]
    torch.testing.assert_close(layer.from_maps(maps, tokens), tokens)


def test_another_layer_can_be_named() -> None:
    network, pixels = NETWORKS["backbone_cnn"][0]().eval(), torch.randn(2, 3, 64, 64)
    assert layer_named(network, pixels, "backbone.layer4").side == 2
    with pytest.raises(ValueError, match=r"no layer 'backbone.fc' with places .* the last ones that have: .*branch"):
        layer_named(network, pixels, "backbone.fc")


def test_a_network_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match="no layer with places"):
        target_layer(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), torch.rand(2, 3, 8, 8))


# ---------------------------------------------------------------------- the pointing game


def test_pointing_and_energy_by_hand() -> None:
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 1:3, 1:3] = True
    maps = np.zeros((1, 4, 4))
    maps[0, 1, 1], maps[0, 0, 0] = 3, 1
    assert (pointing_hits(maps, mask)[0], energy_inside(maps, mask)[0]) == (1.0, 0.75)
    maps[0, 0, 0] = 9
    assert (pointing_hits(maps, mask)[0], energy_inside(maps, mask)[0]) == (0.0, 0.25)
    assert pointing_hits(maps, widened(mask[0], 1)[None])[0] == 0.0  # the corner is 1.41 pixels away
    assert pointing_hits(maps, widened(mask[0], 2)[None])[0] == 1.0
    maps[0, 2, 2] = 9
    assert pointing_hits(maps, mask)[0] == 0.5  # two maxima, one inside
    assert (pointing_hits(maps * 0, mask)[0], energy_inside(maps * 0, mask)[0]) == (0.0, 0.0)


@given(
    arrays(np.float32, (2, 5, 5), elements=st.floats(0, 1, width=16)),
    arrays(np.bool_, (2, 5, 5)),
    st.sampled_from([0.25, 1.0, 8.0]),
)
def test_scores_of_any_map(maps: np.ndarray, masks: np.ndarray, scale: float) -> None:
    something = maps.sum(axis=(1, 2)) > 0
    for score in (pointing_hits, energy_inside):
        inside, outside = score(maps, masks), score(maps, ~masks)
        assert ((inside >= 0) & (inside <= 1)).all()
        np.testing.assert_allclose(inside + outside, something, atol=1e-6)
        np.testing.assert_allclose(score(maps * scale, masks), inside, atol=1e-6)


def test_the_floors_know_only_the_middle_and_the_tolerance_grows_with_the_image() -> None:
    one = centred_gaussian(8)
    assert set(zip(*np.nonzero(one == one.max()), strict=True)) == {(3, 3), (3, 4), (4, 3), (4, 4)}
    np.testing.assert_allclose(one, one[::-1].T)
    assert [tolerance_in_pixels(side) for side in (500, 224, 160, 32, 8)] == [15, 7, 5, 1, 1]


# ---------------------------------------------------------------------- the outlines


@given(st.tuples(*[st.integers(0, 16)] * 4).filter(lambda box: box[0] != box[1] and box[2] != box[3]))
def test_a_box_covers_its_pixels(box: tuple[int, int, int, int]) -> None:
    (left, right), (top, bottom) = sorted(box[:2]), sorted(box[2:])
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) / 16
    expected = np.zeros((16, 16), bool)
    expected[top:bottom, left:right] = True
    np.testing.assert_array_equal(polygon_mask([corners], 16), expected)


def test_outlines_add_up_and_the_smallest_one_is_a_pixel() -> None:
    triangle = np.array([[0, 0], [1, 0], [0, 1]])
    assert polygon_mask([triangle], 100).mean() == pytest.approx(0.5, abs=0.01)
    assert polygon_mask([triangle, 1 - triangle], 100).mean() == pytest.approx(1, abs=0.01)
    speck = np.array([[0.51, 0.01], [0.52, 0.01], [0.52, 0.02]])
    assert np.argwhere(polygon_mask([speck], 4)).tolist() == [[0, 2]]


GOOD = '"[[0.1,0.1],[0.5,0.1],[0.5,0.5]]"'


def test_a_image_may_have_two_outlines(tmp_path: Path) -> None:
    (tmp_path / "outlines.csv").write_text(f"path,x0,polygon\na.png,0.1,{GOOD}\nb.png,0.1,{GOOD}\na.png,0.1,{GOOD}\n")
    found = read_polygons(tmp_path / "outlines.csv")
    assert {name: len(polygons) for name, polygons in found.items()} == {"a.png": 2, "b.png": 1}
    assert found["b.png"][0].tolist() == [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a CSV table"),
        ("path,x0\na.png,0\n", "no column polygon; it has path, x0"),
        ("file\na.png\n", "no column path and no column polygon"),
        ("path,polygon\n", "the table is empty"),
        (f"path,polygon\na.png,{GOOD}\nb.png,oval\n", r"line 3 \(b.png\): the polygon is no list of \[x, y\]"),
        ('path,polygon\na.png,"[[0,0],[1,1]]"\n', r"line 2 \(a.png\): .* three or more"),
        ('path,polygon\na.png,"[[0,0],[1,1],[1]]"\n', "no list of"),
        ('path,polygon\na.png,"[[0,0],[1,null],[1,1]]"\n', "leaves the image|no list of"),
        ('path,polygon\na.png,"[[0,0],[224,0],[1,1]]"\n', "shares of the sides"),
        ('path,polygon\na.png,"[[0,0],[0.5,0.5],[1,1]]"\n', "has no area"),
    ],
)
def test_broken_outlines_are_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "outlines.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_polygons(tmp_path / "outlines.csv")


# ---------------------------------------------------------------------- weight randomisation


def test_layers_stand_from_the_classifier_to_the_input_each_tensor_once() -> None:
    network = timm.create_model("test_vit", num_classes=4).eval()
    layers = layers_from_the_top(network, torch.randn(1, 3, 160, 160))
    assert layers[0] == ("head", ["head.weight", "head.bias"])
    assert layers[-1] == ("", ["cls_token", "pos_embed"])
    assert layers[-2][0] == "patch_embed.proj"
    names = [name for _, tensors in layers for name in tensors]
    assert sorted(names) == sorted(network.state_dict())


def test_the_cascade_ends_at_the_stranger_and_leaves_the_network_alone() -> None:
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, 64, 64)
    network, other = (timm.create_model("test_resnet", num_classes=4).eval() for _ in range(2))
    before, features = network(pixels), network.forward_features(pixels)
    layers = layers_from_the_top(network, pixels)
    steps = []
    for name, number, mixed in cascade(network, other, layers, 4):
        steps.append((name, number))
        if number == 1:
            torch.testing.assert_close(mixed.forward_features(pixels), features, rtol=0, atol=0)
            torch.testing.assert_close(mixed(pixels), other.forward_head(features), rtol=0, atol=0)
    torch.testing.assert_close(mixed(pixels), other(pixels), rtol=0, atol=0)
    torch.testing.assert_close(network(pixels), before, rtol=0, atol=0)
    assert (steps[0], len(steps), steps[-1][1]) == (("fc", 1), 4, len(layers))


def test_maps_of_what_was_learnt_change_and_an_edge_detector_is_found_out() -> None:
    network, (pixels, _) = SquareFinder().eval(), squares(20)
    torch.manual_seed(0)
    stranger = SquareFinder().eval()
    for module in (stranger.features[0], stranger.classifier):
        module.reset_parameters()
    layer, classes = target_layer(network, pixels), torch.zeros(20, dtype=torch.int64)
    layers = layers_from_the_top(network, pixels)

    def learnt(one: nn.Module) -> np.ndarray:
        return grad_cam(one, layer, pixels, classes)[0].numpy()

    def edges(one: nn.Module) -> np.ndarray:
        return pixels[:, 0].diff(dim=1)[:, :, 1:].abs().numpy()

    good, bad = (randomisation_check(network, [stranger], layers, explain) for explain in (learnt, edges))
    assert [step.layers for step in good] == [0, 1, 2]
    assert [step.layer for step in good] == ["", "classifier", "features.0"]
    assert np.nanmean(good[0].rank_correlation) == pytest.approx(1)
    assert "passed" in verdict(float(np.nanmean(good[-1].rank_correlation)), [-0.2, 0.3], 20, 20)
    for step in bad:
        np.testing.assert_allclose([step.rank_correlation, step.similarity], 1)
    assert "FAILED: without any learnt weight the maps hardly change" in verdict(1.0, [1.0, 1.0], 20, 20)
    assert "not judged" in verdict(None, None, 0, 20)


def test_the_check_passes_only_on_enough_images_and_says_on_how_many() -> None:
    assert "passed" in verdict(0.1, [-0.1, 0.3], 16, 32)
    assert "on 16 of 32 images" in verdict(0.1, [-0.1, 0.3], 16, 32)
    few = verdict(0.1, [-0.1, 0.3], 4, 32)
    assert "not judged, only 4 of 32 images have maps to compare (rank correlation 0.10 on these)" in few
    assert "FAILED" not in verdict(0.9, [0.8, 1.0], 4, 32)
    for interval in ([0.3, 0.6], None):  # it tells nothing from the limit, or is not known
        text = verdict(0.45, interval, 30, 32)
        assert "undecided on 30 of 32 images" in text
        assert "passed" not in text


def test_rank_correlation_and_similarity_by_hand() -> None:
    one = np.arange(49.0).reshape(1, 7, 7)
    assert rank_correlation(one, one**3)[0] == pytest.approx(1)
    assert rank_correlation(one, -one)[0] == pytest.approx(-1)
    assert rank_correlation(one, one * 0)[0] == 0
    assert similarity(one, 5 * one)[0] == pytest.approx(1)
    assert similarity(one, one[:, ::-1, ::-1])[0] < 0.3


def test_empty_maps_say_nothing_about_likeness() -> None:
    network = SquareFinder().eval()
    maps = np.stack([np.zeros((3, 3)), np.arange(9.0).reshape(3, 3)])
    layers = layers_from_the_top(network, squares(1)[0])
    steps = randomisation_check(network, [network, network], layers, lambda one: maps)
    assert np.isnan(steps[-1].similarity).tolist() == [True, False]
    assert steps[-1].similarity[1] == pytest.approx(1)


# ---------------------------------------------------------------------- the study


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    raw = make_phantom(folder / "raw", subjects=24, size=32, slices_per_subject=4, progress=False)
    return prepare(raw, folder / "ready", layout="imagefolder", groups=raw / "groups.csv", name="phantom tiny")


@pytest.fixture
def run(make_run: MakeRun, prepared: Path) -> Path:
    """A run folder with an untrained network, scored on the test images of `prepared`."""
    folder = make_run(arch="cnn_4x4", data__simulated=True)
    model = filled(folder, "cnn_4x4", TINY_CNN)
    for layer in (model.hidden, model.classifier):  # so that something speaks for every class
        layer.weight.data.abs_()
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    index = pd.read_csv(prepared / "index.csv")
    scored = index.loc[index["split"] == "test", ["file_name", "split", "group_id", "label"]]
    scored.assign(fold="", predicted="glioma", p_glioma=1.0).to_csv(folder / "predictions.csv", index=False)
    return folder


def explained(run: Path, prepared: Path, cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [run, "--data_dir", prepared, *arguments, "--studies", "maps"]
    return run_here("explain.py", *command, environment={"BRAINMRI_CACHE": str(cache)})


@pytest.mark.integration
def test_the_study_of_a_run_with_outlines(run: Path, prepared: Path, tmp_path: Path) -> None:
    index = pd.read_csv(prepared / "index.csv")
    test = index[(index["split"] == "test") & (index["label"] != "notumor")]
    box = json.dumps([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])
    outlined = [*test["source"].iloc[1:], index.loc[index["split"] == "train", "source"].iloc[0]]
    pd.DataFrame({"path": outlined, "polygon": box}).to_csv(tmp_path / "outlines.csv", index=False)
    done = explained(run, prepared, tmp_path, "--outlines", str(tmp_path / "outlines.csv"), "--class", "glioma")
    assert done.returncode == 0, done.stderr
    out = run / "explain" / "maps"
    names = ["maps.csv", "maps.json", "maps.txt", "montage.png", "randomisation.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    record, table = json.loads((out / "maps.json").read_text()), pd.read_csv(out / "maps.csv")
    assert table["source"].tolist() == test["source"].iloc[1:].tolist()
    assert (record["class"], record["images"], record["tolerance_pixels"]) == ("glioma", len(test) - 1, 1)
    assert set(table["explained"]) == {"glioma"}
    assert list(record["scores"]) == ["all", *sorted(test["label"].iloc[1:].unique())]
    methods = record["scores"]["all"]["methods"]
    assert methods["chance"]["energy"]["mean"] == 0.25
    assert methods["gaussian"]["pointing"]["mean"] == 1.0
    for method in ("network", "random", "brightness"):
        mean = methods[method]["energy"]["mean"]
        low, high = methods[method]["energy"]["ci95"]
        assert low <= mean <= high
        assert mean == pytest.approx(table[f"{method}_energy"].mean(), abs=1e-5)
    assert record["randomisation"]["steps"][0]["rank_correlation"] == pytest.approx(1)
    assert record["randomisation"]["verdict"] in done.stdout
    assert "Simulated images: " in done.stdout
    assert f"{len(test) - 1} of {(index['split'] == 'test').sum()} test images have an outline" in done.stdout
    assert "Grad-CAM, random weights (mean of 3)" in (out / "maps.txt").read_text()
    with Image.open(out / "montage.png") as image:
        assert min(image.size) > 500
    page = (run / "report.html").read_text()
    assert "Where the network looks" in page and record["randomisation"]["verdict"] in page
    assert page.count("Hit within 1 pixels") == 1 and "Test images and their maps" in page


@pytest.mark.integration
def test_the_study_without_outlines(
    run: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Figure]
) -> None:
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path))
    parsed(monkeypatch, str(run), "--data_dir", str(prepared), "--studies", "maps").main()
    record = json.loads((run / "explain" / "maps" / "maps.json").read_text())
    assert (record["scores"], record["class"], record["images"]) == (None, "predicted", 16)
    table = pd.read_csv(run / "explain" / "maps" / "maps.csv")
    assert set(table["label"]) == set(CLASSES)
    named = {axes.get_xlabel() for axes in drawn[0].axes} - {""}  # each map of the montage can be looked up
    assert named == {Path(name).name for name in table["file_name"]}


def test_mistakes_are_told_before_a_image_is_decoded(
    run: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    outlines = tmp_path / "outlines.csv"
    outlines.write_text(f"path,polygon\nelsewhere.png,{GOOD}\n")
    arguments = [str(run), "--data_dir", str(prepared), "--studies", "maps"]
    with pytest.raises(ValueError, match=r"none of the 1 outlined images \('elsewhere.png', ...\) is among the 16 te"):
        parsed(monkeypatch, *arguments, "--outlines", str(outlines)).main()
    assert not (tmp_path / "cache").exists()
    with pytest.raises(ValueError, match="--class sarcoma: the model knows glioma,"):
        parsed(monkeypatch, *arguments, "--class", "sarcoma").main()
    (tmp_path / "maps" / "maps").mkdir(parents=True)  # before it looks at what lies there
    (tmp_path / "maps" / "maps" / "maps.json").write_text("of others")
    with pytest.raises(ValueError, match="--class sarcoma: the model knows glioma,"):
        parsed(monkeypatch, *arguments, "--class", "sarcoma", "--out", str(tmp_path / "maps")).main()
    outlines.write_text("file\na.png\n")
    done = explained(run, prepared, tmp_path, "--outlines", str(outlines))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: ") and "no column path and no column polygon" in done.stderr
