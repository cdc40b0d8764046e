"""One picture at the size of a network's input, the same wherever the picture is read from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def resized(image: Image.Image, size: int) -> np.ndarray:
    """uint8 (1, size, size) where every channel of the result is equal, else (3, size, size).

    By torchvision's antialiased bilinear resize on uint8 tensors, the same that the saved image processor does, so that
    a published pipeline sees the pixels that the model was trained on.
    """
    from torchvision.transforms.v2 import functional

    tensor = functional.pil_to_tensor(image.convert("L" if image.mode == "L" else "RGB"))
    pixels = functional.resize(tensor, [size, size], antialias=True).numpy()
    return pixels if (pixels != pixels[0]).any() else pixels[:1]
