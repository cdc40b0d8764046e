"""The healthy head of the phantom set: template, contrasts, and one simulated subject's anatomy and scanner.

Tissue comes from the grey and white matter maps of the MNI152 template (ICBM 152 nonlinear symmetric 2009a, 1 mm) that
the nilearn package ships; skull, scalp, face, orbits and pituitary gland are simple shapes around it. All coordinates
are millimetres in MNI space (x to the right, y to the front, z up).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files

import nibabel
import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

SELLA = np.array([0.0, 2.0, -31.0], dtype=np.float32)  # where the template leaves room for the pituitary gland
FACE = np.array([0.0, 8.0, -78.0], dtype=np.float32)  # centre of the face and neck
COARSE_MM = 3  # grid of the distance maps
MARGIN_MM = 30  # room around the template for skull and scalp
CLOSING_MM = 14  # fissures narrower than twice this lie inside the skull, not outside it
# Signal of each tissue (0 = air, 1 = brightest) in two kinds of MRI sequence; t1c = T1 with contrast agent.
TISSUES: Mapping[str, Mapping[str, float]] = {
    "t1c": {"csf": 0.12, "grey": 0.34, "white": 0.44, "bone": 0.06, "scalp": 0.52, "muscle": 0.26, "gland": 0.52},
    "t2": {"csf": 0.50, "grey": 0.42, "white": 0.32, "bone": 0.06, "scalp": 0.42, "muscle": 0.20, "gland": 0.42},
}


@dataclass(frozen=True)
class Volume:
    """Values on a regular grid, read anywhere by linear interpolation (the border value outside the grid)."""

    values: np.ndarray
    origin: np.ndarray
    spacing: float
    unit: float = 1.0  # what one step of `values` means

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Values at `points` (N, 3), in mm; float32 (N,)."""
        index = ((points - self.origin) / self.spacing).T
        return map_coordinates(self.values, index, output=np.float32, order=1, mode="nearest") * np.float32(self.unit)


@dataclass(frozen=True)
class Template:
    """`grey`, `white`: shares of tissue (0..1). `brain_depth`, `skull_depth`: mm below the surface of the brain and of
    the inner skull (negative outside)."""

    grey: Volume
    white: Volume
    brain_depth: Volume
    skull_depth: Volume


@cache
def load_template() -> Template:
    """Read the two maps that nilearn ships, and measure the distances to the surfaces. Takes about two seconds."""
    maps = {}
    for tissue in ("gm", "wm"):
        name = f"datasets/data/mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"
        with as_file(files("nilearn") / name) as path:
            image = nibabel.Nifti1Image.from_filename(path)
            maps[tissue] = np.pad(np.asarray(image.dataobj), 1)  # 0..255; bytes, because memory is what takes the time
            origin = image.affine[:3, 3] - 1
    every = (slice(None, None, COARSE_MM),) * 3
    brain = maps["gm"][every].astype(int) + maps["wm"][every] > 0.3 * 255
    margin = MARGIN_MM // COARSE_MM
    brain = np.pad(brain, margin)
    grown = distance_transform_edt(~brain) * COARSE_MM <= CLOSING_MM
    inner_skull = distance_transform_edt(grown) * COARSE_MM > CLOSING_MM
    coarse_origin = (origin - MARGIN_MM).astype(np.float32)
    depths = [Volume(gaussian_filter(_depth(mask), 0.7), coarse_origin, COARSE_MM) for mask in (brain, inner_skull)]
    fine_origin = origin.astype(np.float32)
    return Template(Volume(maps["gm"], fine_origin, 1, 1 / 255), Volume(maps["wm"], fine_origin, 1, 1 / 255), *depths)


def _depth(mask: np.ndarray) -> np.ndarray:
    return ((distance_transform_edt(mask) - distance_transform_edt(~mask)) * COARSE_MM).astype(np.float32)


class Waves:
    """A smooth random function of space: a sum of plane waves with random directions and phases, of unit variance."""

    def __init__(self, rng: np.random.Generator, wavelengths: tuple[float, float], outputs: int = 1, waves: int = 6):
        """`wavelengths`: shortest and longest, in mm. `outputs`: how many independent functions."""
        direction = rng.normal(size=(3, waves * outputs))
        direction /= np.linalg.norm(direction, axis=0)
        length = rng.uniform(*wavelengths, size=waves * outputs)
        self.frequency = (2 * np.pi * direction / length).astype(np.float32)
        self.phase = rng.uniform(0, 2 * np.pi, size=waves * outputs).astype(np.float32)
        self.mix = np.repeat(np.eye(outputs, dtype=np.float32), waves, axis=0) * np.float32(np.sqrt(2 / waves))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """float32 of shape (N,), or (N, outputs) where there is more than one."""
        values = np.cos(points.astype(np.float32) @ self.frequency + self.phase) @ self.mix
        return values[:, 0] if values.shape[1] == 1 else values


class Head:
    """One subject without a lesion: shape of brain and head, signal of each tissue. Drawn once from `rng`."""

    def __init__(self, rng: np.random.Generator, sequence: str):
        """`sequence`: a key of TISSUES."""
        self.sequence = sequence
        self.signal = {name: value + rng.normal(0, 0.02) for name, value in TISSUES[sequence].items()}
        self.signal["scalp"] *= rng.uniform(0.75, 1.0)
        self.stretch = rng.uniform(0.92, 1.08, size=3).astype(np.float32)
        self.slow_warp = Waves(rng, (90, 200), outputs=3)
        self.fast_warp = Waves(rng, (25, 60), outputs=3)
        self.warp_mm = rng.uniform(2.0, 4.0), rng.uniform(0.5, 1.5)
        self.bone_mm, self.scalp_mm = rng.uniform(3, 9), rng.uniform(3, 10)
        self.thickness = Waves(rng, (40, 120))
        self.texture = Waves(rng, (8, 40), waves=12)
        self.face = np.array([rng.uniform(54, 66), rng.uniform(78, 92), rng.uniform(75, 100)], dtype=np.float32)
        self.gland_mm = rng.uniform(3.5, 6.0)

    def to_template(self, world: np.ndarray) -> np.ndarray:
        """Points of this subject's head (N, 3) in mm -> the matching points of the template."""
        points = world / self.stretch
        return points + self.warp_mm[0] * self.slow_warp(points) + self.warp_mm[1] * self.fast_warp(points)

    def from_template(self, point: np.ndarray) -> np.ndarray:
        """The inverse of `to_template` for one point (3,), by fixed-point iteration, to well under 1 mm."""
        world = point * self.stretch
        for _ in range(8):
            world = world + (point - self.to_template(world[None])[0]) * self.stretch
        return world

    def draw(self, points: np.ndarray, tissue_points: np.ndarray) -> np.ndarray:
        """Signal (N,) at template `points` (N, 3); `tissue_points` are where the brain is looked up, which a growing
        lesion has pushed aside."""
        height = -load_template().skull_depth(points)  # mm outside the inner skull
        face_depth = (1 - np.linalg.norm((points - FACE) / self.face, axis=1)) * self.face[0]
        head = (height < 1.5 * (self.bone_mm + self.scalp_mm) + 8) | (face_depth > -8)
        image = np.zeros(len(points), dtype=np.float32)
        image[head] = self._draw(points[head], tissue_points[head], height[head], face_depth[head])
        return image

    def _draw(
        self, points: np.ndarray, tissue_points: np.ndarray, height: np.ndarray, face_depth: np.ndarray
    ) -> np.ndarray:
        signal, texture = self.signal, self.texture(points)
        image = np.zeros(len(points), dtype=np.float32)
        inner = height < 3
        image[inner] = self._brain(tissue_points[inner]) * (1 + 0.03 * texture[inner])

        thickness = 1 + 0.12 * self.thickness(points)
        bone_end = 1.5 + self.bone_mm * thickness
        marrow = np.exp(-(((height - (1.5 + bone_end) / 2) / (0.22 * self.bone_mm)) ** 2))
        blend(image, signal["bone"] + 0.3 * signal["scalp"] * marrow, height - 1.5)

        # Face and neck: an ellipsoid under the brain that runs smoothly into the head; muscle and fat, orbits, sinuses.
        head_depth = _smooth_union(bone_end + self.scalp_mm * thickness - height, face_depth, 18)
        soft = signal["muscle"] + 0.25 * (signal["scalp"] - signal["muscle"]) * step(texture - 0.6, 0.3)
        soft *= step(1.7 - texture * step(points[:, 1] - 10, 10), 0.15)  # air spaces, in front only
        for side in (-1, 1):
            orbit = np.linalg.norm(points - np.array([side * 32, 62, -36], dtype=np.float32), axis=1)
            blend(soft, signal["csf"], 12 - orbit)
        blend(soft, signal["scalp"], self.scalp_mm * thickness - head_depth)
        blend(image, soft, height - bone_end)
        blend(image, 0.0, -head_depth)
        gland = np.linalg.norm((points - SELLA) / np.array([1.3, 1.0, 0.8], dtype=np.float32), axis=1)
        blend(image, signal["gland"], self.gland_mm - gland)
        return image

    def _brain(self, points: np.ndarray) -> np.ndarray:
        template, csf = load_template(), self.signal["csf"]
        grey, white = template.grey(points), template.white(points)
        return csf + grey * (self.signal["grey"] - csf) + white * (self.signal["white"] - csf)


def _smooth_union(first: np.ndarray, second: np.ndarray, width: float) -> np.ndarray:
    """The larger of two depths, rounded off over `width` mm where they are nearly equal."""
    return np.maximum(first, second) + np.maximum(width - np.abs(first - second), 0) ** 2 / (4 * width)


def step(values: np.ndarray, width: float) -> np.ndarray:
    """0 below, 1 above zero, with a ramp of `width` on both sides."""
    return np.clip(0.5 + values / (2 * width), 0, 1)


def blend(image: np.ndarray, value: np.ndarray | float, inside_mm: np.ndarray) -> None:
    """Put `value` over `image`, in place, where `inside_mm` > 0, with an edge 1.4 mm wide."""
    image += step(inside_mm, 0.7) * (value - image)
