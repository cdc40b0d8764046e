"""The table of layers: every parameter once, each in the row where a reader looks for it."""

import timm
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from brainmri.evaluation.explain.inspect import layer_table, layer_text
from brainmri.models.build import build_model, parameter_counts
from brainmri.models.introspect import resolve
from brainmri.models.layers import bare_network

FOUR = ["glioma", "meningioma", "notumor", "pituitary"]


def recipe_network(name: str) -> nn.Module:
    return bare_network(build_model(resolve(name), FOUR, "random")[0]).eval()


def fused_attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return nn.Sequential(nn.Flatten(2), nn.Linear(64, 16), nn.TransformerEncoder(layer, 1)).eval()


def rows(network: nn.Module, size: int) -> dict[str, tuple]:
    """name: (kind, output, parameters, trainable, running statistics); fails where the sums are not the counts."""
    table = layer_table(network, torch.rand(1, 3, size, size))
    counts = parameter_counts(network)
    assert table["parameters"].sum() + table["running_statistics"].sum() == counts["total"]
    assert table["trainable"].sum() == counts["trainable"]
    assert not table["name"].duplicated().any()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    return {row[0]: tuple(row[1:]) for row in table.to_numpy()}


def test_a_plain_cnn_is_listed_as_source_d_lists_it() -> None:
    found = rows(recipe_network("cnn_4x4"), 256)
    assert list(found)[:3] == ["features.0", "features.1", "features.2"]
    assert list(found)[-3:] == ["hidden", "dropout", "classifier"]  # the order of the calls, not of the definition
    assert found["features.0"] == ("Conv2d", "4x256x256", 3 * 4 * 9 + 4, 112, 0)
    assert found["features.2"] == ("MaxPool2d", "4x128x128", 0, 0, 0)
    assert found["hidden"] == ("Linear", "32", 1024 * 32 + 32, 32_800, 0)
    assert found["classifier"] == ("Linear", "4", 32 * 4 + 4, 132, 0)


def test_running_statistics_stand_apart_from_parameters() -> None:
    found = rows(recipe_network("resnet_small"), 64)
    assert found["stem.1"] == ("BatchNorm2d", "16x64x64", 32, 32, 32)
    assert "blocks.0.shortcut" not in found  # an identity


def test_a_batch_norm_that_holds_its_activation_is_one_row() -> None:
    found = rows(recipe_network("efficientnet_lite0"), 64)
    assert found["bn1"] == ("BatchNormAct2d", "32x32x32", 64, 64, 64)
    assert found["bn1.act"] == ("ReLU6", "32x32x32", 0, 0, 0)


def test_parameters_outside_of_layers_have_their_own_rows() -> None:
    found = rows(timm.create_model("test_vit", num_classes=4).eval(), 160)
    assert found["cls_token"] == ("parameter", "1x1x64", 64, 64, 0)
    assert found["pos_embed"] == ("parameter", "1x101x64", 101 * 64, 101 * 64, 0)
    config = ViTConfig(
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=32,
        patch_size=8,
        num_labels=4,
    )
    found = rows(ViTForImageClassification(config).eval(), 32)
    assert found["vit.embeddings.position_embeddings"][:3] == ("parameter", "1x17x24", 17 * 24)
    assert found["vit.embeddings.patch_embeddings.projection"][:2] == ("Conv2d", "24x4x4")


def test_layers_that_are_never_called_are_counted_too() -> None:
    found = rows(fused_attention(), 8)
    assert found["2.layers.0.self_attn.in_proj_weight"] == ("parameter", "48x16", 768, 768, 0)
    assert found["2.layers.0.self_attn.out_proj"][1:] == ("", 272, 272, 0)


def test_a_shared_parameter_is_counted_once() -> None:
    first, second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    second.weight = first.weight
    found = rows(nn.Sequential(first, second, first).eval(), 8)
    assert [found[name][2] for name in ("0", "1")] == [12, 3]


def test_frozen_parameters_do_not_train() -> None:
    network = recipe_network("cnn_4x4")
    network.features.requires_grad_(False)
    found = rows(network, 256)
    assert found["features.0"][2:] == (112, 0, 0)
    assert found["hidden"][3] == 32_800


def test_the_text_ends_with_the_sums() -> None:
    network = recipe_network("resnet_small")
    lines = layer_text(layer_table(network, torch.rand(1, 3, 64, 64))).splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters", "trainable", "running", "stat."]
    assert lines[-2].split() == ["sum", "175,140", "175,140", "1,120"]
    assert lines[-1].endswith(" 176,260")
    assert len({len(line) for line in lines[:-1]}) == 1
