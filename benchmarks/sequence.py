"""Fits and measures the estimate of sequence and plane (`brainmri.evaluation.sequence`).

    python -m benchmarks.sequence fit OUT.safetensors [--slices N] [--epochs N]
    python -m benchmarks.sequence measure TABLE.csv IMAGES

It is fitted on simulated slices alone. Heads of the phantom set (the MNI152 template with a simulated skull, scalp and
face) are drawn in contrasts that the physics of each sequence fixes by its order: CSF is dark in T1 and FLAIR, and
bright in T2, white matter is brighter than grey in T1 and darker in T2 and FLAIR, fat is bright unless it is
suppressed, and a contrast agent brightens vessels, sinuses, mucosa, gland and many lesions. All else is drawn at
random.

TABLE.csv has the columns file_name,sequence,plane of images in the folder IMAGES whose sequence and plane are known
("" where not); "T1" stands for T1 whose contrast agent is not known.
"""

from __future__ import annotations

import argparse
import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file
from scipy.ndimage import gaussian_filter, laplace
from torch import nn
from torch.nn import functional
from tqdm.auto import tqdm

from brainmri.data.phantom.anatomy import SELLA, Head, Waves, blend, load_template, step
from brainmri.data.phantom.generate import AXES, CENTRE, _rotation
from brainmri.data.tables import read_csv
from brainmri.evaluation.sequence import (
    ESTIMATED_PLANES,
    OUTPUTS,
    SIDE,
    head_view,
    looks,
    standardized,
)
from brainmri.io.read import prepared_image
from brainmri.io.sequence import OTHER, T1_CONTRAST, T1_KINDS, UNKNOWN

CHANNELS = (1, 16, 24, 32, 32)
DEALT = (0, 1, 2, 3, 0, 1, 2, 3, 4)  # sequences of the slices in turn: few of what is no T1, T2, PD or FLAIR
BATCH, LEARNING_RATE, SMOOTHING, PLANE_WEIGHT = 128, 4e-3, 0.05, 0.7
SCANS = 2  # of each slice, by different scanners

LEVELS = {"axial": (-52, 66), "coronal": (-88, 58), "sagittal": (-62, 62)}  # mm from `CENTRE`
VESSELS = np.array(
    [[14, 6, -28], [-14, 6, -28], [0, -22, -34], [30, 2, -20], [-30, 2, -20], [0, -38, 4], [12, -34, 8], [-12, -34, 8]],
    dtype=np.float32,
)


def signals(rng: np.random.Generator, sequence: str) -> dict[str, float]:
    """The brightness of each tissue, 0..1, in an order that the sequence fixes."""
    u = rng.uniform
    if sequence.startswith("T1"):
        csf = u(0.02, 0.25)
        grey = csf + u(0.12, 0.4)
        white = grey + (u(0.0, 0.08) if sequence == T1_CONTRAST and rng.random() < 0.6 else u(0.04, 0.3))
        scalp = white * u(1.0, 2.2)
        muscle = grey * u(0.7, 1.1)
        bone = u(0.0, 0.08)
        gland = grey * u(0.9, 1.2)
        if sequence == T1_CONTRAST:
            muscle, gland = muscle * u(1.0, 1.3), white * u(1.1, 2.2)
    elif sequence == "T2/PD":
        white = u(0.12, 0.45)
        grey = white + u(0.04, 0.22)
        csf = grey + u(0.15, 0.6) if rng.random() < 0.85 else grey * u(0.95, 1.15)  # proton density: no contrast to CSF
        scalp, muscle, bone = u(0.3, 1.0), white * u(0.4, 1.0), u(0.0, 0.1)
        gland = grey
    elif sequence == "FLAIR":
        csf = u(0.0, 0.18)
        white = csf + u(0.15, 0.5)
        grey = white * u(1.02, 1.45)
        scalp, muscle, bone = white * u(0.9, 2.2), white * u(0.5, 1.0), u(0.0, 0.1)
        gland = grey
    else:  # computed tomography
        csf = u(0.1, 0.3)
        grey = csf + u(0.05, 0.2)
        white = grey - u(0.0, 0.05)
        scalp, muscle, bone, gland = u(0.05, 0.3), u(0.2, 0.4), u(1.2, 3.0), grey
    if sequence != OTHER and rng.random() < 0.2:
        scalp = u(0.1, 0.5) * white  # suppressed fat
    return {"csf": csf, "grey": grey, "white": white, "bone": bone, "scalp": scalp, "muscle": muscle, "gland": gland}


def enhance(
    rng: np.random.Generator, image: NDArray[np.float32], points: NDArray[np.float32], signal: dict[str, float]
) -> None:
    """A contrast agent in veins, arteries, mucosa and choroid plexus, in place."""
    template = load_template()
    depth = template.skull_depth(points)
    bright = max(signal["white"] * rng.uniform(1.3, 2.6), 0.3)
    x, y, z = points.T
    middle = np.minimum(rng.uniform(2, 5) - np.abs(x), np.minimum(depth + 1, rng.uniform(4, 8) - depth))
    blend(image, bright, np.where(z > -20, middle, -1))
    side = np.minimum(rng.uniform(2, 5) - np.abs(z + 24), np.minimum(depth, rng.uniform(4, 8) - depth))
    blend(image, bright, np.where(y < -35, side, -1))
    if rng.random() < 0.6:
        blend(image, bright * rng.uniform(0.6, 1), np.minimum(depth + 0.5, rng.uniform(0.8, 2) - depth))
    for centre in VESSELS:
        if rng.random() < 0.7:
            spot = (points - centre - rng.normal(0, 3, 3).astype(np.float32)) / rng.uniform(0.6, 2.5, 3).astype(
                np.float32
            )
            blend(image, bright, 2.2 - np.linalg.norm(spot, axis=1))
    for _ in range(rng.integers(0, 14)):
        centre = rng.uniform((-60, -90, -35), (60, 60, 60)).astype(np.float32)
        spot = (
            (points - centre)
            @ _rotation(rng.uniform(0, 3, 3))
            / rng.uniform((0.4, 0.4, 1), (0.8, 0.8, 7)).astype(np.float32)
        )
        blend(image, bright * rng.uniform(0.7, 1), np.minimum(2.0 - np.linalg.norm(spot, axis=1), depth))
    mucosa = Waves(rng, (6, 18), waves=8)(points)
    face = step(-depth - 8, 4) * step(y - 15, 6) * step(-z - 20, 6) * step(28 - np.abs(x), 6)
    image += face * step(mucosa - 0.8, 0.4) * (bright - image) * (image > 0.05)


def lesion(
    rng: np.random.Generator,
    image: NDArray[np.float32],
    points: NDArray[np.float32],
    sequence: str,
    signal: dict[str, float],
) -> None:
    """A mass with its oedema, in place."""
    depth = load_template().skull_depth(points)
    while True:
        centre = rng.uniform((-60, -85, -45), (60, 60, 65)).astype(np.float32)
        if load_template().skull_depth(centre[None])[0] > 0:
            break
    if rng.random() < 0.25:
        centre = SELLA + rng.normal(0, 3, 3).astype(np.float32)
    radius = rng.uniform(5, 26)
    wave = Waves(rng, (0.8 * radius, 3 * radius), waves=8)(points)
    inside = radius * (1 + 0.2 * wave) - np.linalg.norm(
        (points - centre) / rng.uniform(0.7, 1.3, 3).astype(np.float32), axis=1
    )
    oedema = np.minimum(inside + rng.uniform(0, 22), depth)
    bright = sequence in ("T2/PD", "FLAIR")
    white, csf = signal["white"], signal["csf"]
    around = (
        max(signal["grey"], csf if sequence == "T2/PD" else 0) * rng.uniform(1.0, 1.5)
        if bright
        else white * rng.uniform(0.65, 0.95)
    )
    image += step(oedema, 3) * load_template().white(points) * (around - image)
    core = max(signal["grey"] * rng.uniform(0.9, 2.0), 0) if bright else white * rng.uniform(0.5, 1.05)
    if sequence == T1_CONTRAST and rng.random() < 0.85:
        core = white * rng.uniform(1.2, 2.6)
    inside = np.minimum(inside, depth)
    texture = 1 + 0.15 * Waves(rng, (4, 14))(points)
    image += step(inside, 1.2) * (core * texture - image)
    if rng.random() < 0.4:
        hollow = (csf if sequence != "FLAIR" or rng.random() < 0.5 else core) * rng.uniform(0.9, 1.3)
        blend(image, hollow, inside - rng.uniform(2, 0.5 * radius + 2))


def drawn(rng: np.random.Generator, sequence: str, plane: str, size: int = 72) -> np.ndarray:
    """The signal of one slice, without noise: float32 (size, size)."""
    head = Head(rng, "t1c")
    head.signal = signals(rng, sequence)
    spacing = rng.uniform(180, 260) / size
    tilt = _rotation(np.deg2rad(rng.normal(0, 7, 3).clip(-18, 18)))
    column, row, normal = (tilt @ np.array(axis, dtype=np.float32) for axis in AXES[plane])
    if rng.random() < 0.5:
        column = -column
    steps = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * spacing
    shift = rng.normal(0, 8, 2).astype(np.float32)
    grid = ((steps[:, None, None] + shift[0]) * row + (steps[None, :, None] + shift[1]) * column).reshape(-1, 3)
    world = (grid + CENTRE + rng.uniform(*LEVELS[plane]) * normal).astype(np.float32)
    points = head.to_template(world)
    depth = load_template().skull_depth(points)
    image = head.draw(points, points)
    if sequence == T1_CONTRAST:
        enhance(rng, image, points, head.signal)
    elif rng.random() < 0.3:  # a sinus without signal, or one that flow brightens a little
        blend(image, rng.uniform(0, 0.5), np.minimum(2.5 - np.abs(points[:, 0]), np.minimum(depth, 5 - depth)))
    if rng.random() < (0.7 if sequence == T1_CONTRAST else 0.5):
        lesion(rng, image, points, sequence, head.signal)
    if rng.random() < 0.15:  # without the skull
        image *= step(load_template().brain_depth(points) + rng.uniform(1, 4), 1)
    if sequence == OTHER:
        image = np.minimum(image, head.signal["grey"] * rng.uniform(1.3, 2.5))
    return image.reshape(size, size).astype(np.float32)


def scanned(rng: np.random.Generator, image: np.ndarray, *, filtered: bool = False) -> np.ndarray:
    """The slice as a scanner, a viewer and a file leave it: uint8, of the same size. filtered: no MRI any more."""
    down, across = np.mgrid[0 : image.shape[0], 0 : image.shape[1]] / max(image.shape)
    a, b, c, d = rng.normal(0, 0.35, 4)
    image = image * np.exp(a * (down - 0.5) + b * (across - 0.5) + c * (down - 0.5) ** 2 + d * (across - 0.5) ** 2)
    image = gaussian_filter(image, rng.uniform(0, 0.7))
    noise = rng.uniform(0.0, 0.04) * np.quantile(image, 0.98)
    image = np.hypot(image + rng.normal(0, noise, image.shape), rng.normal(0, noise, image.shape))
    if filtered:  # inverted, or its edges alone
        image = image.max() - image if rng.random() < 0.4 else np.abs(laplace(image)) * rng.uniform(1, 3)
    white = np.quantile(image, rng.uniform(0.97, 1.0)) * rng.uniform(0.9, 1.3) + 1e-6
    image = np.clip(image / white, 0, 1) ** np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.2:
        image = rng.uniform(0, 0.12) + image * 0.85
    image = np.round(255 * image).astype(np.uint8)
    if rng.random() < 0.3:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=int(rng.integers(50, 95)))
        image = np.asarray(Image.open(buffer))
    return image


# ---------------------------------------------------------------------- fitting
def simulated(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Views (SCANS, N, SIDE, SIDE) of simulated slices, and their sequences and planes (N,), as class numbers."""
    views = np.empty((SCANS, count, SIDE, SIDE), np.uint8)
    sequences, planes = np.empty(count, np.int64), np.empty(count, np.int64)
    for k in tqdm(range(count), desc="drawing", unit="slice", disable=None):
        sequences[k], planes[k] = DEALT[k % len(DEALT)], k // len(DEALT) % len(ESTIMATED_PLANES)
        slice_ = drawn(np.random.default_rng([1, k]), OUTPUTS[sequences[k]], ESTIMATED_PLANES[planes[k]])
        for scan in range(SCANS):
            views[scan, k] = taken(np.random.default_rng([1, k, scan]), slice_, OUTPUTS[sequences[k]])
    return views, sequences, planes


def taken(rng: np.random.Generator, slice_: NDArray[np.float32], sequence: str) -> NDArray[np.uint8]:
    """The view of a slice that was scanned, cut and saved."""
    if rng.random() < 0.4:  # small fields of view cut something off
        top, bottom, left, right = rng.integers(0, 9, 4)
        slice_ = slice_[top : len(slice_) - bottom, left : len(slice_) - right]
    image = Image.fromarray(scanned(rng, slice_, filtered=sequence == OTHER and rng.random() < 0.5))
    if rng.random() < 0.3:  # pixels that are not square
        image = image.resize((max(20, int(image.width * rng.uniform(0.85, 1.15))), image.height))
    return head_view(image)


class Network(nn.Module):
    """Four convolutions of stride 2 and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(CHANNELS)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels) for channels in CHANNELS[1:]])
        self.drop = nn.Dropout(0.3)
        self.dense = nn.Linear(CHANNELS[-1] * (SIDE // 16) ** 2, len(OUTPUTS) + len(ESTIMATED_PLANES))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            values = functional.relu(norm(convolution(values)))
        outputs: torch.Tensor = self.dense(self.drop(values.flatten(1)))
        return outputs


def fit(out: Path, count: int, epochs: int) -> None:
    """Draw `count` slices, fit the network, and write its weights as `brainmri.evaluation.sequence` reads them."""
    views, sequences, planes = simulated(count)
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    network = Network()
    steps = epochs * count // BATCH
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in tqdm(range(steps), desc="fitting", unit="step", disable=None):
        rows = rng.integers(0, count, BATCH)
        batch = np.roll(views[rng.integers(0, SCANS, BATCH), rows], rng.integers(-3, 4, 2), (1, 2))
        outputs = network(torch.from_numpy(standardized(batch))[:, None])
        of_sequence, of_plane = outputs[:, : len(OUTPUTS)], outputs[:, len(OUTPUTS) :]
        loss = functional.cross_entropy(of_sequence, torch.from_numpy(sequences[rows]), label_smoothing=SMOOTHING)
        loss = loss + PLANE_WEIGHT * functional.cross_entropy(
            of_plane, torch.from_numpy(planes[rows]), label_smoothing=SMOOTHING
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    save_file(dict(folded(network)), out)


def folded(network: Network) -> dict[str, NDArray[np.float16]]:
    """The weights, each norm inside the convolution before it."""
    state, found = network.state_dict(), {}
    for number in range(len(CHANNELS) - 1):
        norm = {name: state[f"norms.{number}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
        scale = norm["weight"] / torch.sqrt(norm["running_var"] + 1e-5)
        found[f"kernel{number}"] = state[f"convolutions.{number}.weight"] * scale[:, None, None, None]
        bias = state[f"convolutions.{number}.bias"] - norm["running_mean"]
        found[f"bias{number}"] = bias * scale + norm["bias"]
    found |= {"dense": state["dense.weight"], "dense_bias": state["dense.bias"]}
    return {name: np.ascontiguousarray(values.detach().half().numpy()) for name, values in found.items()}


# ---------------------------------------------------------------------- measuring
def measure(file: Path, folder: Path) -> None:
    """Print how often the estimate is right on labelled images, and how often it is sure."""
    table = read_csv(file, ["file_name", "sequence", "plane"])
    found = [looks([prepared_image(folder / name)])[0] for name in tqdm(table["file_name"], disable=None)]
    table["said"], table["said_plane"] = [look.sequence for look in found], [look.plane for look in found]
    for known, said in (("sequence", "said"), ("plane", "said_plane")):
        rows = table[table[known] != ""]
        print(pd.crosstab(rows[known], rows[said]).to_string(), "\n")
        sure = rows[rows[said] != UNKNOWN]
        same = (sure[known].map(family) == sure[said].map(family)) if known == "sequence" else sure[known] == sure[said]
        print(f"{known}: sure of {len(sure):,} of {len(rows):,}, right of those {100 * same.mean():.1f} %\n")


def family(sequence: str) -> str:
    """T1 with and without contrast are one."""
    return "T1" if sequence in T1_KINDS else sequence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    fitting = commands.add_parser("fit")
    fitting.add_argument("out", type=Path)
    fitting.add_argument("--slices", type=int, default=7200)
    fitting.add_argument("--epochs", type=int, default=40)
    measuring = commands.add_parser("measure")
    measuring.add_argument("table", type=Path)
    measuring.add_argument("images", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "fit":
        fit(arguments.out, arguments.slices, arguments.epochs)
    else:
        measure(arguments.table, arguments.images)


if __name__ == "__main__":
    main()
