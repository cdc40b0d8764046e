"""What the audit finds and what it wrongly joins, measured on the data set itself.

Two measures. Images are changed in known ways, and it is counted how often a changed image is told as the same one.
And where file names are numbered in the order of a source, slices with neighbouring numbers are mostly of one patient
and slices with distant ones are of two: a truth that no threshold was chosen by.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from tqdm.auto import tqdm

from brainmri.audit.duplicates import Scan, contradicting_labels, groups_of, series_names, with_copies
from brainmri.data.class_names import contradictory_sets
from brainmri.data.duplicates.grouping import DISTANT, SAME_GROUP, find_groups, pairs_apart
from brainmri.data.thumbnails import content_thumbnail, thumbnail
from brainmri.io.read import read_image
from brainmri.schemas import ChangeRecall, SelfTest, ThresholdGroups

IMAGES = 300  # that are changed
THRESHOLDS = (0.45, 0.50, 0.54, SAME_GROUP, 0.62, 0.70)
Change = Callable[[Image.Image], Image.Image]


def _framed(share: float, grey: int) -> Change:
    return lambda image: ImageOps.expand(image, round(share * min(image.size)), grey)


def _cut(share: float) -> Change:
    return lambda image: ImageOps.crop(image, round(share * min(image.size)))


def _resized(factor: float) -> Change:
    return lambda image: image.resize((round(factor * image.width), round(factor * image.height)))


def _encoded(quality: int) -> Change:
    def encode(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return encode


def _gamma(power: float) -> Change:
    return lambda image: image.point([round(255 * (value / 255) ** power) for value in range(256)])


CHANGES: dict[str, Change] = {
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 270 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "mirrored along a diagonal": lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    "inverted": ImageOps.invert,
    "turned by 180 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "gamma 0.7": _gamma(0.7),
    "gamma 1.4": _gamma(1.4),
    "contrast 1.5": lambda image: ImageEnhance.Contrast(image).enhance(1.5),
    "sharpened": lambda image: image.filter(ImageFilter.UnsharpMask(2, 150, 0)),
    "blurred, 1 pixel": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "JPEG, quality 30": _encoded(30),
    "half the size": _resized(0.5),
    "twice the size": _resized(2),
    "black frame of 5 %": _framed(0.05, 0),
    "black frame of 15 %": _framed(0.15, 0),
    "white frame of 5 %": _framed(0.05, 255),
    "rim of 2 % cut off": _cut(0.02),
    "rim of 5 % cut off": _cut(0.05),
    "rim of 10 % cut off": _cut(0.1),
    "a corner of 80 % kept": lambda image: image.crop((0, 0, round(0.8 * image.width), round(0.8 * image.height))),
}


def calibrate(scan: Scan) -> SelfTest:
    """What the audit finds of changed images, and the groups at each threshold."""
    return SelfTest(changes=recall_of_changes(scan), thresholds=thresholds(scan))


def recall_of_changes(scan: Scan, seed: int = 0) -> list[ChangeRecall]:
    """For each change: of how many `images`, drawn at random, the audit's search finds the changed one to be the same.

    `wrong` are the changed ones that it joins with another image.
    """
    rows = np.random.default_rng(seed).permutation(len(scan.table))[:IMAGES]
    images = [read_image(Path(scan.table["path"].iloc[row])).image.convert("L") for row in rows]
    own = with_copies(groups_of(scan), scan.thumbnails)[0].image[rows]
    found = []
    for name, change in tqdm(CHANGES.items(), desc="changed images", disable=None):
        changed = [change(image) for image in images]
        whole = np.concatenate([scan.thumbnails[rows], np.stack([thumbnail(image) for image in changed])])
        inside = np.concatenate([scan.contents[rows], np.stack([content_thumbnail(image) for image in changed])])
        given = [""] * len(whole)
        joined = with_copies(find_groups(whole, given, contents=inside), whole)[0].image
        same = joined[: len(images)] == joined[len(images) :]
        glued = (joined[len(images) :, None] == joined[: len(images)]) & (own[:, None] != own)
        row = ChangeRecall(change=name, images=len(images), found=int(same.sum()), wrong=int(glued.any(axis=1).sum()))
        found.append(row)
    return found


def thresholds(scan: Scan) -> list[ThresholdGroups]:
    """What groups each threshold of likeness gives: see `_measured`. The one in use is `SAME_GROUP`."""
    names, rows = series_names(scan), np.arange(len(scan.table))
    pairs = {"next": pairs_apart(names, rows, [1]), "distant": pairs_apart(names, rows, DISTANT)}
    return [_measured(scan, threshold, pairs) for threshold in tqdm(THRESHOLDS, desc="thresholds", disable=None)]


def _measured(scan: Scan, threshold: float, pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> ThresholdGroups:
    """The groups at one threshold. pairs: `next` and `distant`, of which those of one image are left out."""
    found = groups_of(scan, threshold)
    sizes = np.bincount(found.group)
    sets = pd.Series(found.group)
    mixed = contradictory_sets(sets.astype(str), scan.table["label"], contradicting_labels(scan.table))

    def together(name: str) -> np.ndarray:
        first, second = pairs[name]
        other = found.image[first] != found.image[second]
        return np.asarray(found.group[first[other]] == found.group[second[other]])

    return ThresholdGroups(
        threshold=threshold,
        groups=len(sizes),
        largest=int(sizes.max()),
        mixed=int(sets.astype(str).isin(mixed).sum()),
        next=int(together("next").sum()),
        next_of=len(together("next")),
        distant=int(together("distant").sum()),
        distant_of=len(together("distant")),
    )
