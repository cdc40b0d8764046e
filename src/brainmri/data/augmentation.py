"""Random transformations of a batch, as tensors on the training device, one draw per sample.

The draws come from a table of uniform numbers that depends on the seed, the epoch and the row only, so that one process
and many, and a resumed run and an uninterrupted one, see the same pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

PIECE = 8  # pictures at once on a CPU: more leave its cache, and take twice the time from 224 pixels on
DRAWS = 8  # uniform numbers per sample: hflip, vflip, rotation, scale, shift x, shift y, brightness, contrast


@dataclass(frozen=True)
class Augmentation:
    """Widths of the random transformations; the zeros leave a picture as it is.

    horizontal_flip, vertical_flip: probabilities. rotation_degrees: largest turn either way. translate: largest shift
    either way, as a share of the side. zoom_in, zoom_out: largest relative enlargement and reduction.
    brightness, contrast: largest relative change either way.
    """

    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    rotation_degrees: float = 0.0
    translate: float = 0.0
    zoom_in: float = 0.0
    zoom_out: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        for name in ("horizontal_flip", "vertical_flip", "translate", "zoom_out", "brightness", "contrast"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augmentation.{name} is {getattr(self, name)}: expected a number from 0 to 1")
        for name in ("rotation_degrees", "zoom_in"):
            if getattr(self, name) < 0:
                raise ValueError(f"augmentation.{name} is {getattr(self, name)}: expected a number >= 0")
        if self.zoom_out == 1:
            raise ValueError("augmentation.zoom_out is 1, which leaves nothing of a picture: expected less")

    def __bool__(self) -> bool:
        return self != Augmentation()


def draws(rows: int, seed: int, epoch: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for one epoch: float32, shape (rows, DRAWS)."""
    return np.random.default_rng([seed, epoch]).random((rows, DRAWS), dtype=np.float32)


def augment(pixels: torch.Tensor, uniform: torch.Tensor, widths: Augmentation) -> torch.Tensor:
    """Transform each picture by its own draws.

    pixels: uint8 or float (B, C, H, W), 0..255. uniform: (B, DRAWS) in [0, 1). One bilinear resampling does flip, turn,
    zoom and shift together; what comes from outside the picture is black. Returns float (B, C, H, W) within 0..255.
    """
    if pixels.device.type == "cpu" and len(pixels) > PIECE:
        pieces = zip(pixels.split(PIECE), uniform.split(PIECE), strict=True)
        return torch.cat([augment(some, numbers, widths) for some, numbers in pieces])
    if pixels.shape[1] == 1:
        return _transformed(pixels.float(), uniform, widths)
    # Grey pictures have equal channels, before and after: one is enough to transform.
    coloured = (pixels[:, 1:] != pixels[:, :1]).flatten(1).any(1)
    result = _transformed(pixels[:, :1].float(), uniform, widths).repeat(1, pixels.shape[1], 1, 1)
    result[coloured] = _transformed(pixels[coloured].float(), uniform[coloured], widths)
    return result


def _transformed(pixels: torch.Tensor, uniform: torch.Tensor, widths: Augmentation) -> torch.Tensor:
    signed = 2 * uniform - 1
    flip_x = torch.where(uniform[:, 0] < widths.horizontal_flip, -1.0, 1.0)
    flip_y = torch.where(uniform[:, 1] < widths.vertical_flip, -1.0, 1.0)
    angle = signed[:, 2] * math.radians(widths.rotation_degrees)
    zoom = 1 + torch.where(signed[:, 3] > 0, signed[:, 3] * widths.zoom_in, signed[:, 3] * widths.zoom_out)
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    # The inverse map, in coordinates of -1..1 at the picture's edges: from the new picture's place to the old one's.
    height, width = pixels.shape[-2:]
    y, x = (torch.arange(1 - side, side, 2, device=pixels.device) / side for side in (height, width))
    # x' + i y' = x (a + i b) + y (c + i d) + shift: as complex numbers, both coordinates come side by side in one sum.
    # (affine_grid, or stacking two planes, costs more than the resampling itself.)
    along_x = torch.complex(flip_x * cosine, flip_y * sine)[:, None] * x
    along_y = torch.complex(-flip_x * sine, flip_y * cosine)[:, None] * y
    along_y += 2 * widths.translate * torch.complex(signed[:, 4], signed[:, 5])[:, None]
    grid = torch.view_as_real(along_x[:, None, :] + along_y[:, :, None])
    moved = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if widths.contrast:
        mean = moved.mean((1, 2, 3), keepdim=True)
        moved.sub_(mean).mul_(1 + widths.contrast * signed[:, 7, None, None, None]).add_(mean)
    if widths.brightness:
        moved.mul_(1 + widths.brightness * signed[:, 6, None, None, None])
    return moved.clamp_(0, 255) if widths.contrast or widths.brightness else moved
