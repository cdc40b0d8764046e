"""Which parameters train, decay, and at which rate."""

import pytest
import torch

from brainmri.models.build import build_model, parameter_counts
from brainmri.models.introspect import resolve
from brainmri.models.layers import bare_network
from brainmri.recipe import Stage
from brainmri.training.optimizer import parameter_groups, set_frozen

FOUR = ["glioma", "meningioma", "notumor", "pituitary"]


def build(name: str, *overrides: str):
    return build_model(resolve(name, overrides=list(overrides)), FOUR, "random")[0]


def by_name(model, stage: Stage, rate: float = 1.0, decay: float = 0.1) -> dict[str, tuple[float, float]]:
    """Learning rate and decay of each trainable parameter."""
    names = {id(p): name for name, p in bare_network(model).named_parameters()}
    groups = parameter_groups(model, stage, rate, decay)
    return {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


def test_the_partial_resnet_trains_exactly_what_its_source_did() -> None:
    recipe = resolve("resnet50_partial")
    model = build_model(recipe, FOUR, "random")[0]
    set_frozen(model, recipe.stages[0])
    head = 2048 * 4 + 4
    assert parameter_counts(model) == {"total": 23_569_348, "trainable": 9_981_952 + head}
    trained = {n.rpartition(".")[0] for n, p in bare_network(model).named_parameters() if p.requires_grad}
    blocks = {f"layer4.{block}.{part}{k}" for block in (1, 2) for part in ("conv", "bn") for k in (1, 2, 3)}
    assert trained == {"layer4.0.conv3", "layer4.0.bn3", "layer4.0.downsample.1", "fc"} | blocks


def test_an_unknown_module_is_named_with_the_known_ones() -> None:
    model = build("resnet50", "model.arguments.architecture=test_resnet", "input.size=32")
    stage = Stage(epochs=1, learning_rate=1, freeze="backbone", trainable=["layer9"])
    with pytest.raises(ValueError, match=r"trainable: the network has no 'layer9'; its parts are .*fc"):
        set_frozen(model, stage)
    stage = Stage(epochs=1, learning_rate=1, learning_rate_factors={"bakbone": 0.1})
    with pytest.raises(ValueError, match=r"learning_rate_factors: the network has no 'bakbone'"):
        parameter_groups(model, stage, 1.0, 0.0)
    with pytest.raises(ValueError, match="exceptions to `freeze: backbone`"):
        Stage(epochs=1, learning_rate=1, trainable=["layer4"])


@pytest.mark.parametrize(
    ("model", "exempt", "decaying"),
    [
        (("timm:test_resnet", "input.size=32"), ["layer1.0.bn1.weight", "fc.bias"], ["layer1.0.conv1.weight"]),
        (("timm:test_vit", "input.size=160"), ["cls_token", "pos_embed", "norm.weight"], ["patch_embed.proj.weight"]),
        (("timm:test_convnext", "input.size=64"), ["stages.0.blocks.0.gamma"], ["stem.0.weight", "head.fc.weight"]),
        (("timm:test_byobnet", "input.size=64"), [], ["head.fc.weight"]),
        (
            ("vit_base", "model.arguments={num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2}"),
            ["vit.embeddings.cls_token", "vit.embeddings.position_embeddings", "vit.layernorm.weight"],
            ["vit.layers.0.mlp.fc1.weight", "classifier.weight"],
        ),
        (("hybrid_cnn_vit",), ["position", "stem.1.weight", "encoder.0.norm1.weight"], ["stem.0.weight"]),
    ],
)
def test_norms_biases_tokens_and_layer_scale_do_not_decay(
    model: tuple[str, ...], exempt: list[str], decaying: list[str]
) -> None:
    network = build(*model)
    decays = {name: decay for name, (_, decay) in by_name(network, Stage(epochs=1, learning_rate=1)).items()}
    assert len(decays) == len(list(bare_network(network).named_parameters()))
    assert {decays[name] for name in exempt} <= {0.0}
    assert {decays[name] for name in decaying} == {0.1}
    assert all(decays[n] == 0 for n, p in bare_network(network).named_parameters() if p.ndim == 1)


@pytest.mark.parametrize(
    ("model", "order"),
    [
        (("timm:test_vit", "input.size=160"), ["patch_embed.proj.weight", "blocks.0.mlp.fc1.weight", "head.weight"]),
        (
            ("vit_base", "model.arguments={num_hidden_layers: 3, hidden_size: 16, num_attention_heads: 2}"),
            ["vit.embeddings.cls_token", "vit.layers.0.mlp.fc1.weight", "vit.layers.2.mlp.fc1.weight"],
        ),
        (
            ("hybrid_resnet_cnn", "model.arguments.backbone=test_resnet"),
            ["backbone.conv1.0.weight", "backbone.layer1.0.conv1.weight", "classifier.weight"],
        ),
    ],
)
def test_lower_layers_learn_more_slowly_with_layer_decay(model: tuple[str, ...], order: list[str]) -> None:
    rates = {
        n: rate for n, (rate, _) in by_name(build(*model), Stage(epochs=1, learning_rate=1, layer_decay=0.5)).items()
    }
    found = [rates[name] for name in order]
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    assert max(rates.values()) == 1.0
    assert all(torch.tensor(rate).log2().frac() == 0 for rate in rates.values())  # powers of the decay


def test_layer_decay_without_an_order_of_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="layers of this network have no known order"):
        by_name(build("cnn_4x4"), Stage(epochs=1, learning_rate=1, layer_decay=0.5))


def test_branches_have_their_own_rates() -> None:
    model = build("hybrid_resnet_cnn", "model.arguments.backbone=test_resnet")
    rates = by_name(model, resolve("hybrid_resnet_cnn").stages[1], rate=1e-3)
    assert {rate for name, (rate, _) in rates.items() if name.startswith("backbone.")} == {1e-4}
    assert {rate for name, (rate, _) in rates.items() if not name.startswith("backbone.")} == {1e-3}
    assert any(name.startswith("branch.") for name in rates)
