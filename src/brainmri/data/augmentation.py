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

from brainmri.data.appearance import changed_appearance

PIECE = 8  # pictures at once on a CPU: more leave its cache, and take twice the time from 224 pixels on
MOVES = ("flip_x", "flip_y", "rotation", "scale", "shift_x", "shift_y", "brightness", "contrast")
LOOKS = (
    *("stretch", "gamma", "resolution", "focus", "noise", "noise_x", "noise_y", "jpeg"),
    *("bias_0", "bias_1", "bias_2", "bias_3", "bias_4"),
    *("border", "border_x", "border_y", "border_grey", "overlay", "overlay_kind"),
    *("levels", "levels_of", "lesion", "lesion_of", "lesion_x", "lesion_y", "half"),
)
DRAWN = MOVES + LOOKS  # what the uniform numbers of a sample decide, in their order
DRAWS = len(DRAWN)
ABOVE_ONE = ("rotation_degrees", "zoom_in", "bias_field", "gamma", "sharpen")  # widths that may be

# What hides the source of a picture, chosen on tumours from sources that training lacked (docs/LOG.md, 2026-11-26).
NEUTRAL = {
    "rotation_degrees": 20.0,
    "zoom_in": 0.2,
    "zoom_out": 0.2,
    "stretch": 0.2,
    "bias_field": 0.5,
    "gamma": 0.7,
    "resolution": 0.2,
    "blur": 1.0,
    "sharpen": 1.5,
    "noise": 0.08,
    "jpeg": 0.2,
    "border": 0.2,
    "overlay": 0.2,
    "levels": 0.5,
    "transplant": 0.4,
    "half_mirror": 0.3,
}


@dataclass(frozen=True)
class Augmentation:
    """Widths of the random transformations; the zeros leave a picture as it is.

    horizontal_flip, vertical_flip: probabilities. rotation_degrees: largest turn either way. translate: largest shift
    either way, as a share of the side. zoom_in, zoom_out: largest relative enlargement and reduction.
    brightness, contrast: largest relative change either way. stretch: largest relative change of the width against the
    height, either way.

    What hides the source of a picture (`brainmri.data.appearance`): bias_field: log of the largest gain of the coil,
    about. gamma: log2 of the largest exponent, either way. resolution: probability of a half or a third of it. blur:
    largest share of a Gaussian of 1/128 of the side. sharpen: largest amount of its opposite. noise: largest deviation,
    as a share of white. jpeg, border, overlay: probabilities of a coarse JPEG, of a frame of one grey, and of text at
    the edges.

    What takes something from other training pictures (`brainmri.data.exchange`): levels: probability of the
    intensities of another picture. transplant: probability that a picture without a tumour gets one, and
    half_mirror: that one half of a head is replaced by the mirrored other one; both need outlines.
    """

    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    rotation_degrees: float = 0.0
    translate: float = 0.0
    zoom_in: float = 0.0
    zoom_out: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    stretch: float = 0.0
    bias_field: float = 0.0
    gamma: float = 0.0
    resolution: float = 0.0
    blur: float = 0.0
    sharpen: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0
    border: float = 0.0
    overlay: float = 0.0
    levels: float = 0.0
    transplant: float = 0.0
    half_mirror: float = 0.0

    def __post_init__(self) -> None:
        for name, width in vars(self).items():
            if width < 0:
                raise ValueError(f"augmentation.{name} is {width}: expected a number >= 0")
            if width > 1 and name not in ABOVE_ONE:
                raise ValueError(f"augmentation.{name} is {width}: expected a number from 0 to 1")
        for name in ("zoom_out", "stretch"):
            if getattr(self, name) == 1:
                raise ValueError(f"augmentation.{name} is 1, which leaves nothing of a picture: expected less")

    def __bool__(self) -> bool:
        return self != Augmentation()


def draws(rows: int, seed: int, epoch: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for one epoch: float32, shape (rows, DRAWS).

    Two streams, so that a picture moves as it did before there was anything but moves.
    """
    moves = np.random.default_rng([seed, epoch]).random((rows, len(MOVES)), dtype=np.float32)
    looks = np.random.default_rng([seed, epoch, 2]).random((rows, len(LOOKS)), dtype=np.float32)
    return np.concatenate([moves, looks], axis=1)


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
    signed, numbers = 2 * uniform - 1, dict(zip(DRAWN, uniform.unbind(1), strict=True))
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
    if widths.stretch:
        narrower = (1 + widths.stretch * (2 * numbers["stretch"] - 1))[:, None] ** 0.5
        along_x, along_y = (torch.complex(z.real * narrower, z.imag / narrower) for z in (along_x, along_y))
    grid = torch.view_as_real(along_x[:, None, :] + along_y[:, :, None])
    moved = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if widths.contrast:
        mean = moved.mean((1, 2, 3), keepdim=True)
        moved.sub_(mean).mul_(1 + widths.contrast * signed[:, 7, None, None, None]).add_(mean)
    if widths.brightness:
        moved.mul_(1 + widths.brightness * signed[:, 6, None, None, None])
    if widths.contrast or widths.brightness:
        moved.clamp_(0, 255)
    return changed_appearance(moved, numbers, widths)
