"""Random transformations of a batch, as tensors on the training device, one draw per sample.

The draws come from a table of uniform numbers that depends on the seed, the epoch and the row only, so that one process
and many, and a resumed run and an uninterrupted one, see the same images.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from brainmri.transforms.config import CONTRAST, GEOMETRIC, INTENSITY, PARAMETERS, REMOVAL, Augmentation
from brainmri.transforms.contrast import change_contrast
from brainmri.transforms.intensity import change_intensity

PIECE = 8  # images at once on a CPU: more leave its cache, and take twice the time from 224 pixels on


def random_parameters(rows: int, seed: int, epoch: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for one epoch: float32, shape (rows, DRAWS).

    Four streams, so that an image changes as it did before there were intensities, contrasts, and removed tumours.
    """
    moves = np.random.default_rng([seed, epoch]).random((rows, len(GEOMETRIC)), dtype=np.float32)
    looks = np.random.default_rng([seed, epoch, 2]).random((rows, len(INTENSITY)), dtype=np.float32)
    contrasts = np.random.default_rng([seed, epoch, 3]).random((rows, len(CONTRAST)), dtype=np.float32)
    removals = np.random.default_rng([seed, epoch, 4]).random((rows, len(REMOVAL)), dtype=np.float32)
    return np.concatenate([moves, looks, contrasts, removals], axis=1)


def augment(pixels: torch.Tensor, uniform: torch.Tensor, magnitudes: Augmentation) -> torch.Tensor:
    """Transform each image by its own draws.

    pixels: uint8 or float (B, C, H, W), 0..255. uniform: (B, DRAWS) in [0, 1). One bilinear resampling does flip, turn,
    zoom and shift together; what comes from outside the image is black. Returns float (B, C, H, W) within 0..255.
    """
    if pixels.device.type == "cpu" and len(pixels) > PIECE:
        pieces = zip(pixels.split(PIECE), uniform.split(PIECE), strict=True)
        return torch.cat([augment(some, numbers, magnitudes) for some, numbers in pieces])
    if pixels.shape[1] == 1:
        return _transformed(pixels.float(), uniform, magnitudes)
    # Grey images have equal channels, before and after: one is enough to transform.
    coloured = (pixels[:, 1:] != pixels[:, :1]).flatten(1).any(1)
    result = _transformed(pixels[:, :1].float(), uniform, magnitudes).repeat(1, pixels.shape[1], 1, 1)
    result[coloured] = _transformed(pixels[coloured].float(), uniform[coloured], magnitudes)
    return result


def _transformed(pixels: torch.Tensor, uniform: torch.Tensor, magnitudes: Augmentation) -> torch.Tensor:
    signed, numbers = 2 * uniform - 1, dict(zip(PARAMETERS, uniform.unbind(1), strict=True))
    flip_x = torch.where(uniform[:, 0] < magnitudes.horizontal_flip, -1.0, 1.0)
    flip_y = torch.where(uniform[:, 1] < magnitudes.vertical_flip, -1.0, 1.0)
    angle = signed[:, 2] * math.radians(magnitudes.rotation_degrees)
    zoom = 1 + torch.where(signed[:, 3] > 0, signed[:, 3] * magnitudes.zoom_in, signed[:, 3] * magnitudes.zoom_out)
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    # The inverse map, in coordinates of -1..1 at the image's edges: from the new image's place to the old one's.
    height, width = pixels.shape[-2:]
    y, x = (torch.arange(1 - side, side, 2, device=pixels.device) / side for side in (height, width))
    # x' + i y' = x (a + i b) + y (c + i d) + shift: as complex numbers, both coordinates come side by side in one sum.
    # (affine_grid, or stacking two planes, costs more than the resampling itself.)
    along_x = torch.complex(flip_x * cosine, flip_y * sine)[:, None] * x
    along_y = torch.complex(-flip_x * sine, flip_y * cosine)[:, None] * y
    along_y += 2 * magnitudes.translate * torch.complex(signed[:, 4], signed[:, 5])[:, None]
    if magnitudes.stretch:
        narrower = (1 + magnitudes.stretch * (2 * numbers["stretch"] - 1))[:, None] ** 0.5
        along_x, along_y = (torch.complex(z.real * narrower, z.imag / narrower) for z in (along_x, along_y))
    grid = torch.view_as_real(along_x[:, None, :] + along_y[:, :, None])
    moved = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if magnitudes.contrast:
        mean = moved.mean((1, 2, 3), keepdim=True)
        moved.sub_(mean).mul_(1 + magnitudes.contrast * signed[:, 7, None, None, None]).add_(mean)
    if magnitudes.brightness:
        moved.mul_(1 + magnitudes.brightness * signed[:, 6, None, None, None])
    if magnitudes.contrast or magnitudes.brightness:
        moved.clamp_(0, 255)
    return change_intensity(change_contrast(moved, numbers, magnitudes), numbers, magnitudes)
