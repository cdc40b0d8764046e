"""What the audit finds of copies that were turned, inverted or cut, whom it joins wrongly, and what that costs.

    python -m benchmarks.copies DATA --out FOLDER

Of `--images` images of DATA, drawn at random, 60 distinct ones for each of `KINDS` are changed in that way, encoded
again as JPEG, and looked for among all drawn images: by the groups that `brainmri prepare` makes ("groups"), and by
these and the search for copies of `brainmri audit` ("copies"), timed one after the other in one process. Pairs of drawn
images that the second search joins and the first keeps in two groups are drawn into joined.png: copies that DATA holds
itself, or strangers; who looks at them can tell. The figures go into FOLDER/result.json.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from brainmri.audit.duplicates import with_copies
from brainmri.data.duplicates.copies import Copies
from brainmri.data.duplicates.grouping import Grouping, find_groups
from brainmri.data.thumbnails import content_thumbnail, thumbnail
from brainmri.io.read import read_image

SUFFIXES = (".jpg", ".jpeg", ".png")
CHANGED = 60  # images of each kind
QUALITY = 90  # of the JPEG that a copy is written as
TILE = 160
Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def _turned(how: Image.Transpose) -> Change:
    return lambda image, rng: image.transpose(how)


def _cut(share: float, *, middle: bool) -> Change:
    """Keep `share` of both sides, in the middle or anywhere."""

    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        left, top = (1 - share) * (np.full(2, 0.5) if middle else rng.random(2))
        box = (left * image.width, top * image.height, (left + share) * image.width, (top + share) * image.height)
        return image.crop(tuple(round(edge) for edge in box))

    return change


def _rims(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut up to 15 % off each of the four sides."""
    left, top, right, bottom = rng.uniform(0, 0.15, 4)
    box = (left * image.width, top * image.height, (1 - right) * image.width, (1 - bottom) * image.height)
    return image.crop(tuple(round(edge) for edge in box))


KINDS: dict[str, Change] = {
    "mirrored": _turned(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned by 180 degrees": _turned(Image.Transpose.ROTATE_180),
    "turned by 90 degrees": _turned(Image.Transpose.ROTATE_90),
    "turned by 270 degrees": _turned(Image.Transpose.ROTATE_270),
    "mirrored along a diagonal": _turned(Image.Transpose.TRANSPOSE),
    "inverted": lambda image, rng: ImageOps.invert(image),
    "middle 95 % kept": _cut(0.95, middle=True),
    "middle 90 % kept": _cut(0.9, middle=True),
    "middle 80 % kept": _cut(0.8, middle=True),
    "any 90 % kept": _cut(0.9, middle=False),
    "any 80 % kept": _cut(0.8, middle=False),
    "any 70 % kept": _cut(0.7, middle=False),
    "up to 15 % cut off each side": _rims,
}


def measure(data: Path, out: Path, count: int) -> dict[str, Any]:
    """Write result.json and joined.png into `out`, and return what result.json holds.

    Raises:
        ValueError: if too few of the images are distinct.
    """
    files = sorted(file for file in data.rglob("*") if file.suffix.lower() in SUFFIXES)
    files = [files[row] for row in np.sort(np.random.default_rng(0).permutation(len(files))[:count])]
    images = [read_image(file).image.convert("L") for file in files]
    views = np.stack([thumbnail(image) for image in images]), np.stack([content_thumbnail(image) for image in images])
    groups, all_copies, copies, seconds = _searched(*views)
    distinct = np.unique(groups.image, return_index=True)[1]
    if len(distinct) < CHANGED * len(KINDS):
        raise ValueError(f"{len(distinct)} distinct images; {CHANGED * len(KINDS)} are needed")
    chosen = np.random.default_rng(1).permutation(distinct)[: CHANGED * len(KINDS)]
    changed = []
    for number, change in enumerate(KINDS.values()):
        rng = np.random.default_rng([2, number])
        changed += [_encoded(change(images[row], rng)) for row in chosen[number * CHANGED :][:CHANGED]]
    before, after, _, with_changed = _searched(
        np.concatenate([views[0], np.stack([thumbnail(image) for image in changed])]),
        np.concatenate([views[1], np.stack([content_thumbnail(image) for image in changed])]),
    )
    strange = [k for k in range(len(copies.first)) if groups.group[copies.first[k]] != groups.group[copies.second[k]]]
    names = [str(file.relative_to(data)) for file in files]
    kinds: list[dict[str, Any]] = []
    for number, name in enumerate(KINDS):
        rows = np.arange(number * CHANGED, (number + 1) * CHANGED)
        kinds.append({"kind": name, "copies": CHANGED})
        for search, found, truth in (("groups", before, groups), ("copies", after, all_copies)):
            copy, own = found.image[len(files) + rows], found.image[: len(files)]
            others = truth.image[chosen[rows]][:, None] != truth.image
            kinds[-1][search] = {
                "found": int((copy == own[chosen[rows]]).sum()),
                "wrong": int(((copy[:, None] == own) & others).any(axis=1).sum()),
            }
    result = {
        "images": len(files),
        "seconds": seconds,
        "seconds_with_changed": with_changed,
        "joined": [
            [names[copies.first[k]], names[copies.second[k]], copies.form[k], round(float(copies.similarity[k]), 3)]
            for k in strange
        ],
        "kinds": kinds,
    }
    out.mkdir(parents=True, exist_ok=True)
    _draw([(images[copies.first[k]], images[copies.second[k]]) for k in strange], out / "joined.png")
    (out / "result.json").write_text(json.dumps(result, indent=1))
    return result


def _searched(thumbnails: np.ndarray, contents: np.ndarray) -> tuple[Grouping, Grouping, Copies, dict[str, float]]:
    start = time.process_time()
    groups = find_groups(thumbnails, [""] * len(thumbnails), contents=contents)
    middle = time.process_time()
    after, copies = with_copies(groups, thumbnails)
    end = time.process_time()
    return groups, after, copies, {"groups": round(middle - start, 2), "copies": round(end - start, 2)}


def _encoded(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return Image.open(file).convert("L")


def _draw(pairs: list[tuple[Image.Image, Image.Image]], path: Path) -> None:
    sheet = Image.new("L", (2 * TILE, TILE * max(1, len(pairs))))
    for row, pair in enumerate(pairs):
        for column, image in enumerate(pair):
            sheet.paste(image.resize((TILE, TILE)), (column * TILE, row * TILE))
    sheet.save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1600)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.data, arguments.out, arguments.images), indent=1))
