"""Random changes of how a slice looks that leave what it shows: the scanner, the export, the screenshot.

In the usual collections the classes come from different sources, and a network may learn the source instead of the
disease. These changes take from an image what tells its source. As `augmentation.py` does it: tensors on the training
device, one draw per sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional

if TYPE_CHECKING:
    from brainmri.transforms.config import Augmentation

OVERLAYS = 48
LETTERS = np.array(list("ABCDEFGHILMNOPRSTW0123456789:./ -"))
# Quantisation of luminance at quality 50, from the JPEG standard (ITU-T T.81, table K.1).
JPEG_LUMINANCE = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 "
    "18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"
)


def change_intensity(
    pixels: torch.Tensor, uniform: Mapping[str, torch.Tensor], magnitudes: Augmentation
) -> torch.Tensor:
    """Each image changed by its own draws, in the order in which an image comes about: coil, focus, export, frame.

    pixels: float (B, C, H, W), 0..255. uniform: for each name of `augmentation.DRAWN` (B,) in [0, 1). Returns the same
    shape, within 0..255.
    """
    if magnitudes.bias_field:
        pixels = (pixels * _bias_field(pixels, uniform, magnitudes.bias_field)).clamp(0, 255)
    if magnitudes.gamma:
        white = pixels.amax((1, 2, 3), keepdim=True).clamp(min=1)
        exponent = torch.exp2(magnitudes.gamma * _signed(uniform["gamma"]))[:, None, None, None]
        pixels = white * (pixels / white).clamp(0, 1) ** exponent
    if magnitudes.resolution:
        pixels = _coarser(pixels, uniform["resolution"], magnitudes.resolution)
    if magnitudes.blur or magnitudes.sharpen:
        signed = _signed(uniform["focus"])
        weight = torch.where(signed > 0, signed * magnitudes.blur, signed * magnitudes.sharpen)[:, None, None, None]
        pixels = torch.lerp(pixels, _blurred(pixels), weight).clamp(0, 255)
    if magnitudes.noise:
        pixels = _noisy(pixels, uniform, magnitudes.noise)
    if magnitudes.jpeg:
        pixels = _through_jpeg(pixels, uniform["jpeg"], magnitudes.jpeg)
    if magnitudes.border:
        pixels = _framed(pixels, uniform, magnitudes.border)
    if magnitudes.overlay:
        pixels = _written_on(pixels, uniform, magnitudes.overlay)
    return pixels


def _signed(uniform: torch.Tensor) -> torch.Tensor:
    return 2 * uniform - 1


def _bias_field(pixels: torch.Tensor, uniform: Mapping[str, torch.Tensor], width: float) -> torch.Tensor:
    """The smooth gain of a coil, (B, 1, H, W): exp of a polynomial of second degree within about ±width."""
    y, x = _grid(pixels)
    terms = torch.stack([x + 0 * y, y + 0 * x, x**2 - 0.5 + 0 * y, y**2 - 0.5 + 0 * x, x * y])
    weights = torch.stack([_signed(uniform[f"bias_{k}"]) for k in range(len(terms))], 1)
    return torch.exp(width / 2 * torch.einsum("bk,khw->bhw", weights, terms))[:, None]


def _grid(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """y (H, 1) and x (1, W), -1..1 at the image's edges."""
    height, width = pixels.shape[-2:]
    y, x = (torch.arange(1 - side, side, 2, device=pixels.device) / side for side in (height, width))
    return y[:, None], x[None, :]


def _coarser(pixels: torch.Tensor, uniform: torch.Tensor, probability: float) -> torch.Tensor:
    """Some images at a half or a third of their resolution, enlarged again."""
    changed = pixels.clone()
    side = pixels.shape[-2:]
    for factor, rows in ((2, uniform < probability / 2), (3, (uniform >= probability / 2) & (uniform < probability))):
        small = functional.interpolate(pixels[rows], size=[length // factor for length in side], mode="area")
        changed[rows] = functional.interpolate(small, size=side, mode="bilinear", align_corners=False)
    return changed


def _blurred(pixels: torch.Tensor) -> torch.Tensor:
    """By a Gaussian whose deviation is 1/128 of the side."""
    deviation = pixels.shape[-1] / 128
    reach = max(1, round(2.5 * deviation))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=pixels.device) / deviation) ** 2)
    weights = weights / weights.sum()
    flat = pixels.flatten(0, 1)[:, None]
    flat = functional.conv2d(functional.pad(flat, [reach, reach, 0, 0], "replicate"), weights[None, None, None, :])
    flat = functional.conv2d(functional.pad(flat, [0, 0, reach, reach], "replicate"), weights[None, None, :, None])
    return flat.view_as(pixels)


@lru_cache(maxsize=8)
def _noise_field(side: int, device: torch.device) -> torch.Tensor:
    """Standard normal, (2 side, 2 side), always the same: images differ in where they take theirs from."""
    return torch.randn(2 * side, 2 * side, generator=torch.Generator().manual_seed(0)).to(device)


def _noisy(pixels: torch.Tensor, uniform: Mapping[str, torch.Tensor], width: float) -> torch.Tensor:
    """Noise of a deviation of up to `width` of white; magnitudes stay positive, as in MRI."""
    height, length = pixels.shape[-2:]
    field = _noise_field(max(height, length), pixels.device)
    top, left = ((uniform[name] * side).long() for name, side in (("noise_y", height), ("noise_x", length)))
    rows = top[:, None, None] + torch.arange(height, device=pixels.device)[:, None]
    columns = left[:, None, None] + torch.arange(length, device=pixels.device)
    deviation = 255 * width * uniform["noise"] ** 2  # mostly little
    return (pixels + deviation[:, None, None, None] * field[rows, columns][:, None]).abs().clamp(max=255)


@lru_cache(maxsize=8)
def _jpeg_tables(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The cosine transform (8, 8), orthonormal, and the quantisation (8, 8)."""
    place = torch.arange(8, dtype=torch.float64)
    cosine = torch.cos((2 * place[None] + 1) * place[:, None] * torch.pi / 16) / 2
    cosine[0] /= 2**0.5
    steps = torch.tensor([float(step) for step in JPEG_LUMINANCE.split()]).view(8, 8)
    return cosine.float().to(device), steps.to(device)


def _through_jpeg(pixels: torch.Tensor, uniform: torch.Tensor, probability: float) -> torch.Tensor:
    """Some images with what JPEG loses at a quality of about 75 to 12: quantised cosines of blocks of 8 x 8."""
    cosine, steps = _jpeg_tables(pixels.device)
    rows = uniform < probability
    chosen = pixels[rows]
    height, length = chosen.shape[-2:]
    padded = functional.pad(chosen, [0, -length % 8, 0, -height % 8], "replicate") - 128
    blocks = padded.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8))  # B, C, block row, y, block column, x
    coarse = (0.5 + 3.5 * uniform[rows] / probability)[:, None, None, None, None, None] * steps[:, None, :]
    waves = torch.einsum("uy,bcrysx,vx->bcrusv", cosine, blocks, cosine)
    waves = (waves / coarse).round() * coarse
    blocks = torch.einsum("uy,bcrusv,vx->bcrysx", cosine, waves, cosine)
    changed = pixels.clone()
    changed[rows] = (blocks.flatten(-2).flatten(-3, -2)[..., :height, :length] + 128).clamp(0, 255)
    return changed


def _framed(pixels: torch.Tensor, uniform: Mapping[str, torch.Tensor], probability: float) -> torch.Tensor:
    """Some images in a frame of one grey, up to a twelfth of the side wide, wider or narrower on two of its sides."""
    y, x = _grid(pixels)
    framed = uniform["border"] < probability
    outside = torch.zeros(len(pixels), 1, *pixels.shape[-2:], dtype=torch.bool, device=pixels.device)
    for name, place in (("border_x", x), ("border_y", y)):
        outside |= place.abs() > 1 - uniform[name][:, None, None, None] ** 2 / 6
    grey = 255 * uniform["border_grey"][:, None, None, None] ** 3  # mostly dark
    return torch.where(outside & framed[:, None, None, None], grey, pixels)


@lru_cache(maxsize=8)
def _overlays(height: int, length: int, device: torch.device) -> torch.Tensor:
    """What viewers write over images, at the edges: float (OVERLAYS, H, W), 0..1, always the same."""
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(OVERLAYS):
        canvas = Image.new("L", (256, 256))
        pen = ImageDraw.Draw(canvas)
        font = ImageFont.load_default(float(generator.integers(6, 14)))
        for right, bottom in generator.permutation([(0, 0), (0, 1), (1, 0), (1, 1)])[: generator.integers(1, 5)]:
            lengths = generator.integers(1, 14, generator.integers(1, 4))
            text = "\n".join("".join(generator.choice(LETTERS, letters)) for letters in lengths)
            anchor = ("r" if right else "l") + ("d" if bottom else "a")
            pen.multiline_text((1 + 253 * int(right), 1 + 253 * int(bottom)), text, 255, font, anchor=anchor)
        if generator.random() < 0.3:  # a scale
            pen.line([(80, 250), (176, 250)], 255)
            for x in range(80, 177, 12):
                pen.line([(x, 246), (x, 250)], 255)
        drawn.append(np.asarray(canvas.resize((length, height), Image.Resampling.BILINEAR)))
    return torch.from_numpy(np.stack(drawn)).to(device).float() / 255


def _written_on(pixels: torch.Tensor, uniform: Mapping[str, torch.Tensor], probability: float) -> torch.Tensor:
    overlays = _overlays(*pixels.shape[-2:], pixels.device)
    strength = torch.where(uniform["overlay"] < probability, 128 + 127 * uniform["overlay"] / probability, 0.0)
    chosen = overlays[(uniform["overlay_kind"] * OVERLAYS).long()][:, None]
    return torch.maximum(pixels, strength[:, None, None, None] * chosen)
