"""One simulated slice of each class, for a model that is to be tried at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from brainmri.data.phantom.generate import CLASSES, PLANES, draw_slices, draw_subject

EXAMPLE_SEED = 1  # of subjects that no phantom set has been made of by default
EXAMPLE_SIDE = 128  # pixels


def examples(folder: Path) -> list[Path]:
    """Write simulated slices as PNG files into `folder`: one of each class, in turn of the three planes.

    Their subjects are none of those of the phantom set that is made by default. The same bytes at each call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, label in enumerate(CLASSES):
        rng = np.random.default_rng([EXAMPLE_SEED, number])
        slices = draw_slices(rng, draw_subject(rng, number), len(PLANES), EXAMPLE_SIDE)
        by_plane = {plane: image for plane, _, image, _ in slices}
        plane = PLANES[number % len(PLANES)]
        files.append(folder / f"simulated-{label}-{plane}.png")
        Image.fromarray(by_plane[plane]).save(files[-1])
    return files
