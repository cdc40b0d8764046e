"""Sanity checks of saliency maps: the model-parameter randomisation test and the pointing game."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata
from torch import nn

Maps = NDArray[np.floating[Any]]
HARDLY_CHANGED = 0.5  # rank correlation of the maps of a network with random weights with those of the trained one
ENOUGH = 0.5  # of the images must have maps to compare: those that have are not drawn by chance


def layers_from_the_top(network: nn.Module, pixels: torch.Tensor) -> list[tuple[str, list[str]]]:
    """(name, its parameters and buffers) of every layer that has some, from the classifier down to the input.

    The order is the reverse of that in which `network` (in evaluation mode) enters them; what is never called itself
    (parts of a fused attention) goes with what it is a part of.
    """
    entered: dict[str, int] = {}
    with ExitStack() as hooks, torch.no_grad():
        for name, module in network.named_modules():
            hook = partial(_enter, entered, name)
            hooks.enter_context(module.register_forward_pre_hook(hook))
        network(pixels)
    layers: dict[str, list[str]] = {}
    for name, _ in [*network.named_parameters(), *network.named_buffers()]:
        owner = name.rpartition(".")[0]
        while owner not in entered:
            owner = owner.rpartition(".")[0]
        layers.setdefault(owner, []).append(name)
    return [(name, layers[name]) for name in sorted(layers, key=lambda name: -entered[name])]


def cascade(
    network: nn.Module, stranger: nn.Module, layers: list[tuple[str, list[str]]], steps: int = 10
) -> Iterator[tuple[str, int, nn.Module]]:
    """The network with more and more of its layers, from the top, taken from a stranger: one with random weights.

    Args:
        network: it is not changed.
        stranger: the same architecture, freshly initialised.
        layers: of `layers_from_the_top`.
        steps: at most that many, evenly spaced; the first randomises the classifier alone, the last everything.

    Yields:
        The name of the last layer that was randomised, how many are, and the network (one object, changed further on).
    """
    mixed = copy.deepcopy(network)
    own = dict([*mixed.named_parameters(), *mixed.named_buffers()])
    other = dict([*stranger.named_parameters(), *stranger.named_buffers()])
    stops = set(np.unique(np.linspace(1, len(layers), min(steps, len(layers))).round().astype(int)).tolist())
    for number, (name, tensors) in enumerate(layers, 1):
        with torch.no_grad():
            for key in tensors:
                own[key].copy_(other[key])
        if number in stops:
            yield name, number, mixed


@dataclass(frozen=True)
class CascadeStep:
    """Attributes:
    layer: the last one that is random. layers: how many are.
    rank_correlation, similarity: (N,), of each image's map to that of the trained network; NaN where one is constant.
    """

    layer: str
    layers: int
    rank_correlation: NDArray[np.float64]
    similarity: NDArray[np.float64]


def randomisation_check(
    network: nn.Module,
    strangers: Sequence[nn.Module],
    layers: list[tuple[str, list[str]]],
    explain: Callable[[nn.Module], Maps],
    steps: int = 10,
) -> list[CascadeStep]:
    """How like the maps stay to those of `network` while it is randomised from the top.

    Args:
        network, layers, steps: of `cascade`.
        strangers: one or more; the scores of an image are means over them, because a single one may, by chance, be
            alike or the opposite.
        explain: gives the maps (N, H, W) of a network, always of the same images and classes.

    Returns:
        Each step; the first one, with no layer, is the network itself. Pairs of maps of which one is constant (often 0
        everywhere) say nothing about likeness: they are left out, and where none is left the scores are NaN.
    """
    original = explain(network)
    scores: dict[tuple[str, int], list[NDArray[np.float64]]] = {("", 0): [_likeness(original, original)]}
    for stranger in strangers:
        for layer, number, mixed in cascade(network, stranger, layers, steps):
            scores.setdefault((layer, number), []).append(_likeness(original, explain(mixed)))
    found = []
    for (layer, number), drawn in scores.items():
        known = ~np.isnan(drawn)
        sums, counts = np.where(known, drawn, 0).sum(axis=0), known.sum(axis=0)
        correlation, alike = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        found.append(CascadeStep(layer, number, correlation, alike))
    return found


def _likeness(first: Maps, second: Maps) -> NDArray[np.float64]:
    """Rank correlation and similarity of two sets of maps (N, H, W), (2, N); NaN where one of the two is constant."""
    constant = (np.ptp(first, axis=(1, 2)) == 0) | (np.ptp(second, axis=(1, 2)) == 0)
    return np.where(constant, np.nan, [rank_correlation(first, second), similarity(first, second)])


def rank_correlation(first: Maps, second: Maps) -> NDArray[np.float64]:
    """Spearman's correlation of two sets of maps (N, H, W), map by map, (N,); 0 where one is constant."""
    a, b = (rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), scale, out=np.zeros(len(a)), where=scale > 0)


def similarity(first: Maps, second: Maps) -> NDArray[np.float64]:
    """The structural similarity of two sets of maps (N, H, W), each scaled to a maximum of 1, map by map, (N,).

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004: a Gaussian
    window of standard deviation 1.5, constants 0.01 and 0.03.
    """
    smooth = partial(gaussian_filter, sigma=(0, 1.5, 1.5))
    a, b = (maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), np.finfo(float).tiny) for maps in (first, second))
    a, b = np.float64(a), np.float64(b)
    mean_a, mean_b = smooth(a), smooth(b)
    variance_a, variance_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variance_a + variance_b + 0.03**2)
    return np.asarray((luminance * structure).mean(axis=(1, 2)))


def verdict(correlation: float | None, ci95: Sequence[float] | None, judged: int, images: int) -> str:
    """One sentence on the last step, of a network with no learnt weight left.

    It passes or fails only where at least half of the images have maps to compare, and where the interval keeps to
    one side of `HARDLY_CHANGED`.

    Args:
        correlation: the mean rank correlation of the maps; None where no image has maps to compare.
        ci95: its interval by group; None where all images are of one group.
        judged: how many images have maps to compare.
        images: how many were asked for.
    """
    if correlation is None:
        return "Weight randomisation: not judged, all maps are empty with learnt weights or with random ones."
    found = f"rank correlation {correlation:.2f}"
    if judged < ENOUGH * images:
        return (
            f"Weight randomisation: not judged, only {judged} of {images} images have maps to compare ({found} on "
            "these); the others are empty with learnt weights or with random ones."
        )
    if ci95 is None or ci95[0] <= HARDLY_CHANGED < ci95[1]:
        known = "of one group only" if ci95 is None else f"95 % interval {ci95[0]:.2f} to {ci95[1]:.2f}"
        return (
            f"Weight randomisation: undecided on {judged} of {images} images, {found} ({known}) where "
            f"{HARDLY_CHANGED:g} is the limit."
        )
    on = f"on {judged} of {images} images, {found}"
    if correlation > HARDLY_CHANGED:
        return (
            f"Weight randomisation FAILED: without any learnt weight the maps hardly change ({on}, above "
            f"{HARDLY_CHANGED:g}). They show the image or the architecture, not what was learnt."
        )
    return (
        f"Weight randomisation passed: without any learnt weight the maps are other ones ({on}, at most "
        f"{HARDLY_CHANGED:g}), so they depend on what was learnt."
    )


def _enter(entered: dict[str, int], name: str, *_: Any) -> None:
    entered.setdefault(name, len(entered))


Floats = NDArray[np.floating[Any]]
# Zhang et al. ("Top-down Neural Attention by Excitation Backprop", ECCV 2016) allow 15 pixels, on images that are
# about 500 pixels wide.
TOLERANCE = 0.03
GAUSSIAN_WIDTH = 0.25  # standard deviation of the centred baseline, as a share of the side


def tolerance_in_pixels(side: int) -> int:
    """How far beside the outline a maximum still counts as a hit, with tolerance."""
    return max(1, round(TOLERANCE * side))


def pointing_hits(maps: Floats, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """1 where the maximum of a map lies inside the mask, 0 where not (Zhang et al. 2016), (N,).

    Where several pixels share the maximum (white pixels of an image), it is the share of them that lies inside: what
    drawing one of them gives on average. A map that is 0 everywhere points nowhere, and misses.

    Args:
        maps: (N, H, W), 0 or more.
        masks: (N, H, W).
    """
    highest = maps.max(axis=(1, 2), keepdims=True)
    at_maximum = (maps >= highest * (1 - 1e-6)) & (highest > 0)  # interpolation may round equal values apart
    inside = (at_maximum & masks).sum(axis=(1, 2))
    return inside / np.maximum(at_maximum.sum(axis=(1, 2)), 1)


def energy_inside(maps: Floats, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of a map's sum that lies inside the mask, (N,), 0..1; 0 for a map that is 0 everywhere.

    Wang et al., "Score-CAM" (CVPR workshops 2020): the energy-based pointing game, there with boxes for outlines.

    Args:
        maps: (N, H, W), 0 or more.
        masks: (N, H, W).
    """
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    inside = (maps * masks).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(inside, total, out=np.zeros(len(maps)), where=total > 0)


def centred_gaussian(side: int) -> NDArray[np.float64]:
    """A map (side, side) that knows of no image, only that what matters stands in the middle of one."""
    one = np.exp(-0.5 * (((np.arange(side) + 0.5) / side - 0.5) / GAUSSIAN_WIDTH) ** 2)
    return np.outer(one, one)
