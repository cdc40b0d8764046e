"""The contrast of another sequence: which tissue is bright and which is dark.

A network trained on T1 with contrast takes "bright on dark" for the disease. These changes break that: they keep every
edge and take away what level a tissue has. Increasing curves, decreasing ones and those that turn are drawn alike, as
T1, T2, FLAIR and PD order the tissues differently.

Sources: random curves over the levels (nonlinear transformation: Zhou et al., Models Genesis, Med Image Anal 67, 2021;
for single-source domain generalisation: Su et al., SLAug, AAAI 2023), random levels for each tissue (Billot et al.,
SynthSeg, Med Image Anal 86, 2023; here for bands of the rank of a level, as no labels of tissue are at hand), random
convolutions (Xu et al., RandConv, ICLR 2021; Ouyang et al., GIN, IEEE Trans Med Imaging 42, 2023).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

from brainmri.data.standardize import BACKGROUND
from brainmri.transforms.config import Augmentation

CURVE = ("curve_0", "curve_1", "curve_2", "curve_3", "curve_4")  # levels of a curve at these many places
KERNEL = tuple(f"kernel_{k}" for k in range(9))
SMOOTHED = 9  # levels over which a curve is averaged
AIR = 12  # levels above `BACKGROUND` over which a curve sets in
DARKEST, WHITE = 0.04, (0.6, 1.0)  # of 255: what a curve's lowest place becomes, and the range of its highest


def change_contrast(
    pixels: torch.Tensor, uniform: Mapping[str, torch.Tensor], magnitudes: Augmentation
) -> torch.Tensor:
    """Each image with the contrast that its own draws give it.

    Args:
        pixels: float (B, C, H, W), 0..255; dark (air) stays as it is.
        uniform: for each name of `config.CONTRAST` (B,) in [0, 1).

    Returns:
        The same shape, within 0..255.
    """
    if magnitudes.random_convolution:
        pixels = _convolved(pixels, uniform, magnitudes.random_convolution)
    if magnitudes.tissue_contrast:
        pixels = _recoloured(pixels, uniform, magnitudes.tissue_contrast)
    return pixels


def _recoloured(pixels: torch.Tensor, uniform: Mapping[str, torch.Tensor], probability: float) -> torch.Tensor:
    """Some images along a random curve over the levels of the head, or over their ranks."""
    rows = (uniform["curve"] < probability).nonzero()[:, 0]
    if not len(rows):
        return pixels
    chosen = pixels[rows]
    tables = _curves({name: values[rows] for name, values in uniform.items()}, chosen)
    low = chosen.clamp(0, 255)
    below = low.floor().long().clamp(max=254)
    part = low - below
    flat = below.flatten(1)
    new = torch.lerp(tables.gather(1, flat), tables.gather(1, flat + 1), part.flatten(1)).view_as(chosen)
    changed = pixels.clone()
    changed[rows] = new
    return changed


def _curves(uniform: Mapping[str, torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
    """(B, 256): the new level 0..255 of each level. Half of the curves run over levels, half over their ranks."""
    levels = pixels[:, 0].flatten(1).clamp(0, 255).long()
    counts = torch.zeros(len(pixels), 256, device=pixels.device).scatter_add_(
        1, levels, torch.ones_like(levels, dtype=torch.float32)
    )
    counts[:, : BACKGROUND + 1] = 0
    ranks = counts.cumsum(1)
    ranks = (ranks - counts / 2) / ranks[:, -1:].clamp(min=1)
    brightest = levels.amax(1, keepdim=True).clamp(min=BACKGROUND + 1)
    straight = (torch.arange(256, device=pixels.device)[None] / brightest).clamp(0, 1)
    place = torch.where(uniform["curve_over"][:, None] < 0.5, straight, ranks) * (len(CURVE) - 1)
    heights = torch.stack([uniform[name] for name in CURVE], 1)
    least, most = heights.amin(1, keepdim=True), heights.amax(1, keepdim=True)
    white = WHITE[0] + (WHITE[1] - WHITE[0]) * uniform["curve_white"][:, None]
    heights = DARKEST + (white - DARKEST) * (heights - least) / (most - least).clamp(min=1e-6)
    left = place.floor().long().clamp(max=len(CURVE) - 2)
    smooth = (1 - torch.cos(torch.pi * (place - left))) / 2
    table = 255 * torch.lerp(heights.gather(1, left), heights.gather(1, left + 1), smooth)
    table = functional.avg_pool1d(table, SMOOTHED, 1, SMOOTHED // 2, count_include_pad=False)  # noise is not tissue
    levels = torch.arange(256, dtype=table.dtype, device=table.device)
    return torch.lerp(levels.expand_as(table), table, ((levels - BACKGROUND) / AIR).clamp(0, 1))


def _convolved(pixels: torch.Tensor, uniform: Mapping[str, torch.Tensor], probability: float) -> torch.Tensor:
    """Some images mixed with what a random 3 x 3 kernel, of one or two pixels' reach, makes of them."""
    rows = (uniform["convolution"] < probability).nonzero()[:, 0]
    if not len(rows):
        return pixels
    chosen = pixels[rows]
    count, channels = chosen.shape[:2]
    weights = torch.special.ndtri(torch.stack([uniform[name][rows] for name in KERNEL], 1).clamp(1e-3, 1 - 1e-3))
    weights = weights.view(count, 1, 3, 3).repeat_interleave(channels, 0)
    wide = uniform["kernel_reach"][rows] < 0.5
    flat = chosen.flatten(0, 1)[None]
    results = [
        functional.conv2d(
            functional.pad(flat, [reach] * 4, "replicate"), weights, groups=count * channels, dilation=reach
        )
        for reach in (1, 2)
    ]
    near, far = (one.view_as(chosen) for one in results)
    found = torch.where(wide[:, None, None, None], near, far)
    head = chosen[:, :1] > BACKGROUND
    inside = head.expand_as(chosen)
    share = inside.flatten(1).float().sum(1).clamp(min=1)[:, None, None, None]
    mean = (found * inside).sum((1, 2, 3), keepdim=True) / share
    spread = (((found - mean) ** 2 * inside).sum((1, 2, 3), keepdim=True) / share).sqrt().clamp(min=1e-3)
    old_mean = (chosen * inside).sum((1, 2, 3), keepdim=True) / share
    old_spread = (((chosen - old_mean) ** 2 * inside).sum((1, 2, 3), keepdim=True) / share).sqrt()
    found = (found - mean) / spread * old_spread + old_mean
    part = uniform["kernel_share"][rows][:, None, None, None]
    changed = pixels.clone()
    changed[rows] = torch.where(inside, torch.lerp(chosen, found, part).clamp(0, 255), chosen)
    return changed
