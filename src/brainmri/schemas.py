"""The typed records of the JSON files that are written, and how they are read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from brainmri.errors import did_you_mean, paths_like, reading

SCHEMA_VERSION = 1
KEYS = {
    *("schema_version", "arch", "recipe_title", "source", "published", "protocol", "seed", "split_seed", "fold"),
    *("weights", "normalize", "command", "created", "data", "parameters", "training", "test", "validation", "train"),
    *("calibration", "conformal", "ood", "floors", "environment"),
}
DATA_KEYS = {
    "name",
    "fingerprint",
    "layout",
    "split",
    "leaky",
    "classes",
    "counts",
    "train_after_oversampling",
    "groups",
}
NESTED = {
    "data": DATA_KEYS,
    "parameters": {"total", "trainable"},
    "training": {
        *("epochs_run", "epochs_scheduled", "schedule_fraction", "best_epoch", "time_to_converge_s", "precision"),
        *("images_per_second", "best_train_accuracy", "validation_accuracy_then"),
    },
    "environment": set(),
}
SCORES = {"n", "groups", "accuracy", "accuracy_ci95", "per_class", "confusion_matrix"}


def read_result(run_dir: Path) -> dict[str, Any]:
    """The contents of `result.json` in a run folder.

    Raises:
        FileNotFoundError: the folder has no `result.json`, so the run did not finish.
        ValueError: another schema version, or keys are missing.
    """
    path = Path(run_dir) / "result.json"
    if not Path(run_dir).exists():
        like = [str(place) for place in paths_like(Path(run_dir))]
        raise FileNotFoundError(f"{run_dir}: no such folder{did_you_mean(like)}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found: the run did not finish, or this is not a run folder.")
    with reading(path):
        result: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    if result.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{path}: schema version {result.get('schema_version')} found, {SCHEMA_VERSION} expected.")
    missing = sorted(KEYS - set(result))
    for part, keys in {**NESTED, **dict.fromkeys(("test", "validation", "train"), SCORES)}.items():
        content = result.get(part)
        if content is None and part not in NESTED:  # of a split that was not scored
            continue
        if not isinstance(content, dict):
            content = {}
        missing += sorted(f"{part}.{key}" for key in keys - set(content))
    if missing:
        raise ValueError(f"{path}: keys missing: {', '.join(missing)}. Make the run again with this version.")
    result["data"].setdefault("simulated", False)  # earlier releases recorded neither
    result["data"].setdefault("origin", None)
    return result


def write_result(result: dict[str, Any], run_dir: Path) -> None:
    """Write `result.json`, in one step: where it stands, the run is finished."""
    unfinished = run_dir / "result.json.tmp"
    unfinished.write_text(json_text(result), encoding="utf-8")
    unfinished.replace(run_dir / "result.json")


def json_text(content: Any) -> str:
    """What the files of a run folder hold; raises ValueError for NaN and infinity, which JSON lacks."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """The run folders among the given folders: each is a run folder itself, or holds run folders.

    Raises:
        ValueError: a folder neither has a `result.json` nor holds a folder that has one.
    """
    runs: list[Path] = []
    for path in paths:
        found = [path] if (path / "result.json").is_file() else sorted(p.parent for p in path.glob("*/result.json"))
        if not path.exists():
            raise ValueError(f"{path}: no such folder{did_you_mean([str(like) for like in paths_like(path)])}")
        if not found:
            raise ValueError(f"{path}: no result.json here or one folder below; give finished run folders.")
        runs.extend(run for run in found if run not in runs)
    return runs
