"""Copies that other tools find, beside the audit's: the changed images of `benchmarks.copies`, the same for all.

    pip install imagehash
    python -m benchmarks.copies_peers DATA --out FOLDER --fastdup /path/to/python

A perceptual hash of 64 bits (package ImageHash) is taken of each image and of its three mirrors: two images are copies
where the nearest of the four differs in at most `BITS`. fastdup runs in an environment of its own, which pins old
versions of numpy and Pillow: its pairs from a similarity of `SIMILAR` on. Each tool sees the same JPEG files. FOLDER
gets images/ and result.json: for each kind of change how many of the copies are found, how many of them are joined with
another image, and the seconds of processor time. The audit's groups say which of DATA's own images are one image; its
own joins count with all that follow from them, those of the others by single pairs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from benchmarks.copies import CHANGED, KINDS, QUALITY, SUFFIXES
from brainmri.audit.duplicates import with_copies
from brainmri.data.duplicates.grouping import find_groups
from brainmri.data.thumbnails import content_thumbnail, thumbnail
from brainmri.io.read import read_image

BITS = 8  # of 64
SIMILAR = 0.96  # fastdup's own limit for near duplicates
BLOCK = 256
Pairs = set[tuple[int, int]]
FASTDUP = """
import sys, fastdup
work, images = sys.argv[1:3]
found = fastdup.create(work_dir=work, input_dir=images)
found.run(threshold={similar}, overwrite=True, num_images=0)
found.similarity().to_csv(work + "/pairs.csv", index=False)
"""


def measure(data: Path, out: Path, count: int, fastdup: Path | None) -> dict[str, Any]:
    """Write images/ and result.json into `out`, and return what result.json holds."""
    files = sorted(file for file in data.rglob("*") if file.suffix.lower() in SUFFIXES)
    files = [files[row] for row in np.sort(np.random.default_rng(0).permutation(len(files))[:count])]
    images = [read_image(file).image.convert("L") for file in files]
    views = [np.stack([make(image) for image in images]) for make in (thumbnail, content_thumbnail)]
    truth = with_copies(find_groups(views[0], [""] * len(images), contents=views[1]), views[0])[0].image
    distinct = np.unique(truth, return_index=True)[1]
    chosen = np.random.default_rng(1).permutation(distinct)[: CHANGED * len(KINDS)]
    for number, change in enumerate(KINDS.values()):
        rng = np.random.default_rng([2, number])
        images += [change(images[row], rng) for row in chosen[number * CHANGED :][:CHANGED]]
    folder = out / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for row, image in enumerate(images):
        image.save(folder / f"{row:05d}.jpg", "JPEG", quality=QUALITY)
    seen = [Image.open(folder / f"{row:05d}.jpg").convert("L") for row in range(len(images))]
    ways = {"brainmri audit": _audit, "perceptual hash, four forms": _hashes}
    found = {}
    for name, way in ways.items():
        start = time.process_time()
        pairs = way(seen)
        found[name] = _judged(pairs, truth, chosen, count) | {"seconds": round(time.process_time() - start, 1)}
    if fastdup:
        before = _children()
        pairs = _fastdup(folder, out / "fastdup", fastdup)
        found["fastdup"] = _judged(pairs, truth, chosen, count) | {"seconds": round(_children() - before, 1)}
    result = {"images": count, "copies_of_each_kind": CHANGED, "bits": BITS, "similar": SIMILAR, "tools": found}
    (out / "result.json").write_text(json.dumps(result, indent=1))
    return result


def _judged(pairs: Pairs, truth: np.ndarray, chosen: np.ndarray, count: int) -> dict[str, Any]:
    """Of each kind: copies that are joined with their own image, and those joined with another one."""
    joined: dict[int, set[int]] = {}
    for one, other in pairs:
        if one < count <= other:
            joined.setdefault(other, set()).add(one)
    found, wrong = {}, {}
    for number, name in enumerate(KINDS):
        rows = range(number * CHANGED, (number + 1) * CHANGED)
        own = [{int(truth[one]) for one in joined.get(count + row, set())} for row in rows]
        found[name] = sum(int(truth[chosen[row]]) in images for row, images in zip(rows, own, strict=True))
        wrong[name] = sum(bool(images - {int(truth[chosen[row]])}) for row, images in zip(rows, own, strict=True))
    return {"found": found, "wrong": wrong, "all_found": sum(found.values()), "all_wrong": sum(wrong.values())}


def _audit(images: list[Image.Image]) -> Pairs:
    whole = np.stack([thumbnail(image) for image in images])
    groups = find_groups(whole, [""] * len(images), contents=np.stack([content_thumbnail(image) for image in images]))
    labels = with_copies(groups, whole)[0].image
    return {(one, other) for label in np.unique(labels) for one, other in _all(np.flatnonzero(labels == label))}


def _all(members: np.ndarray) -> list[tuple[int, int]]:
    return [(int(one), int(other)) for k, one in enumerate(members) for other in members[k + 1 :]]


def _hashes(images: list[Image.Image]) -> Pairs:
    from imagehash import phash

    forms = (lambda image: image, ImageOps.mirror, ImageOps.flip, lambda image: ImageOps.flip(ImageOps.mirror(image)))
    bits = np.array([[phash(form(image)).hash.ravel() for form in forms] for image in images], np.float32)
    found: Pairs = set()
    for start in range(0, len(images), BLOCK):
        apart = np.min(
            [np.abs(bits[start : start + BLOCK, None, 0] - bits[None, :, k]).sum(axis=2) for k in range(len(forms))],
            axis=0,
        )
        found |= {(start + int(one), int(two)) for one, two in np.argwhere(apart <= BITS) if start + one < two}
    return found


def _fastdup(folder: Path, work: Path, python: Path) -> Pairs:
    subprocess.run([python, "-c", FASTDUP.format(similar=SIMILAR), work, folder], check=True, stdout=subprocess.DEVNULL)
    import pandas as pd

    table = pd.read_csv(work / "pairs.csv")
    rows = [[int(Path(name).stem) for name in table[column]] for column in ("filename_from", "filename_to")]
    return {(min(pair), max(pair)) for pair in zip(*rows, strict=True)}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--fastdup", type=Path, help="Python of an environment that has fastdup")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.data, arguments.out, arguments.images, arguments.fastdup), indent=1))
