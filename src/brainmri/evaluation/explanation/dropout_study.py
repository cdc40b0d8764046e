"""What dropout does to a linear layer and to an image: the mean stays, the spread grows with the probability."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

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
