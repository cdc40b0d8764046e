"""The parameters of a network layer by layer, as Keras' `summary` lists them."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import nn

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
