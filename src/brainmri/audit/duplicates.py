"""What repeats in a data set: equal pixels, one image in several forms, slices that look like neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from brainmri.data.checking import Checked, check_files
from brainmri.data.class_names import contradictions, contradictory_sets
from brainmri.data.duplicates.copies import Copies, find_copies
from brainmri.data.duplicates.grouping import LOOKS_ALIKE, SAME_GROUP, Grouping, by_appearance, find_groups, joined
from brainmri.data.duplicates.index import near_pairs
from brainmri.data.duplicates.similarity import SIGNS, best_correlation, symmetry_components, whitened_descriptors
from brainmri.data.layouts import detect_layout, read_layout, unwrapped
from brainmri.errors import writing
from brainmri.schemas import Repetitions, SharedImages

# From the strictest to the loosest; each holds the one before it. The column tells which images belong together.
KINDS = {"exact": "pixels", "same_picture": "duplicate_id", "neighbour": "group_id"}
BLOCK = 512  # images of one group compared with all of it at once; bounds the memory


def groups_of(scan: Scan, same_group: float = SAME_GROUP) -> Grouping:
    """As `prepare_data.py` groups them. same_group: as of `brainmri.data.duplicates.grouping.find_groups`."""
    given = [""] * len(scan.table)
    return find_groups(scan.thumbnails, given, contents=scan.contents, names=series_names(scan), same_group=same_group)


def with_copies(found: Grouping, thumbnails: np.ndarray) -> tuple[Grouping, Copies]:
    """The groups with those joined that hold copies turned by 90 degrees, inverted or cut; and these copies."""
    copies = find_copies(thumbnails, found.image)
    image, group = (joined(labels, copies.first, copies.second) for labels in (found.image, found.group))
    return Grouping(by_appearance(image), by_appearance(group)), copies


def series_names(scan: Scan) -> list[str]:
    """The files' names, with those of the second data set in a folder of their own: no series runs through both."""
    names = scan.table["file_name"]
    return names.where(~scan.table["other"], "other/" + names).tolist()


def repetitions(scan: Scan) -> tuple[pd.DataFrame, Copies]:
    """`scan.table` with `duplicate_id`, `group_id`, `kind` and `score`; and the copies that were turned or changed.

    kind: the strictest of `KINDS` that the image shares with another one, or `alone`. score: its highest correlation
    (at the best of four poses, or with such a copy) with another image of its group, -1..1; NaN if it is alone.
    """
    found, copies = with_copies(groups_of(scan), scan.thumbnails)
    score = _nearest(symmetry_components(scan.thumbnails), found.group)
    for rows in (copies.first, copies.second):
        np.fmax.at(score, rows, copies.similarity)
    table = scan.table.assign(
        duplicate_id=[f"p{number:05d}" for number in found.image],
        group_id=[f"g{number:05d}" for number in found.group],
    )
    kind = pd.Series("alone", index=table.index)
    for name, column in reversed(KINDS.items()):
        kind[table[column].duplicated(keep=False)] = name
    return table.assign(kind=kind, score=score), copies


def contradicting_labels(table: pd.DataFrame) -> set[frozenset[str]]:
    """The pairs of labels that cannot both be true of one image; the two data sets may name their classes otherwise."""
    return contradictions(*(rows["label"].unique() for _, rows in table.groupby("other")))


def counts(table: pd.DataFrame) -> list[Repetitions]:
    """What repeats, by each kind."""
    rows = []
    pairs = contradicting_labels(table)
    for kind, column in KINDS.items():
        sizes = table[column].map(table[column].value_counts())
        mixed = table[table[column].isin(contradictory_sets(table[column], table["label"], pairs))]
        rows.append(
            Repetitions(
                kind=kind,
                images=int((sizes > 1).sum()),
                sets=int(table.loc[sizes > 1, column].nunique()),
                largest=int(sizes.max()),
                contradictory=[sorted(names) for _, names in mixed.groupby(column)["file_name"]],
                across=_across(table, column),
            )
        )
    return rows


def example_pairs(scan: Scan, table: pd.DataFrame, copies: Copies, count: int) -> dict[str, list[tuple[int, int]]]:
    """Up to `count` pairs of rows for each kind, spread evenly over its scores, the least alike first.

    table, copies: of `repetitions`. Beside the kinds: `changed`, an image and a copy that was turned by 90 degrees,
    inverted or cut; `contradictory`, one image under two labels that cannot both be true, and `other`, one image in
    both data sets. Pairs whose images correlate below 0.90 are not among them.
    """
    first, second, correlation = near_pairs(scan.thumbnails, LOOKS_ALIKE)
    together = {kind: _equal(table[column], first, second) for kind, column in KINDS.items()}
    chosen = {
        "exact": together["exact"],
        "same_picture": together["same_picture"] & ~together["exact"],
        "neighbour": together["neighbour"] & ~together["same_picture"],
        "contradictory": together["same_picture"] & _contradict(table, first, second),
        "other": together["same_picture"] & ~_equal(table["other"], first, second),
    }
    structure = whitened_descriptors(scan.thumbnails)
    examples = {}
    for name, mask in chosen.items():
        pairs = first[mask], second[mask]
        score = best_correlation(structure, *pairs) if name == "neighbour" else correlation[mask]
        rows = _spread(np.lexsort((pairs[1], pairs[0], score)), count)
        examples[name] = [(int(pairs[0][row]), int(pairs[1][row])) for row in rows]
    rows = _spread(np.argsort(copies.similarity, kind="stable"), count)
    examples["changed"] = [(int(copies.first[row]), int(copies.second[row])) for row in rows]
    return examples


def _across(table: pd.DataFrame, column: str) -> list[SharedImages]:
    held = {part: set(rows[column]) for part, rows in table.groupby("part", sort=False)}
    return [
        SharedImages.model_validate(
            {
                "part": part,
                "in": within,
                "images": int(table.loc[table["part"] == part, column].isin(held[within]).sum()),
                "of": int((table["part"] == part).sum()),
            }
        )
        for part, within in permutations(held, 2)
    ]


def _equal(values: pd.Series, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    codes = pd.factorize(values)[0]
    return codes[first] == codes[second]


def _spread(order: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` of these, evenly."""
    return order[np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))] if len(order) else order


def _contradict(table: pd.DataFrame, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    codes, names = pd.factorize(table["label"])
    pairs = contradicting_labels(table)
    apart = np.array([[frozenset((one, other)) in pairs for other in names] for one in names], dtype=bool)
    return np.asarray(apart[codes[first], codes[second]])


def _nearest(parts: np.ndarray, group: np.ndarray) -> np.ndarray:
    """float64 (N,): the highest correlation of each image with another one of its group; NaN where it is alone."""
    best = np.full(len(parts), np.nan)
    order = np.argsort(group, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        for start in range(0, len(members) if len(members) > 1 else 0, BLOCK):
            rows = members[start : start + BLOCK]
            dots = np.einsum("nkp,mkp->nmk", parts[rows], parts[members], optimize=True)
            correlation = np.max(dots @ SIGNS.T, axis=2)
            correlation[np.arange(len(rows)), start + np.arange(len(rows))] = -np.inf
            best[rows] = correlation.max(axis=1)
    return best


@dataclass(frozen=True)
class Called:
    """What a data set and its files are called, where that is not what their folder and paths say.

    files: by the path in the folder.
    """

    name: str
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scan:
    """What was read.

    table: a row for each usable image: `file_name` (relative to its data set), `label`, `part` (its split, or the
    data set's name where it has no splits or is the second one), `other` (whether it is of the second data set),
    `pixels` (hash of the decoded pixels), `format` and `bytes` of its file, and `path` (the image alone, in a file of
    its own). thumbnails, contents: uint8 (N, 64, 64), in the same order: whole images, and without their borders.
    rejected: `file_name` and `reason` of the files of both that are no images.
    """

    name: str
    against: str | None
    table: pd.DataFrame
    thumbnails: np.ndarray
    contents: np.ndarray
    rejected: pd.DataFrame


def scan(source: Path, against: Path | None, folder: Path, called: Sequence[Called] = ()) -> Scan:
    """Read every image of `source` and, if given, of a second data set. Neither is changed.

    folder: an empty one, where a copy of every image is put; it must stay as long as the scan is used. called: the
    data sets and their files, in the place of the names that they have there.

    Raises:
        ValueError: if one of them has no known layout, or no usable image.
        OSError: if there is no space in `folder`; says how much there is.
    """
    called = called or [Called(set_name(one)) for one in (source, against) if one]
    with writing(folder, instead="set TMPDIR to a folder on another disk"):
        parts = [_read(source, folder / "own", called[0], other=False)]
        if against:
            parts.append(_read(against, folder / "other", called[1], other=True))
    tables, checked = zip(*parts, strict=True)
    if against:
        name = called[1].name
        while name in {called[0].name, *tables[0]["part"]}:  # the two would be told apart by nothing
            name = f"{name} (other)"
        tables[1]["part"] = name
    return Scan(
        name=called[0].name,
        against=name if against else None,
        table=pd.concat(tables, ignore_index=True),
        thumbnails=np.concatenate([one.thumbnails for one in checked]),
        contents=np.concatenate([one.contents for one in checked]),
        rejected=pd.concat([one.rejected for one in checked], ignore_index=True).rename(columns={"path": "file_name"}),
    )


def set_name(source: Path) -> str:
    """What a data set is called: its folder, or its table without the suffix."""
    return source.resolve().stem if source.is_file() else source.resolve().name


def _read(source: Path, folder: Path, called: Called, *, other: bool) -> tuple[pd.DataFrame, Checked]:
    source = unwrapped(source)
    layout = detect_layout(source)
    root = source.parent if source.is_file() else source
    folder.mkdir()
    checked = check_files(root, read_layout(source, layout), layout, folder)
    names = dict(called.files)
    for part in (checked.usable, checked.rejected):
        part["path"] = [names.get(path, path) for path in part["path"]]
    rows = checked.usable
    table = rows[["path", "label", "pixels", "format", "bytes"]].rename(columns={"path": "file_name"})
    table["part"] = called.name if other else rows["source_split"].where(rows["source_split"] != "", called.name)
    table["other"] = other
    table["path"] = rows["staged"]
    return table, checked
