"""A head as it would be without its tumour: with the tissue that a head like it has at that place.

In the usual collections nearly every axial slice at the base of the skull has a tumour: a network learns that such a
slice is one. Removed tumours give healthy heads of the heights, planes and sequences of the sick ones. (A label that is
told from what is around the disease: Oakden-Rayner et al., "Hidden stratification", CHIL 2020; tissue in place of a
tumour as a task of its own: Kofler et al., the inpainting challenge of BraTS 2023, arXiv:2305.08992.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter

from brainmri.data.masks import Polygon, polygon_mask
from brainmri.data.pixel_cache import PixelCache
from brainmri.data.standardize import BACKGROUND, head_box

GRID = 32  # side of a head as it is compared
TOUCHED = 0.1  # of a cell of that grid: a tumour is there
CHOICES = 5  # heads to choose from
ALIKE = 0.6  # correlation with a head from which on its tissue fits; looked at, docs/LOG.md
BLOCK = 256  # heads compared at once

Box = tuple[int, int, int, int]


class SimilarHeads:
    """For each training image with an outlined tumour, heads that look like it and have nothing at the tumour's place.

    pixels: all images. outlined: positions of those with an outlined tumour. healthy: positions of those without one.
    outlines: of `outlined`. Each head, and its mirror image, may give to each: an image also to itself, from the other
    half. What has a tumour that is not outlined gives nothing.
    """

    def __init__(
        self,
        pixels: PixelCache,
        outlined: Sequence[int],
        healthy: Sequence[int],
        outlines: Mapping[int, Sequence[Polygon]],
    ) -> None:
        self.outlines = outlines
        self.choices: dict[int, list[tuple[int, bool]]] = {}  # of a position: positions, and whether mirrored
        rows = [*outlined, *healthy]
        heads, tumours = np.zeros((len(rows), GRID, GRID), np.float32), np.zeros((len(rows), GRID, GRID), bool)
        for place, row in enumerate(rows):
            box = head_box(pixels.first[row])
            heads[place] = _small(pixels.first[row], box)
            if row in outlines:
                mask = polygon_mask(list(outlines[row]), pixels.first.shape[-1])
                share = _small(255 * mask.astype(np.uint8), box)
                tumours[place] = share >= min(255 * TOUCHED, share.max())  # a small one too is somewhere
        heads -= heads.mean((1, 2), keepdims=True)
        heads /= np.maximum(np.linalg.norm(heads, axis=(1, 2), keepdims=True), 1e-6)
        givers = np.concatenate([heads, heads[:, :, ::-1]]).reshape(2 * len(rows), -1)
        ill = np.concatenate([tumours, tumours[:, :, ::-1]]).reshape(2 * len(rows), -1).astype(np.float32)
        for start in range(0, len(outlined), BLOCK):
            part = range(start, min(start + BLOCK, len(outlined)))
            near = np.stack([binary_dilation(tumours[place]) for place in part]).reshape(len(part), -1)
            likeness = givers[part.start : part.stop] @ givers.T
            likeness[near.astype(np.float32) @ ill.T > 0] = -1
            for place, found in zip(part, likeness, strict=True):
                best = [giver for giver in np.argsort(-found)[:CHOICES].tolist() if found[giver] >= ALIKE]
                if best:
                    self.choices[rows[place]] = [(rows[giver % len(rows)], giver >= len(rows)) for giver in best]

    def without_tumour(
        self, image: NDArray[np.uint8], row: int, cache: PixelCache, number: float
    ) -> NDArray[np.uint8] | None:
        """`image` (C, S, S) of position `row` with another head's tissue where its tumour is; None where none fits.

        cache: the images at size S. number: in [0, 1), which head gives it.
        """
        found = self.choices.get(row)
        if not found:
            return None
        other, mirrored = found[int(number * len(found))]
        donor = cache.first[other][:, ::-1] if mirrored else cache.first[other]
        side = image.shape[-1]
        tissue = laid_over(donor, head_box(donor), head_box(image[0]))
        mask = binary_dilation(polygon_mask(list(self.outlines[row]), side), iterations=max(1, side // 25))
        ring = binary_dilation(mask, iterations=max(2, side // 32)) & ~mask
        ring &= (image[0] > BACKGROUND) & (tissue > BACKGROUND)
        if not ring.any():
            return None
        level = np.median(image[0][ring]) / np.median(tissue[ring])
        # A soft edge outside, and nothing of the tumour inside.
        alpha = np.maximum(mask, gaussian_filter(mask.astype(np.float32), side / 64))
        return np.asarray(((1 - alpha) * image + alpha * level * tissue).clip(0, 255).round().astype(np.uint8))


def laid_over(
    image: NDArray[np.uint8], there: Box, here: Box, shift: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float32]:
    """A grey image (S, S), moved and stretched so that what is in the box `there` comes to lie in the box `here`.

    shift: then moved by these shares of the new width and height.
    """
    new = [here[k + 2] - here[k] for k in (0, 1)]
    scale = [new[k] / (there[k + 2] - there[k]) for k in (0, 1)]
    offset = [here[k] - there[k] * scale[k] + shift[k] * new[k] for k in (0, 1)]
    inverse = (1 / scale[0], 0, -offset[0] / scale[0], 0, 1 / scale[1], -offset[1] / scale[1])  # as PIL wants it
    moved = Image.fromarray(image).transform(
        image.shape[::-1], Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR
    )
    return np.asarray(moved, dtype=np.float32)


def _small(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """What is in the box, (GRID, GRID)."""
    return np.asarray(Image.fromarray(image).resize((GRID, GRID), Image.Resampling.BOX, box=box))
