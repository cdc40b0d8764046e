"""Images on their way to a network: arrays, the slices of a scan, and as many of them as are classified at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainmri.io.inputs import Rejected, Slice
from brainmri.io.intensity import grey, head_range
from brainmri.io.scan import Scan

PIXELS = 2**22  # of the images of one batch; four times as many may wait
Other = TypeVar("Other")


def batches(slices: Iterable[Slice | Other], size: int) -> Iterator[tuple[list[Slice | Other], int]]:
    """As many slices as a batch holds, or fewer large ones, with what lies between them; and their pixels."""
    batch: list[Slice | Other] = []
    images = pixels = 0
    for one in slices:
        batch.append(one)
        if isinstance(one, Slice):
            images, pixels = images + 1, pixels + one.image.width * one.image.height
        if images == size or pixels >= PIXELS or len(batch) == 4 * size:
            yield batch, pixels
            batch, images, pixels = [], 0, 0
    if batch:
        yield batch, pixels


def slices_of(scan: Scan, files: list[str], patient: str) -> Iterator[Slice | Rejected]:
    """All slices of the first plane, and in its place each one that is broken."""
    plane = scan.planes[0]
    for index, file in enumerate(files):
        try:
            image = scan.image(plane, index)
        except ValueError as error:
            yield Rejected(file or f"slice {index}", str(error))
        else:
            yield Slice(file, plane, index, patient, image, scan=patient, sequence=scan.sequence)


def from_array(values: NDArray[Any]) -> Image.Image:
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    colours = values.dtype == np.uint8 and values.ndim == 3 and values.shape[2] == 3
    if values.dtype.kind not in "buif" or not (values.ndim == 2 or colours):
        raise ValueError(
            f"an array {values.dtype} of shape {values.shape}: one slice of numbers (H, W), or uint8 (H, W, 3) as RGB, "
            "is needed"
        )
    if 0 in values.shape:
        raise ValueError(f"an array of shape {values.shape} holds no pixels")
    if values.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(values))
    levels = head_range(values)
    if levels is None:
        raise ValueError("every value of the array is the same, or no number: there is nothing to see")
    return grey(values, *levels)
