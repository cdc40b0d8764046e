"""Outlined tumours as other sequences show them: bright, dark, with a rim, a core or an oedema around them.

Most outlined tumours of the usual collections were drawn on T1 with contrast. On T2 and FLAIR they and their oedema are
bright, on T1 without contrast dark.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter

from brainmri.data.standardize import BACKGROUND


def recontrast(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], numbers: Mapping[str, float]
) -> NDArray[np.uint8] | None:
    """`image` (C, S, S) whose tumour has another level than before; None where nothing is known around it.

    Args:
        mask: (S, S), where the tumour is.
        numbers: in [0, 1), of the names `lesion_level`, `lesion_texture`, `lesion_rim`, `lesion_halo`, `lesion_edge`.
    """
    side = image.shape[-1]
    close = binary_dilation(mask)
    ring = binary_dilation(close, iterations=max(2, side // 40)) & ~close & (image[0] > BACKGROUND)
    if not ring.any() or not mask.any():
        return None
    around, inside = float(np.median(image[0][ring])), float(np.median(image[0][mask]))
    level = numbers["lesion_level"]
    if level < 0.35:  # dark, down to a quarter of what is around it
        target = around * (0.25 + 1.6 * level)
    else:  # bright, up to nine tenths of the way to white
        target = around + (255 - around) * (0.2 + 0.7 * (level - 0.35) / 0.65)
    drawn = image.astype(np.float32)
    texture = 2 * numbers["lesion_texture"] - 1
    new = target + texture * (drawn - inside)
    depth = distance_transform_edt(mask) / max(
        1.0, float(np.sqrt(mask.sum() / np.pi))
    )  # 0 at the edge, 1 in the middle
    if numbers["lesion_rim"] < 0.4:  # a core of the other kind, or a rim
        core = 1 / (1 + np.exp(-(depth - 0.25 - 0.5 * numbers["lesion_rim"]) * 20))
        other = around * 0.5 if level >= 0.35 else around + 0.6 * (255 - around)
        new = (1 - core) * new + core * (other + 0.5 * texture * (drawn - inside))
    if numbers["lesion_halo"] < 0.5:  # oedema: brighter or darker brain around it, that fades
        width = side * (0.02 + 0.08 * numbers["lesion_halo"] / 0.5)
        halo = np.clip(1.6 * gaussian_filter(close.astype(np.float32), width), 0, 1) * (image[0] > BACKGROUND)
        towards = around + (target - around) * 0.6
        drawn += halo * (towards - around) * np.clip(drawn / max(around, 1.0), 0, 1.2)
    alpha = gaussian_filter(mask.astype(np.float32), side * (0.004 + 0.012 * numbers["lesion_edge"]))
    return np.asarray(((1 - alpha) * drawn + alpha * new).clip(0, 255).round().astype(np.uint8))
