"""A network looked into: its layers, the feature maps of one image, dropout, and a classification report."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import classification_report
from torch import nn
from torch.nn import functional

from brainmri.evaluation.inference import read_predictions
from brainmri.evaluation.run_warnings import warnings_of
from brainmri.schemas import read_result
from brainmri.wording import data_title, leak_statement, with_interval

SHOWN = 64  # channels kept of each convolution: what an image can show, and a bound of the memory


@dataclass(frozen=True)
class ConvolutionMaps:
    """One call of one convolution.

    name: of the module. kernel: in words ("3x3, depthwise"). channels: how many the convolution has.
    maps: the first of them, uint8 (at most 64, H, W), each scaled from its own minimum..maximum to 0..255 (constant
    ones are 0); where H = W = 1 a map is one number, and all are scaled together.
    """

    name: str
    kernel: str
    channels: int
    maps: NDArray[np.uint8]

    @property
    def size(self) -> str:
        """The shape of the whole output: "64x112x112"."""
        return "x".join(map(str, (self.channels, *self.maps.shape[1:])))


def feature_maps(network: nn.Module, pixels: torch.Tensor) -> list[ConvolutionMaps]:
    """The outputs of all `nn.Conv2d` of `network` (in evaluation mode), before norm and activation, in running order.

    The patch embedding of a vision transformer is such a convolution too. No hook stays behind.

    Args:
        pixels: one preprocessed image, float (1, 3, H, W).

    Raises:
        ValueError: if the network calls no convolution.
    """
    found: list[ConvolutionMaps] = []

    def catch(name: str, module: nn.Conv2d, inputs: Any, output: torch.Tensor) -> None:
        found.append(ConvolutionMaps(name, _kernel(module), output.shape[1], _scaled(output[0, :SHOWN])))

    with ExitStack() as hooks, torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d):
                hooks.enter_context(module.register_forward_hook(partial(catch, name)))
        network(pixels)
    if not found:
        raise ValueError("this model has no convolution, so it has no feature maps: leave the study `features` out")
    return found


def _scaled(maps: torch.Tensor) -> NDArray[np.uint8]:
    """Float (N, H, W) -> uint8, see `ConvolutionMaps`."""
    together = (0, 1, 2) if maps.shape[1:].numel() == 1 else (1, 2)
    low, high = maps.amin(together, keepdim=True), maps.amax(together, keepdim=True)
    span = torch.where(high > low, high - low, 1)
    return ((maps - low) / span * 255).round().to(torch.uint8).cpu().numpy()


def _kernel(module: nn.Conv2d) -> str:
    words = ["x".join(map(str, module.kernel_size))]
    if max(module.stride) > 1:
        words.append(f"stride {max(module.stride)}")
    if module.groups > 1:
        words.append("depthwise" if module.groups == module.in_channels else f"{module.groups} groups")
    return ", ".join(words)


RATES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
MASKS = 2000


def final_classifier(network: nn.Module, pixels: torch.Tensor) -> tuple[nn.Linear, torch.Tensor]:
    """The linear layer whose output is the logits of `network` (in evaluation mode), and its inputs for the image.

    Args:
        pixels: one preprocessed image, float (1, 3, H, W).

    Returns:
        The layer and its inputs, (D,): the last representation of the image.

    Raises:
        ValueError: if the logits do not come straight from a linear layer.
    """
    calls: list[tuple[nn.Linear, torch.Tensor, torch.Tensor]] = []

    def catch(module: nn.Linear, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        calls[:] = [(module, inputs[0], output)]  # the last one counts

    with ExitStack() as hooks, torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear):
                hooks.enter_context(module.register_forward_hook(catch))
        result: Any = network(pixels)
    logits = result if isinstance(result, torch.Tensor) else result.logits
    if not calls or calls[0][2].shape != logits.shape or not torch.equal(calls[0][2], logits):
        raise ValueError("this model has no linear classifier as its last layer: leave the study `dropout` out")
    layer, inputs, _ = calls[0]
    return layer, inputs[0]


def logits_under_dropout(
    layer: nn.Linear, inputs: torch.Tensor, rates: tuple[float, ...] = RATES, masks: int = MASKS, seed: int = 0
) -> dict[float, NDArray[np.float64]]:
    """For each probability the logits (masks, C) of `layer` under that many dropout masks on its `inputs` (D,).

    It is torch's own dropout, which divides what it keeps by 1 - p. The global random state is left as it was.
    """
    parameters = [None if tensor is None else tensor.detach().double() for tensor in (layer.weight, layer.bias)]
    copies = inputs.detach().double().expand(masks, -1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {p: functional.linear(functional.dropout(copies, p), *parameters).numpy() for p in rates}


def dropout_table(
    layer: nn.Linear, inputs: torch.Tensor, logits: dict[float, NDArray[np.float64]], classes: list[str]
) -> pd.DataFrame:
    """A row for each probability and class: what was drawn beside what theory says.

    A mask keeps input i with probability 1 - p and divides it by 1 - p, so that the mean of a logit stays w x + b and
    its variance is p / (1 - p) times the sum of the (w_i x_i)^2.

    Returns:
        Columns `p`, `class`, `mean`, `mean_in_theory`, `standard_deviation`, `standard_deviation_in_theory`.
    """
    terms = (layer.weight.double() * inputs.double()).detach().numpy()  # (C, D)
    bias = np.zeros(len(terms)) if layer.bias is None else layer.bias.detach().double().numpy()
    rows = []
    for p, values in logits.items():
        apart = values - values[0]  # so that equal values have a standard deviation of exactly 0
        means, deviations = values[0] + apart.mean(axis=0), apart.std(axis=0, ddof=1)
        expected = np.sqrt(p / (1 - p) * (terms**2).sum(axis=1))
        for k, name in enumerate(classes):
            rows.append((p, name, means[k], terms[k].sum() + bias[k], deviations[k], expected[k]))
    columns = ["p", "class", "mean", "mean_in_theory", "standard_deviation", "standard_deviation_in_theory"]
    return pd.DataFrame(rows, columns=columns)


def image_under_dropout(image: NDArray[np.uint8], p: float, seed: int = 0) -> NDArray[np.uint8]:
    """Dropout of whole pixels of an image (H, W, 3): what is kept is divided by 1 - p, and clipped at 255."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mask = functional.dropout(torch.ones(image.shape[:2]), p).numpy()
    return np.clip(np.rint(image * mask[:, :, None]), 0, 255).astype(np.uint8)


def classification_text(run_dir: Path) -> str:
    """Precision, recall, F1 and support of each class on the test split, from `predictions.csv`.

    The classes stand in the order of `result.json` (source D typed them a second time, in reverse).

    Raises:
        FileNotFoundError: `result.json` or `predictions.csv` is missing.
        ValueError: they are of another version, do not fit together, or the run has no test split.
    """
    result = read_result(run_dir)
    if result.test is None:
        raise ValueError(f"{run_dir}: this run was not scored on a test split: leave the study `report` out")
    classes = result.data.classes
    labels, probabilities = read_predictions(run_dir / "predictions.csv", "test", classes)
    numbers = list(range(len(classes)))
    predicted = np.argmax(probabilities, axis=1)
    table = classification_report(labels, predicted, labels=numbers, target_names=classes, digits=4, zero_division=0)
    lines = [f"{result.arch} ({result.protocol}), test images of {data_title(result.data)}", "", table]
    if absent := [name for number, name in enumerate(classes) if number not in set(labels)]:
        lines.append(f"No test image is {', '.join(absent)}: recall and F1 are undefined there and written as 0.")
    lines.append(
        f"Accuracy {with_interval(result.test.accuracy, result.test.accuracy_ci95)} (95 % interval, resampled by group)"
    )
    lines += [f"{headline}: {sentence}" for headline, sentence in warnings_of(result)]
    if result.data.leaky:
        lines.append(leak_statement(result))
    return "\n".join(lines) + "\n"


COLUMNS = ("name", "kind", "output", "parameters", "trainable", "running_statistics")

RUNNING = ("running_mean", "running_var")  # what `parameter_counts` adds, as Keras does


def layer_table(network: nn.Module, pixels: torch.Tensor) -> pd.DataFrame:
    """A row for each layer, in the order in which `network` (in evaluation mode) first calls them.

    A layer is a module without children (identities and dropout of probability 0 are left out), or a module with
    parameters whose children have none: timm's batch norms hold their activation. Any other parameter (a class token,
    position embeddings) is a row of its own, of kind "parameter", where its module is called. Layers that are never
    called as modules but hold parameters (those inside a fused attention) stand last, with no output. A parameter that
    several layers share is counted in the first. What is computed without a module (`x.relu()`) is not listed.

    Args:
        pixels: one preprocessed image, float (1, 3, H, W).

    Returns:
        Columns `name`, `kind` (the class of the module), `output` (its shape without the batch: "64x112x112"; that of
        the parameter itself in its own row), `parameters` (weights and biases), `trainable` (how many of them train)
        and `running_statistics` (means and variances of batch norms). The sums of `parameters` and
        `running_statistics` add up to `parameter_counts(network)["total"]`.
    """
    outputs = _called(network, pixels)
    modules = dict(network.named_modules())
    counted: set[int] = set()
    rows: list[tuple[str, str, str, int, int, int]] = []
    for name in [*outputs, *(name for name in modules if name not in outputs)]:
        module = modules[name]
        own = []
        for key, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            learnt = isinstance(tensor, nn.Parameter)
            if (learnt or key in RUNNING) and id(tensor) not in counted:
                counted.add(id(tensor))
                kind, n = "parameter" if learnt else "running statistics", tensor.numel()
                counts = (n, n * tensor.requires_grad, 0) if learnt else (0, 0, n)
                own.append((f"{name}.{key}".removeprefix("."), kind, "x".join(map(str, tensor.shape)), *counts))
        if any(True for child in module.children() for _ in child.parameters()):
            rows += own
        elif own or (name in outputs and not list(module.children()) and not _does_nothing(module)):
            parameters, trainable, running = (sum(row[k] for row in own) for k in (3, 4, 5))
            rows.append((name, type(module).__name__, outputs.get(name, ""), parameters, trainable, running))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def layer_text(table: pd.DataFrame) -> str:
    """The table of `layer_table` for reading, with the sums below it."""
    heads = ["layer", "kind", "output", "parameters", "trainable", "running stat."]
    body = [[str(value) for value in row[:3]] + [f"{value:,}" for value in row[3:]] for row in table.to_numpy()]
    parameters, trainable, running = (int(table[column].sum()) for column in COLUMNS[3:])
    sums = ["sum", "", "", f"{parameters:,}", f"{trainable:,}", f"{running:,}"]
    widths = [max(len(row[column]) for row in [heads, *body, sums]) for column in range(len(heads))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in [heads, *body, sums]]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    total = f"total, running statistics included as Keras counts them: {parameters + running:,}"
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], total]) + "\n"


def _called(network: nn.Module, pixels: torch.Tensor) -> dict[str, str]:
    """Name of every module that is called, in the order of the first calls, with the shape of its first output."""
    outputs: dict[str, str] = {}

    def before(name: str, *_: Any) -> None:
        outputs.setdefault(name, "")

    def after(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        outputs[name] = outputs[name] or _shape(output)

    with ExitStack() as hooks, torch.no_grad():
        for name, module in network.named_modules():
            hooks.enter_context(module.register_forward_pre_hook(partial(before, name)))
            hooks.enter_context(module.register_forward_hook(partial(after, name)))
        network(pixels)
    return outputs


def _shape(output: Any) -> str:
    """Of the first tensor of an output, without the batch; empty where there is none."""
    while isinstance(output, tuple | list) and output:
        output = output[0]
    return "x".join(map(str, output.shape[1:])) if isinstance(output, torch.Tensor) else ""


def _does_nothing(module: nn.Module) -> bool:
    return isinstance(module, nn.Identity) or (isinstance(module, nn.Dropout | nn.Dropout2d) and module.p == 0)


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    return [f"{text:<{w}}" if k < 3 else f"{text:>{w}}" for k, (text, w) in enumerate(zip(row, widths, strict=True))]
