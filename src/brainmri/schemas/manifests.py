"""What proves that files belong together: `run.json`, `manifest.json` of a checkpoint, `made.json`; and what stands in
caches and unfinished outputs."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field

from brainmri.schemas.base import Record


class RunSettings(Record):
    """What the command line and the recipe say, before any data are read.

    Attributes:
        folds: their number, "sites" or "patients"; None for a run of one split.
        weights: as they were asked for.
        recipe: resolved, after every change.
        arguments: of each stage, the TrainingArguments that must agree, and `global_batch`.
        free: what may differ when a run goes on (`brainmri.runs.manifest.MAY_DIFFER`).
    """

    arch: str
    protocol: str
    positive: list[str] | None
    folds: int | str | None
    fold: int | None
    weights: str
    seed: int
    evaluate_train: bool
    sync_batchnorm: bool
    version: str
    recipe: dict[str, Any]
    arguments: list[dict[str, Any]]
    free: dict[str, Any]


class DataFacts(Record):
    """The facts of the data that must agree when a run goes on.

    Attributes:
        contents: a digest of the files. table: of what the run takes from `index.csv`: labels, splits, groups.
    """

    name: str
    contents: str
    table: str
    split: str
    split_seed: int
    classes: list[str]
    counts: dict[str, dict[str, int]]


class RunManifest(Record):
    """`run.json` of a run folder.

    Attributes:
        weights: where they came from, with their hash.
        replaces: the folder beside it that an earlier run was moved to, which comes back if this one makes no
            checkpoint.
    """

    schema_version: Literal[1] = 1
    created: str
    settings: RunSettings
    data: DataFacts
    weights: str
    replaces: str | None = None

    def digest(self) -> str:
        """The SHA-256 of all that must agree: equal digests, the same run."""
        text = self.model_dump_json(exclude={"created": True, "replaces": True, "settings": {"free"}})
        return hashlib.sha256(json.dumps(json.loads(text), sort_keys=True).encode()).hexdigest()


class SealedFile(Record):
    """name: relative to the folder, POSIX. size: in bytes."""

    name: str
    size: int
    sha256: str


class CheckpointManifest(Record):
    """`manifest.json`: what a folder held when it was whole.

    Attributes:
        run: the digest of the run (`RunManifest.digest`; `run.json` is among the files of a checkpoint); None outside
            a run.
        processes: that trained when it was written.
    """

    schema_version: Literal[1] = 1
    run: str | None
    processes: int
    files: list[SealedFile]


class MadePart(Record):
    """Attributes:
    inputs: a digest of what it was made of. files: that were written, relative to the folder, POSIX.
    """

    inputs: str
    files: list[str]


class Made(Record, extra="allow"):
    """`made.json` of an output folder: what each command made there, by its name and by part of what it makes."""

    __pydantic_extra__: dict[str, dict[str, MadePart]] = Field(init=False)
    schema_version: Literal[1] = 1

    def of(self, command: str) -> dict[str, MadePart]:
        """What a command made, by part; nothing where it made nothing."""
        return (self.__pydantic_extra__ or {}).get(command, {})


class PixelSettings(Record):
    """What an image processor does: squash to one size, bilinear with antialiasing, then (x * factor - mean) / std.

    Attributes:
        height, width: of what the network gets.
        resampling: whose arithmetic: Pillow's, or that of torchvision on 8 bits, which differs by a level here and
            there.
        factor, mean, std: of the formula, with x in 0..255; mean and std for red, green and blue.
    """

    height: int
    width: int
    resampling: Literal["pillow", "torchvision"]
    factor: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class StoredNetwork(Record):
    """What lies beside the ONNX file of a network in the cache.

    Attributes:
        classes: the names of its outputs, in their order.
        layer: whose input its second output, the features, is; None without an OOD detector.
    """

    schema_version: Literal[1] = 1
    classes: list[str]
    layer: str | None
    pixels: PixelSettings


class PredictProgress(Record):
    """How far the unfinished tables of `brainmri predict` have come.

    Attributes:
        inputs: files, volumes and series that are done. slices: of the next one, that are done too.
        sizes: bytes of each table up to there, by file name.
        open: of each patient of whom slices are to come, how many rows of the table are theirs.
        scan: the name of the volume or series that is being classified, or "". scan_rows: how many of the last rows are
            of that input. scans: of each patient of whom slices are to come, of how many inputs there are slices.
        finished: whether all are done, so that the tables only have to be moved to their place.
    """

    schema_version: Literal[1] = 1
    inputs: int = 0
    slices: int = 0
    sizes: dict[str, int] = Field(default_factory=dict)
    open: dict[str, int] = Field(default_factory=dict)
    scan: str = ""
    scan_rows: int = 0
    scans: dict[str, int] = Field(default_factory=dict)
    finished: bool = False
