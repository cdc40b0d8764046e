"""What a run is: `run.json` of a run folder, and what must be equal for a run to go on in it."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import ValidationError

from brainmri.data.file_digests import content_fingerprint
from brainmri.environment import git_commit
from brainmri.recipe import Recipe
from brainmri.schemas import DataFacts, RunManifest, RunSettings
from brainmri.training.arguments import RunArguments, world_size

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from brainmri.data.dataset import PreparedData

FILE = "run.json"
SPLITS_FILE = "splits.csv"  # in the folder of the checkpoints, as only a run that goes on needs it
# What may be another when a run goes on: it changes where, how fast and how loud a run is, or what becomes of its
# outcome, not the outcome itself. Everything else of TrainingArguments must agree. docs/resuming.md shows this table.
MAY_DIFFER = {
    "The machine": [
        *("use_cpu", "tf32", "local_rank", "ddp_backend", "ddp_bucket_cap_mb", "ddp_find_unused_parameters"),
        *("ddp_static_graph", "ddp_timeout", "gradient_checkpointing", "gradient_checkpointing_kwargs"),
        *("activation_checkpointing", "activation_checkpointing_kwargs", "torch_empty_cache_steps"),
    ],
    "How the global batch is shared": [
        *("processes", "per_device_train_batch_size", "gradient_accumulation_steps"),
        *("per_device_eval_batch_size", "eval_accumulation_steps"),
    ],
    "How data are read": [
        *("dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers"),
        *("dataloader_prefetch_factor", "dataloader_multiprocessing_context"),
    ],
    "Logging": [
        *("logging_strategy", "logging_steps", "logging_first_step", "logging_nan_inf_filter", "log_level"),
        *("log_level_replica", "log_on_each_node", "disable_tqdm", "report_to", "run_name", "project"),
        *("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id", "include_num_input_tokens_seen"),
        *("skip_memory_metrics", "debug"),
    ],
    "Where and how long": [
        *("output_dir", "resume_from_checkpoint", "save_total_limit", "save_on_each_node", "enable_jit_checkpoint"),
        *("do_train", "do_eval", "do_predict", "max_minutes", "keep_checkpoints", "ood", "overwrite"),
    ],
    "Publishing": [
        *("push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push"),
        *("hub_revision", "license"),
    ],
    "The code": ["git_commit", "torch", "transformers"],
}
FREE = {name for names in MAY_DIFFER.values() for name in names}
UNTOLD = {"output_dir", "resume_from_checkpoint", "hub_token", "local_rank", "overwrite", "run_name", "disable_tqdm"}
PACKAGES = ("torch", "transformers")
# Words for what users change most often; anything else goes by its flag or key.
WORDS = {
    "arch": "--arch",
    "protocol": "--protocol",
    "positive": "--positive",
    "folds": "the number of folds (--folds)",
    "weights": "--weights",
    "seed": "the seed",
    "evaluate_train": "--evaluate_train",
    "sync_batchnorm": "--sync_batchnorm",
    "version": "the version of brainmri",
    "global_batch": "the global batch (per device x accumulation x processes)",
    "learning_rate": "the learning rate",
    "num_train_epochs": "the number of epochs",
    "bf16": "bfloat16 (--bf16)",
    "fp16": "float16 (--fp16)",
}
SHOWN = 4  # differences in one message


def settings_of(run: RunArguments, recipe: Recipe, seed: int, arguments: list[TrainingArguments]) -> RunSettings:
    """The settings of a run. arguments: of each stage."""
    stages = [_plain(stage.to_dict()) for stage in arguments]
    first = arguments[0]
    free = {name: value for name, value in stages[0].items() if name in FREE and name not in UNTOLD}
    free |= {"processes": world_size(), "git_commit": git_commit(), "max_minutes": run.max_minutes}
    free |= {"keep_checkpoints": run.keep_checkpoints, "license": run.license, "ood": run.ood}
    free |= {name: metadata.version(name) for name in PACKAGES}
    batch = first.train_batch_size * first.gradient_accumulation_steps * world_size()
    place = Path(run.weights)
    return RunSettings(
        arch=run.arch,
        protocol=run.protocol,
        positive=run.positive,
        folds=run.folds,
        fold=None,
        weights=str(place.resolve()) if place.exists() else run.weights,
        seed=seed,
        evaluate_train=run.evaluate_train,
        sync_batchnorm=run.sync_batchnorm,
        version=metadata.version("brainmri"),
        recipe=recipe.model_dump(mode="json"),
        arguments=[
            {name: value for name, value in stage.items() if name not in FREE} | {"global_batch": batch}
            for stage in stages
        ],
        free=_plain(free),
    )


def contents_of(data: PreparedData) -> str:
    """A digest of the images of `data` as they are now; of streamed ones, what their shards say of all of them."""
    return data.info.fingerprint if data.streamed else content_fingerprint(data)


def facts_of(data: PreparedData) -> DataFacts:
    """The facts of `data` that must agree."""
    rows = data.index[["file_name", "label", "split", "group_id"]]
    return DataFacts(
        name=data.info.name,
        contents=contents_of(data),
        table=hashlib.sha256(rows.to_csv(index=False, lineterminator="\n").encode()).hexdigest(),
        split=data.info.split,
        split_seed=data.info.split_seed,
        classes=data.classes,
        counts=data.info.counts,
    )


def read_manifest(run_dir: Path) -> RunManifest | None:
    """`run.json`; None where there is none, or none of ours.

    Raises:
        ValueError: if it is one of ours and cannot be read.
    """
    path = run_dir / FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or "schema_version" not in content or "settings" not in content:
            return None
        return RunManifest.model_validate(content)
    except (ValidationError, ValueError) as error:
        reason = f"schema version {content['schema_version']}" if isinstance(error, ValidationError) else "damaged"
        raise ValueError(f"{path} is not of this version or damaged ({reason}): give another --output_dir") from error


def settings_differences(before: RunSettings, now: RunSettings) -> list[str]:
    """A clause for each difference that forbids going on: "the learning rate was 0.001 and is now 0.01"."""
    old, new = before.model_dump(), now.model_dump()
    pairs: dict[str, tuple[Any, Any]] = {}
    for name in old.keys() - {"recipe", "arguments", "free"}:
        pairs[name] = (old[name], new[name])
    for stage_before, stage_now in zip(before.arguments, now.arguments, strict=False):
        for name in stage_before.keys() & stage_now.keys():  # a new version of transformers may add some
            if name not in pairs or pairs[name][0] == pairs[name][1]:
                pairs[name] = (stage_before[name], stage_now[name])
    changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if "seed" in changed:
        changed.pop("data_seed", None)
    if "arch" not in changed:  # else every key of the recipe is another
        known = [json.dumps(pair) for pair in changed.values()]
        recipe = _leaves(before.recipe, now.recipe)
        changed |= {
            f"the recipe's {key}": ("not given" if old is None else old, "not given" if new is None else new)
            for key, (old, new) in recipe.items()
            if json.dumps((old, new)) not in known
        }
    order = list(WORDS)
    names = sorted(changed, key=lambda name: (order.index(name) if name in order else len(order), name))
    return [f"{_words(name)} was {_shown(changed[name][0])} and is now {_shown(changed[name][1])}" for name in names]


def free_differences(before: RunSettings, now: RunSettings) -> list[str]:
    """A clause for each difference that may be: "processes 1 before, 2 now"."""
    names = sorted(before.free.keys() & now.free.keys())
    old, new = before.free, now.free
    return [f"{name} {_shown(old[name])} before, {_shown(new[name])} now" for name in names if old[name] != new[name]]


def data_differences(before: DataFacts, now: DataFacts, splits: Path | None, data: PreparedData) -> list[str]:
    """A clause for each difference of the data. splits: what `write_splits` wrote when the run began."""
    found = []
    for name, words in (("name", "name"), ("split", "split"), ("split_seed", "split seed"), ("classes", "classes")):
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            found.append(f"their {words} was {_shown(old)} and is now {_shown(new)}")
    if before.table != now.table or before.contents != now.contents:
        moved = _moved(splits, data) if splits is not None and splits.is_file() else None
        if before.table != now.table:
            found.append(moved or "images, labels, groups or splits are others")
        else:
            found.append("files were changed, although their table is the same")
    return found


def write_splits(data: PreparedData, path: Path) -> None:
    """Keep which split each image is in; images go by a digest, as their names may be those of patients."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _splits(data).to_csv(path, index=False, lineterminator="\n")


def _splits(data: PreparedData) -> pd.DataFrame:
    digests = [hashlib.sha256(str(source).encode()).hexdigest()[:16] for source in data.index["source"]]
    return pd.DataFrame({"image": digests, "split": data.index["split"].to_numpy()}).drop_duplicates("image")


def _moved(path: Path, data: PreparedData) -> str | None:
    """How many images are in another split than when the run began."""
    both = pd.read_csv(path, dtype=str).merge(_splits(data), "outer", on="image", suffixes=("_before", "_now"))
    known = both.dropna()
    moved = known[known["split_before"] != known["split_now"]]
    trained = int(((moved["split_before"] == "train") & (moved["split_now"] == "test")).sum())
    parts = []
    if len(moved):
        tested = int((both["split_now"] == "test").sum())
        parts.append(
            f"{len(moved)} of {len(known)} images are in another split now ({trained} of the {tested} test images "
            "stood in train)"
        )
    new, gone = int(both["split_before"].isna().sum()), int(both["split_now"].isna().sum())
    parts += [f"{new} images are new"] * bool(new) + [f"{gone} are gone"] * bool(gone)
    return ", ".join(parts) or None


def _leaves(before: Any, now: Any, key: str = "") -> dict[str, tuple[Any, Any]]:
    """Every value that differs, by its dotted key."""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        before, now = dict(enumerate(before)), dict(enumerate(now))
    if isinstance(before, dict) and isinstance(now, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for name in dict.fromkeys([*before, *now]):
            found |= _leaves(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
        return found
    return {} if before == now else {key: (before, now)}


def _plain(value: Any) -> Any:
    """As JSON gives it back, so that what was read and what is now compare."""
    return json.loads(json.dumps(value, default=str))


def _words(name: str) -> str:
    return WORDS.get(name) or (name if " " in name else f"--{name}")


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
