"""The phantom set: simulated MRI slices of simulated brain tumours, for when there is no data.

    from brainmri.data.phantom.generate import make_phantom
    make_phantom(Path("phantom"))

No figure measured on it says anything about patients. It exists so that everything runs anywhere: four classes with
the folder names of the Kaggle set, three planes, many slices per subject, known subjects. What differs between classes
is the lesion alone: planes, sequences, scanner effects and the positions of the slices are drawn alike, and a healthy
subject is sliced as if it had a lesion.

Difficulty of the default set, measured on subject-grouped splits (70/10/20) when it was fixed, 2026-11-22: a network
like `cnn_4to32`, at 128 pixels and after 54 epochs of Adam at 1e-3, has a test accuracy of 0.86-0.96 (four seeds, mean
0.91); the baselines over five splits are 0.31 (majority), 0.42-0.49 (nearest neighbour), 0.22-0.34 (global statistics).
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from brainmri.data.masks import polygons_of
from brainmri.data.phantom.anatomy import Head, Waves
from brainmri.data.phantom.lesions import LESIONS, Lesion
from brainmri.data.provenance import write_record
from brainmri.io.decode import pixel_hash

PHANTOM_VERSION = 3  # raise it when the images or tables of a seed change
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
SEQUENCES = ("t1c", "t2", "t1c")  # dealt to the subjects of each class in turn
PLANES = ("axial", "coronal", "sagittal")
# Slices per subject over their mean: the classes are mildly unbalanced, so that there is something to oversample.
SHARE: Mapping[str, float] = {"glioma": 1.2, "meningioma": 1.0, "notumor": 0.75, "pituitary": 1.05}
FIELD_OF_VIEW_MM = 240
SMALLEST_CUT_MM2 = 200  # a slice of a tumour subject shows at least this much of the lesion's solid part
CENTRE = np.array([0.0, -16.0, -2.0], dtype=np.float32)  # of the field of view, in MNI space
# Columns and rows of the image, and the normal of the plane, as directions in MNI space.
AXES: Mapping[str, tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]] = {
    "axial": ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "sagittal": ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
}


@dataclass(frozen=True)
class Subject:
    """One simulated person in one simulated scanner. `lesion` is there in healthy subjects too, unseen: it only places
    the slices."""

    name: str
    label: str
    head: Head
    lesion: Lesion
    rotation: np.ndarray
    zoom: float
    mirrored: bool
    bias: Waves
    bias_strength: float
    noise: float
    blur_mm: float


def make_phantom(
    out: Path,
    *,
    seed: int = 0,
    subjects: int = 144,
    size: int = 128,
    slices_per_subject: int = 9,
    progress: bool = True,
) -> Path:
    """Write the phantom set to the new folder `out`: `{label}/{subject}_{plane}_{k}.png` (8-bit greyscale, `size` x
    `size`), `groups.csv` (`file_name,group_id`; the group is the subject), `outlines.csv` (`path,polygon`, of the
    solid part of each lesion, see brainmri.data.masks) and `simulated.json`, by which these very images are known
    as simulated (see brainmri.data.provenance). Returns `out`.

    The same arguments give the same bytes. `out` appears only when it is complete.

    Args:
        seed: of everything drawn.
        subjects: how many, dealt evenly to the four classes; at least 4.
        size: side of the images in pixels, at least 32; the field of view is 240 mm.
        slices_per_subject: the mean over the classes, at least 4; the planes share them evenly.
        progress: whether to show a progress bar, on a terminal.

    Raises:
        ValueError: for numbers out of range, or if `out` exists and is not an empty folder.
    """
    for name, value, least in (
        ("subjects", subjects, 4),
        ("size", size, 32),
        ("slices_per_subject", slices_per_subject, 4),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}, but must be at least {least}")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists already: remove it, or name another folder for the phantom set")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as partial:
        whole = Path(partial) / "phantom"
        rows: list[tuple[str, str]] = []
        outlines: list[tuple[str, str]] = []
        pixels: dict[str, str] = {}
        for label in CLASSES:
            (whole / label).mkdir(parents=True)
        for number in tqdm(range(subjects), desc="phantom subjects", disable=None if progress else True):
            rng = np.random.default_rng([seed, number])
            subject = draw_subject(rng, number)
            count = round(slices_per_subject * SHARE[subject.label])
            for plane, k, image, solid in draw_slices(rng, subject, count, size):
                file_name = f"{subject.label}/{subject.name}_{plane}_{k:02d}.png"
                source = Image.fromarray(image)
                source.save(whole / file_name)
                pixels[file_name] = pixel_hash(source)
                rows.append((file_name, subject.name))
                if subject.label != "notumor":
                    outlines += [(file_name, polygon) for polygon in polygons_of(solid)]
        for name, heading, table in (
            ("groups.csv", ("file_name", "group_id"), rows),
            ("outlines.csv", ("path", "polygon"), outlines),
        ):
            with (whole / name).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([heading, *sorted(table)])
        write_record(whole, generator=__name__, version=PHANTOM_VERSION, seed=seed, images=pixels)
        if out.exists():
            out.rmdir()
        whole.rename(out)
    return out


def phantom_thumbnails(subjects: int) -> np.ndarray:
    """Slices of the first subjects, 9 of each on average: uint8, shape (N, 64, 64). The same at each call."""
    slices = []
    for number in range(subjects):
        rng = np.random.default_rng([0, number])
        slices += [image for _, _, image, _ in draw_slices(rng, draw_subject(rng, number), 9, 64)]
    return np.stack(slices)


def draw_subject(rng: np.random.Generator, number: int) -> Subject:
    """Subject `number`: its class, sequence and (if healthy) unseen lesion go in turn, all else comes from `rng`."""
    label = CLASSES[number % len(CLASSES)]
    turn = number // len(CLASSES)
    sequence = SEQUENCES[turn % len(SEQUENCES)]
    lesion = list(LESIONS)[turn // len(SEQUENCES) % len(LESIONS)] if label == "notumor" else label
    tilt = np.deg2rad(rng.normal(0, 4, size=3).clip(-10, 10))
    return Subject(
        name=f"s{number:03d}",
        label=label,
        head=Head(rng, sequence),
        lesion=LESIONS[lesion](rng),
        rotation=_rotation(tilt),
        zoom=rng.uniform(0.92, 1.08),
        mirrored=bool(rng.random() < 0.5),
        bias=Waves(rng, (150, 400), waves=4),
        bias_strength=rng.uniform(0.04, 0.14),
        noise=rng.uniform(0.01, 0.03),
        blur_mm=rng.uniform(0.0, 1.2),
    )


def draw_slices(
    rng: np.random.Generator, subject: Subject, count: int, size: int
) -> list[tuple[str, int, np.ndarray, np.ndarray]]:
    """`count` slices through the lesion (or where it would be), spread over its extent in each of the three planes.

    Returns (plane, k, image uint8 (size, size), solid part of the lesion as bool (size, size)) for each slice.
    """
    slices = []
    first = rng.integers(len(PLANES))  # which planes get one more where the count is no multiple of three
    for turn in range(len(PLANES)):
        plane = PLANES[(first + turn) % len(PLANES)]
        number = (count - turn + len(PLANES) - 1) // len(PLANES)
        shift = rng.normal(0, 6, size=2).clip(-14, 14).astype(np.float32)
        for k in range(number):
            offset = 0.8 * subject.lesion.radius * (2 * (k + rng.uniform(0.1, 0.9)) / number - 1)
            slices.append((plane, k, *_draw_slice(rng, subject, plane, offset, shift, size)))
    return slices


def _draw_slice(
    rng: np.random.Generator, subject: Subject, plane: str, offset: float, shift: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """One slice, `offset` mm beside the lesion's centre, or as much nearer as it takes to cut the lesion."""
    head, lesion = subject.head, subject.lesion
    spacing = FIELD_OF_VIEW_MM / size * subject.zoom
    column, row, normal = (subject.rotation @ np.array(axis, dtype=np.float32) for axis in AXES[plane])
    if subject.mirrored:
        column = -column
    steps = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * spacing
    grid = (steps[:, None, None] + shift[0]) * row + (steps[None, :, None] + shift[1]) * column
    grid = grid.reshape(-1, 3) + CENTRE
    level = float((head.from_template(lesion.centre) - CENTRE) @ normal)
    while True:
        world = grid + (level + offset) * normal
        points = head.to_template(world)
        solid = lesion.depth(points) > 0
        if solid.sum() * spacing**2 >= SMALLEST_CUT_MM2 or abs(offset) < 0.5:
            break
        offset /= 2
    if subject.label == "notumor":
        image = head.draw(points, points)
    else:
        image = head.draw(points, lesion.push(points))
        lesion.paint(image, points, head)
    image *= np.exp(subject.bias_strength * subject.bias(world))
    return _scan(rng, subject, image.reshape(size, size), spacing), solid.reshape(size, size)


def _scan(rng: np.random.Generator, subject: Subject, image: np.ndarray, spacing: float) -> np.ndarray:
    """Signal -> 8-bit image: blur, noise in both receiver channels (Rician), a window like a viewer's."""
    image = gaussian_filter(image, subject.blur_mm / spacing)
    real, imaginary = rng.normal(0, subject.noise, size=(2, *image.shape)).astype(np.float32)
    image = np.hypot(image + real, imaginary)
    white = rng.uniform(0.78, 0.98)
    return np.round(255 * np.clip(image / white, 0, 1) ** rng.uniform(0.85, 1.2)).astype(np.uint8)


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) from angles in radians about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix.astype(np.float32)
