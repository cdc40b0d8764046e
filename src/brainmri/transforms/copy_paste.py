"""What a training image may take from another one: its grey levels, or its tumour.

Where the classes come from different sources, these give every class the looks of every source, and images of every
source both with and without a tumour. They change uint8 images as they are read, by the draws of each sample.
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
from brainmri.transforms.config import PARAMETERS, Augmentation
from brainmri.transforms.lesion_contrast import recontrast
from brainmri.transforms.tumour_removal import SimilarHeads, laid_over

Slice = NDArray[np.uint8]  # (C, S, S)
SYMMETRIC = 0.75  # correlation of a head's halves, 64 x 64, from which on it is seen from the front or from above
INSIDE = 0.9  # share of a new tumour that must lie in the image, and in the head
SMALLEST = 12  # pixels of a tumour that is worth it
WHOLE, NOTHING = 0.5, 0.02  # a half has the tumour from that share of it on, and has none up to this one


class CopyPaste:
    """What the training images take from each other.

    pixels: all images, at any size. rows: positions of the training ones, distinct. labels: their classes. widths:
    how often what is taken. outlines: of positions of images with a tumour, where it is. healthy: the class without a
    tumour, None where no class means that; without it, or without outlines, tumours stay where they are.
    """

    def __init__(
        self,
        pixels: PixelCache,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        magnitudes: Augmentation,
        outlines: Mapping[int, Sequence[Polygon]],
        healthy: int | None,
    ) -> None:
        self.magnitudes, self.outlines, self.healthy = magnitudes, outlines, healthy
        self.label_of = dict(zip(rows.tolist(), labels.tolist(), strict=True))
        self.donors = sorted(row for row in self.label_of if row in outlines) if healthy is not None else []
        self.similar = None
        if magnitudes.tumour_removal and self.donors:
            sound = [row for row, label in self.label_of.items() if label == healthy]
            self.similar = SimilarHeads(pixels, self.donors, sound, outlines)
        self.shares = (
            np.stack([cumulated(pixels.first[row]) for row in rows]) if magnitudes.histogram_matching else None
        )

    def changed(
        self,
        cache: PixelCache,
        pixels: NDArray[np.uint8],
        rows: NDArray[np.int64],
        uniform: NDArray[np.float32],
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """A batch with what its images take: `pixels` (B, C, S, S) and their labels (B,) afterwards.

        cache: the images at size S, from which `pixels` were read at `rows`. uniform: (B, DRAWS), of `draws`.
        """
        pixels, labels = pixels.copy(), np.array([self.label_of[row] for row in rows.tolist()])
        for place, (row, drawn) in enumerate(zip(rows.tolist(), uniform, strict=True)):
            numbers = dict(zip(PARAMETERS, drawn.tolist(), strict=True))
            if self.donors and labels[place] == self.healthy and numbers["lesion"] < self.magnitudes.copy_paste:
                donor = self.donors[int(numbers["lesion_of"] * len(self.donors))]
                shift = (numbers["lesion_x"] - 0.5, numbers["lesion_y"] - 0.5)
                new = paste_tumour(pixels[place], cache.read(np.array([donor]))[0], self.outlines[donor], shift)
                if new is not None:
                    pixels[place], labels[place] = new[0], self.label_of[donor]
                    self._recontrasted(pixels, place, new[1], numbers)
            elif self.donors and numbers["half"] < self.magnitudes.hemisphere_mirroring:
                left = numbers["half"] < self.magnitudes.hemisphere_mirroring / 2
                pixels[place], labels[place] = self._mirrored(pixels[place], row, int(labels[place]), left)
            elif self.similar and row in self.outlines and numbers["removal"] < self.magnitudes.tumour_removal:
                sound = self.similar.without_tumour(pixels[place], row, cache, numbers["removal_of"])
                if sound is not None and self.healthy is not None:
                    pixels[place], labels[place] = sound, self.healthy
            elif row in self.outlines:
                mask = polygon_mask(list(self.outlines[row]), pixels.shape[-1])
                self._recontrasted(pixels, place, mask, numbers)
            if self.shares is not None and numbers["levels"] < self.magnitudes.histogram_matching:
                other = self.shares[int(numbers["levels_of"] * len(self.shares))]
                share = numbers["levels"] / self.magnitudes.histogram_matching
                pixels[place] = match_histogram(pixels[place][0], other, share)[pixels[place]]
        return pixels, labels

    def _recontrasted(
        self, pixels: NDArray[np.uint8], place: int, mask: NDArray[np.bool_], numbers: Mapping[str, float]
    ) -> None:
        if numbers["lesion_changed"] < self.magnitudes.lesion_contrast:
            new = recontrast(pixels[place], mask, numbers)
            if new is not None:
                pixels[place] = new

    def _mirrored(self, image: Slice, row: int, label: int, left: bool) -> tuple[Slice, int]:
        """A half of the head and its mirror image, where the head is symmetric and what it then shows is known."""
        axis = symmetry_axis(image[0])
        if axis is None or self.healthy is None or (label != self.healthy and row not in self.outlines):
            return image, label
        if label != self.healthy:
            mask = polygon_mask(list(self.outlines[row]), image.shape[-1])
            part = float(mask[:, :axis].sum() / mask.sum())
            kept = part if left else 1 - part
            if NOTHING < kept < WHOLE:
                return image, label
            label = label if kept >= WHOLE else self.healthy
        return mirror_hemisphere(image, axis, left), label


def match_histogram(image: NDArray[np.uint8], other: NDArray[np.float32], share: float) -> NDArray[np.uint8]:
    """The new level of each level 0..255 of a grey image: `share` of the way to the other image's at the same rank.

    other: its `cumulated`. Air stays air.
    """
    there = np.searchsorted(other, cumulated(image)).clip(BACKGROUND + 1, 255)
    levels = np.arange(256)
    return np.where(levels > BACKGROUND, (1 - share) * levels + share * there, levels).round().astype(np.uint8)


def cumulated(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The share (256,) of a grey image's pixels, those of air left out, up to each level."""
    counts = np.bincount(image.ravel(), minlength=256).astype(np.float32)
    counts[: BACKGROUND + 1] = 0
    return np.cumsum(counts) / max(counts.sum(), 1)


def paste_tumour(
    image: Slice, donor: Slice, polygons: Sequence[Polygon], shift: tuple[float, float]
) -> tuple[Slice, NDArray[np.bool_]] | None:
    """`image` (C, S, S) with the tumour of `donor`, at about the place in the head that it has there; and where it is.

    shift: x and y away from that place, -0.5..0.5 for a fifth of the head either way. The tumour gets the size that
    fits the head, and stands out from what is around it as it did. None where it would not lie in the head.
    """
    side = image.shape[-1]
    there, here = head_box(donor[0]), head_box(image[0])
    scale = [(here[k + 2] - here[k]) / (there[k + 2] - there[k]) for k in (0, 1)]

    def moved(array: NDArray[np.uint8]) -> NDArray[np.float32]:
        return laid_over(array, there, here, (0.4 * shift[0], 0.4 * shift[1]))

    mask = polygon_mask(list(polygons), side)
    placed = moved(255 * mask.astype(np.uint8)) > 127
    whole = mask.sum() * scale[0] * scale[1]
    if placed.sum() < max(SMALLEST, INSIDE * whole) or (image[0][placed] > BACKGROUND).mean() < INSIDE:
        return None
    tumour = np.stack([moved(channel) for channel in donor])
    close = binary_dilation(placed)
    ring = binary_dilation(close, iterations=max(2, side // 40)) & ~close
    around_there, around_here = np.median(tumour[0][ring]), np.median(image[0][ring])
    if min(around_there, around_here) <= BACKGROUND:
        return None
    alpha = gaussian_filter(close.astype(np.float32), side / 150)
    blended = (1 - alpha) * image + alpha * tumour[: len(image)] * (around_here / around_there)
    return np.asarray(blended.clip(0, 255).round().astype(np.uint8)), placed


def symmetry_axis(image: NDArray[np.uint8]) -> int | None:
    """The first column right of the middle of a head (S, S) whose halves mirror each other; None where they do not."""
    small = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BOX), dtype=np.float32)
    likeness = {}
    for axis in range(26, 39):
        reach = min(axis, 64 - axis)
        halves = small[:, axis - reach : axis].ravel(), small[:, axis : axis + reach][:, ::-1].ravel()
        likeness[axis] = float(np.corrcoef(*halves)[0, 1])
    best = max(likeness, key=lambda axis: likeness[axis])
    return round(best * image.shape[-1] / 64) if likeness[best] >= SYMMETRIC else None


def mirror_hemisphere(image: Slice, axis: int, left: bool) -> Slice:
    """The columns left (or right) of `axis` and their mirror image; what has no counterpart is black."""
    mirrored = np.zeros_like(image)
    reach = min(axis, image.shape[-1] - axis)
    if left:
        mirrored[..., :axis] = image[..., :axis]
        mirrored[..., axis : axis + reach] = image[..., axis - reach : axis][..., ::-1]
    else:
        mirrored[..., axis:] = image[..., axis:]
        mirrored[..., axis - reach : axis] = image[..., axis : axis + reach][..., ::-1]
    return mirrored
