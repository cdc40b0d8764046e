"""The simulated lesions of the phantom set: glioma, meningioma, pituitary adenoma.

A lesion is drawn once per subject, in the template's space, so that all slices show the same one. Sizes are radii in
mm. Sizes, strengths and signals are what makes the set easy or hard; they were fixed before any model was tuned on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from brainmri.data.phantom.anatomy import SELLA, Head, Volume, Waves, blend, load_template, step

# Signal of each part of a lesion per sequence (as in phantom_anatomy.TISSUES).
GLIOMA: Mapping[str, Mapping[str, float]] = {
    "t1c": {"core": 0.18, "rim": 0.90, "necrosis": 0.04, "oedema": 0.16},
    "t2": {"core": 0.70, "rim": 0.80, "necrosis": 0.50, "oedema": 0.75},
}
MENINGIOMA: Mapping[str, float] = {"t1c": 1.0, "t2": 0.98}
PITUITARY: Mapping[str, float] = {"t1c": 1.0, "t2": 0.98}


class Lesion(ABC):
    """What every lesion has: a centre (template space), a radius in mm, and a strength in 0..1 (1 = plain to see)."""

    centre: np.ndarray
    radius: float
    strength: float

    def depth(self, points: np.ndarray) -> np.ndarray:
        """mm inside the solid part of the lesion (negative outside) at `points` (N, 3); float32 (N,)."""
        depth = np.full(len(points), -np.inf, dtype=np.float32)
        near = self._near(points)
        depth[near] = self._depth(points[near])
        return depth

    def paint(self, image: np.ndarray, points: np.ndarray, head: Head) -> None:
        """Draw the lesion over `image` (N,), in place."""
        near = self._near(points)
        part = image[near]
        self._paint(part, points[near], head)
        image[near] = part

    def _near(self, points: np.ndarray) -> np.ndarray:
        """Where the lesion can possibly reach: nothing is computed elsewhere, for speed."""
        return ((points - self.centre) ** 2).sum(1) < (2.2 * self.radius + 40) ** 2

    @abstractmethod
    def _depth(self, points: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _paint(self, image: np.ndarray, points: np.ndarray, head: Head) -> None: ...

    def push(self, points: np.ndarray) -> np.ndarray:
        """Where the tissue now at `points` (N, 3) was before the lesion grew (mass effect)."""
        near = self._near(points)
        offset = points[near] - self.centre
        distance = np.linalg.norm(offset, axis=1, keepdims=True)
        shift = 0.35 * self.strength * self.radius * np.exp(-((distance / (1.8 * self.radius)) ** 2))
        pushed = points.copy()
        pushed[near] -= offset / np.maximum(distance, 1) * np.minimum(shift, 0.8 * distance)
        return pushed


class Glioma(Lesion):
    """Infiltrating: irregular and soft-edged, in the white matter, in oedema, with a bright rim about dead tissue."""

    def __init__(self, rng: np.random.Generator):
        low = rng.random() < 0.5  # as low as the sella and the skull base, so that height does not tell the class
        self.radius = rng.uniform(15, 26)
        self.centre = _pick(rng, low=low, tissue=load_template().white, depths=(7, 40))
        self.strength = rng.uniform(0.75, 1.0)
        self.shape = Waves(rng, (0.8 * self.radius, 2.5 * self.radius), waves=10)
        self.fingers = Waves(rng, (12, 40), waves=10)
        self.texture = Waves(rng, (4, 14), waves=10)
        self.oedema_mm = rng.uniform(12, 26)
        self.axes = rng.uniform(0.75, 1.25, size=3).astype(np.float32)
        self.enhancement = rng.uniform(0.7, 1.0)

    def _inside(self, points: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm((points - self.centre) / self.axes, axis=1)
        return self.radius * (1 + 0.24 * self.shape(points)) - distance

    def _depth(self, points: np.ndarray) -> np.ndarray:
        return np.minimum(self._inside(points), load_template().skull_depth(points))

    def _paint(self, image: np.ndarray, points: np.ndarray, head: Head) -> None:
        template, signal = load_template(), GLIOMA[head.sequence]
        inside = self._inside(points)
        brain = step(template.brain_depth(points), 1.0) * self.strength
        white = 0.25 + 0.75 * template.white(points)
        oedema = step(inside + self.oedema_mm * (1 + 0.5 * self.fingers(points)), 3.0) * white
        image += brain * oedema * (signal["oedema"] - image)
        texture = 1 + 0.2 * self.texture(points)
        image += brain * step(inside, 2.0) * (signal["core"] * texture - image)
        hollow = inside - 0.45 * self.radius
        rim = step(inside, 1.5) * step(4.0 - hollow, 2.0) * self.enhancement
        image += brain * rim * (signal["rim"] * texture - image)
        image += brain * step(hollow, 1.5) * (signal["necrosis"] - image)


class Meningioma(Lesion):
    """Extra-axial: attached to the skull or the falx by a broad base, rounded, even, sharp-edged, in a cleft of CSF."""

    def __init__(self, rng: np.random.Generator):
        self.radius = rng.uniform(13, 23)
        self.strength = rng.uniform(0.75, 1.0)
        site = rng.choice(["convexity", "base", "falx"], p=[0.4, 0.4, 0.2])
        self.side = float(rng.choice([-1, 1])) if site == "falx" else 0.0
        depths = (0.3 * self.radius, 0.5 * self.radius)
        if site == "falx":
            self.centre = _pick(rng, low=False, tissue=None, depths=(8, 40))
            self.centre[0] = self.side * rng.uniform(*depths)
        else:
            self.centre = _pick(rng, low=site == "base", tissue=None, depths=depths)
        self.shape = Waves(rng, (1.5 * self.radius, 4 * self.radius), waves=6)
        self.axes = rng.uniform(0.85, 1.15, size=3).astype(np.float32)

    def _wall(self, points: np.ndarray) -> np.ndarray:
        """mm from the dura that the lesion grows from, positive on the lesion's side."""
        skull = load_template().skull_depth(points)
        return np.minimum(skull, points[:, 0] * self.side) if self.side else skull

    def _ball(self, points: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm((points - self.centre) / self.axes, axis=1)
        return self.radius * (1 + 0.06 * self.shape(points)) - distance

    def _depth(self, points: np.ndarray) -> np.ndarray:
        return np.minimum(self._ball(points), self._wall(points))

    def _paint(self, image: np.ndarray, points: np.ndarray, head: Head) -> None:
        ball, wall = self._ball(points), self._wall(points)
        value = np.float32(MENINGIOMA[head.sequence])
        cleft = np.minimum(ball + 2.0, wall)
        image += step(cleft, 0.8) * 0.8 * self.strength * (head.signal["csf"] - image)
        tail = np.minimum(ball + 0.6 * self.radius, np.minimum(wall, 2.5 - wall))
        if head.sequence == "t1c":
            image += step(tail, 0.8) * self.strength * (value - image)
        image += step(np.minimum(ball, wall), 0.8) * self.strength * (value - image)


class Pituitary(Lesion):
    """Sellar: a rounded, sharp-edged mass on the midline that fills the sella and often grows upwards out of it."""

    def __init__(self, rng: np.random.Generator):
        self.radius = rng.uniform(10, 16)
        self.strength = rng.uniform(0.72, 1.0)
        self.centre = SELLA + rng.normal(0, [1.5, 1.5, 1.0]).astype(np.float32)
        self.growth = rng.uniform(0.2, 0.9)  # how far the part above the sella rises, in radii
        self.shape = Waves(rng, (1.5 * self.radius, 4 * self.radius), waves=6)
        self.cystic = rng.random() < 0.25

    def _depth(self, points: np.ndarray) -> np.ndarray:
        lower = np.linalg.norm((points - self.centre) / np.array([1.15, 1, 0.9], dtype=np.float32), axis=1)
        above = self.centre + np.array([0, 0, self.growth * self.radius + 2], dtype=np.float32)
        upper = np.linalg.norm(points - above, axis=1)
        wave = 1 + 0.06 * self.shape(points)
        return np.maximum(self.radius * wave - lower, 0.75 * self.radius * wave - upper)

    def _paint(self, image: np.ndarray, points: np.ndarray, head: Head) -> None:
        inside = self._depth(points)
        image += step(inside, 0.8) * self.strength * (PITUITARY[head.sequence] - image)
        if self.cystic:
            blend(image, head.signal["csf"], inside - 0.55 * self.radius)


LESIONS: Mapping[str, type[Glioma] | type[Meningioma] | type[Pituitary]] = {
    "glioma": Glioma,
    "meningioma": Meningioma,
    "pituitary": Pituitary,
}


def _pick(rng: np.random.Generator, *, low: bool, tissue: Volume | None, depths: tuple[float, float]) -> np.ndarray:
    """A random point (3,), so many mm below the inner skull, where `tissue` has its majority.

    `low`: near the skull base (z -42..-8), else above it (z -8..60); never in the cerebellum's hind part, nor so near
    the sella that it could as well be a pituitary tumour.
    """
    skull = load_template().skull_depth
    bottom, top = (-42, -8) if low else (-8, 60)
    while True:
        points = rng.uniform((-75, -75 if not low else -35, bottom), (75, 75, top), size=(512, 3)).astype(np.float32)
        depth = skull(points)
        good = (depth >= depths[0]) & (depth <= depths[1]) & (np.linalg.norm(points - SELLA, axis=1) > 36)
        if tissue is not None:
            good &= tissue(points) > 0.5
        if good.any():
            return points[np.argmax(good)]
