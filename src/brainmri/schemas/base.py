"""What every record has in common, how its file is written and read, also one of an earlier version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brainmri.errors import reading

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]  # low, high: 95 %, resampled by group


class Record(BaseModel):
    """A part of a JSON file, or the whole of it; frozen, and without keys that are not declared.

    A record of a whole file has the field `schema_version`. What a key means, or where it stands, changes with it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def as_json(self) -> dict[str, Any]:
        """What the file holds, as dictionaries, lists, texts, numbers and None; `schema_version` comes first."""
        content = self.model_dump(mode="json", by_alias=True)
        version = {key: content.pop(key) for key in ["schema_version"] if key in content}
        return version | content


R = TypeVar("R", bound=Record)


def json_text(content: Any) -> str:
    """The text of a record's file, or of another JSON value.

    Raises:
        ValueError: for NaN and infinity, which JSON lacks.
    """
    if isinstance(content, Record):
        content = content.as_json()
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write(record: Record, path: Path) -> None:
    """Write the file of a record."""
    path.write_text(json_text(record), encoding="utf-8", newline="\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, not yet looked at.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else; the message names the file.
    """
    with reading(path):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: an object with keys is expected, and a {type(content).__name__} stands there.")
    return content


def read(path: Path, record: type[R], instead: str = "Make it again with this version.") -> R:
    """The record in a JSON file.

    instead: what to do where the file cannot be read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another schema version, or a key that is missing, unknown or of the wrong kind; one sentence, which
            names the file and the keys.
    """
    return as_record(read_json(path), record, path, instead)


def as_record(content: dict[str, Any], record: type[R], where: Path | str, instead: str = "") -> R:
    """`content` as a record. where, instead: for the message, see `read`.

    Raises:
        ValueError: as of `read`.
    """
    advice = f" {instead}" if instead else ""
    version = record.model_fields.get("schema_version")
    if version and (found := content.get("schema_version")) != version.default:
        raise ValueError(f"{where}: schema version {found} found, {version.default} expected.{advice}")
    try:
        return record.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{where}: {_faults(error)}.{advice}") from error


def _faults(error: ValidationError) -> str:
    """Every fault of a file in words: "keys missing: floors, data.leaky; seed: Input should be a valid integer"."""
    found: dict[str, list[str]] = {"missing": [], "extra_forbidden": []}
    others = []
    for one in error.errors():
        key = ".".join(map(str, one["loc"]))
        if one["type"] in found:
            found[one["type"]].append(key)
        else:
            others.append(f"{key}: {one['msg']}")
    parts = [f"keys missing: {', '.join(found['missing'])}"] * bool(found["missing"])
    parts += [f"unknown keys: {', '.join(found['extra_forbidden'])}"] * bool(found["extra_forbidden"])
    return "; ".join(parts + others)


# Their names of what is `uncertainty.json` and `uncertainty.safetensors` today; the record names its arrays itself.
EARLIER_UNCERTAINTY, EARLIER_ARRAYS = "trust.json", "trust.safetensors"

KEYS = {
    "reject": "ood",
    "reject_reason": "ood_reason",
    "neutralize": "domain_randomization",
    "one_file_per_picture": "duplicate_aware_sampling",
}

STAGE_KEYS = {"feature_views": "cached_views"}

AUGMENTATION_KEYS = {"levels": "histogram_matching", "transplant": "copy_paste", "half_mirror": "hemisphere_mirroring"}


def renamed(content: dict[str, Any]) -> dict[str, Any]:
    """`result.json`, `trust.json` or `recipe.yaml` of version 1 under today's keys; what is of today stays as it is.

    A measurement that is not kept any more (`training.precision_probe`) is left out.
    """
    found = _with(content, KEYS)
    if found.get("schema_version") == 1:
        found["schema_version"] = 2
    if isinstance(training := found.get("training"), dict):
        found["training"] = {key: value for key, value in training.items() if key != "precision_probe"}
    if isinstance(stages := found.get("stages"), list):
        found["stages"] = [_with(stage, STAGE_KEYS) for stage in stages]
    if "augmentation" in found:
        found["augmentation"] = _with(found["augmentation"], AUGMENTATION_KEYS)
    return found


def _with(content: Any, names: dict[str, str]) -> Any:
    """`content` with other names for some of its keys; what has no keys as it is."""
    return {names.get(key, key): value for key, value in content.items()} if isinstance(content, dict) else content
