"""Finished runs as one table, a row each, and `seeds.csv`: what every comparison of runs starts from.

A run is known by its system, its test split and its seed. Two runs of one system differ in their seed only; figures on
two test splits may never stand in one column, plot or test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import pandas as pd

from brainmri.errors import reading
from brainmri.evaluation.run_warnings import from_scratch
from brainmri.files import digest
from brainmri.models.introspect import resolve
from brainmri.recipe import Recipe, differences, read_recipe_file
from brainmri.runs.manifest import FREE, read_manifest
from brainmri.schemas import EARLIER_UNCERTAINTY, RunResult, RunSettings, read_result, uncertainty_file
from brainmri.wording import BASELINES, split_title

# What makes two runs the same system, so that they may differ in their seed only.
SYSTEM = ["source", "recipe", "protocol", "changes", "weights", "normalize", "epochs_scheduled", "schedule_fraction"]
SYSTEM += ["precision"]
# What makes two test splits the same, so that their accuracies may stand in one column. The counts follow from the
# fingerprint.
TEST_SPLIT = ["data", "split", "leaky", "simulated", "fingerprint", "split_seed", "fold", "test_images", "test_groups"]
PUBLISHED = ["published_accuracy", "published_data", "published_split", "published_note"]
SEEDS = ["run", *SYSTEM, *TEST_SPLIT, "seed", "accuracy", "ci_low", "ci_high", "minutes", "epochs_run"]
SEEDS += ["best_train_accuracy", "best_train_epoch", "validation_accuracy_then", "images_per_second", "parameters"]
SEEDS += ["hardware", "recipe_title", *PUBLISHED, *(f"floor_{floor}" for floor in BASELINES), "created"]
TEXT = ["run", "source", "recipe", "protocol", "changes", "weights", "normalize", "precision", "data", "split"]
TEXT += ["fingerprint", "fold", "hardware", "recipe_title", *PUBLISHED[1:], "created"]

UNKNOWN_RECIPE = "recipe not on record"  # of a model that came without its recipe.yaml
# Keys of a recipe that say nothing of a system, or whose effect stands in a column of its own in every comparison.
BESIDE = ("title", "source", "published", "seed", "split", "input.normalize")
# Training arguments that have a column of their own: the seed, the precision, and the share of the schedule.
COLUMNS = {"seed", "data_seed", "bf16", "fp16", "max_steps", "global_batch"}
STAGE = {  # training argument -> key of a stage
    "learning_rate": "learning_rate",
    "num_train_epochs": "epochs",
    "warmup_steps": "warmup",
    "lr_scheduler_type": "schedule",
}


class SplitPart(NamedTuple):
    """A table's part on one test split. title: for a reader; slug: for a file name."""

    title: str
    slug: str
    rows: pd.DataFrame


def read_runs(run_dirs: Iterable[Path]) -> pd.DataFrame:
    """One row per run: the columns of `seeds.csv`, and `folder`.

    `run` is a name without paths ("resnet50 clean seed 42"), unique within a test split. Accuracies are in 0..1;
    `minutes` is the time to converge; `best_train_epoch` counts over all stages from 1. The order is that of the
    sources, recipes, splits and seeds, whatever the order of the folders.

    Raises:
        FileNotFoundError: a run lacks `result.json`, `history.csv` or `predictions.csv`.
        ValueError: a run has no test figures, or two runs of one system on one split have the same seed.
    """
    runs = pd.DataFrame([_row(Path(run_dir)) for run_dir in run_dirs])
    measured = runs.select_dtypes("float").columns
    # As seeds.csv keeps them, so that what is made of either is the same to the digit.
    runs[measured] = runs[measured].map(lambda value: float(f"{value:.9g}"))
    return named(runs)


def named(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs in their order, with the column `run` that tells them apart.

    Raises:
        ValueError: two runs of one system on one split have the same seed.
    """
    same = runs[runs.duplicated([*SYSTEM, *TEST_SPLIT, "seed"], keep=False)]
    if len(same):
        raise ValueError(
            f"The same recipe, split and seed more than once: {', '.join(same['folder'])}. Leave out all but one."
        )
    runs = runs.sort_values([*SYSTEM, *TEST_SPLIT, "seed"], ignore_index=True)
    runs.insert(0, "run", _base(runs) + " seed " + runs["seed"].astype(str) + _details(runs))
    return runs


def write_seeds(runs: pd.DataFrame, path: Path) -> None:
    """Write `seeds.csv`, from which `comparison.csv` can be made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    runs[SEEDS].to_csv(path, index=False, float_format="%.9g", lineterminator="\n")


def read_table(path: Path, columns: list[str], text: list[str]) -> pd.DataFrame:
    """A CSV that a comparison wrote; empty cells of the columns `text` are "".

    Raises:
        ValueError: its columns are not `columns`.
    """
    with reading(path):
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=[""])
    if list(table.columns) != columns:
        kind = "seeds.csv" if "seed" in columns else "comparison.csv"
        lacking = [name for name in columns if name not in table]
        others = [str(name) for name in table if name not in columns]
        told = f", lacks {', '.join(lacking[:4])}" * bool(lacking) + f", has {', '.join(others[:4])}" * bool(others)
        raise ValueError(
            f"{path} is no {kind} of this version{told or ', its columns stand in another order'}: make it again"
        )
    return table.fillna(dict.fromkeys(text, ""))


def read_detection(path: Path) -> pd.DataFrame:
    """A `detection.csv` that a comparison wrote; a site without a name is ""."""
    table = pd.read_csv(path, dtype={"site": str}, keep_default_na=False, na_values=[""])
    return table.fillna({"site": ""})


def system_labels(table: pd.DataFrame) -> pd.Series:
    """A short name of each row's system: "resnet50 clean", and more only where two systems would share the name.

    A partial schedule and changes of the recipe are always in the name, and so are random weights.
    """
    return _base(table) + _details(table)


def short_weights(origin: str) -> str:
    """Where weights came from, without revision, version and hash (the CSV has them) and without a machine's folders.

    "timm/resnet50.tv_in1k@4f1d, sha256 01ab" -> "timm/resnet50.tv_in1k".
    """
    place = re.split(r", sha256|[@ ]", origin)[0]
    for path in (PurePosixPath(place), PureWindowsPath(place)):
        if path.is_absolute():
            return path.name
    return place


def lacks_weights(table: pd.DataFrame) -> pd.Series:
    """Whether each row is of a network that began with random weights, although its recipe asks for pretrained ones."""
    scratch = {recipe: from_scratch(recipe) for recipe in table.loc[table["weights"] == "random", "recipe"].unique()}
    return (table["weights"] == "random") & table["recipe"].map(scratch).eq(False)


def split_rank(split: str, leaky: bool) -> int:
    """The place of a split among those of its data set: the one that can be trusted most stands first."""
    if leaky:
        return 4 if split == "source" else 3
    return {"patients": 0, "grouped": 1}.get(split.partition(",")[0], 2)


def by_test_split(table: pd.DataFrame) -> list[SplitPart]:
    """The table's parts by test split: of a data set first by patient, then by group, leaky ones after all others.

    Title and slug name data set and split, and, where two splits would share them, fingerprint, seed and fold.
    """
    keys = ["data", "rank", "split", "simulated", "fingerprint", "split_seed", "fold"]
    ranks = [split_rank(split, leaky) for split, leaky in zip(table["split"], table["leaky"], strict=True)]
    parts = [part.drop(columns="rank") for _, part in table.assign(rank=ranks).groupby(keys, dropna=False)]
    firsts = [part.iloc[0] for part in parts]
    slugs = [re.sub(r"[^\w.-]+", "_", f"{first['data']}-{first['split']}") for first in firsts]
    found = []
    for part, first, slug in zip(parts, firsts, slugs, strict=True):
        marks = {mark: bool(first[mark]) for mark in ("leaky", "simulated")}
        title = split_title(first["data"], first["split"], **marks)
        if slugs.count(slug) > 1:
            details = [f"fingerprint {first['fingerprint'][:8]}", f"split seed {first['split_seed']:.0f}"]
            details += [f"fold {first['fold']}"] * (first["fold"] != "")
            title = f"{title}, {', '.join(details)}"
            slug = "-".join([slug, *details]).replace(" ", "_")
        found.append(SplitPart(title, slug, part))
    return found


def result_row(result: RunResult, recipe: Recipe | None) -> dict[str, Any]:
    """What the `result.json` and the `recipe.yaml` of a run with test figures say, under the names of `seeds.csv`."""
    data, training, test, published = result.data, result.training, result.test, result.published
    if test is None:
        raise ValueError(f"{result.title}: the run has no test figures; leave it out of the comparison.")
    low, high = test.accuracy_ci95 or (None, None)
    seconds = training.time_to_converge_s
    return {
        "created": result.created,
        "seed": result.seed,
        **{f"floor_{name}": getattr(result.baselines, name, None) for name in BASELINES},
        "recipe": result.arch,
        "recipe_title": result.recipe_title or "",
        "source": result.source or "",
        **{key: getattr(result, key) or "" for key in ("protocol", "weights", "normalize")},
        "changes": changes_of(recipe, result.arch, result.protocol) if recipe else UNKNOWN_RECIPE,
        **{key: getattr(training, key) for key in ("epochs_scheduled", "schedule_fraction", "precision")},
        **{key: getattr(training, key) for key in ("epochs_run", "images_per_second", "best_train_accuracy")},
        "validation_accuracy_then": training.validation_accuracy_then,
        "published_accuracy": published.accuracy if published else None,
        # "none" tells a recipe without a published figure from one whose figure is not known.
        "published_data": published.data if published else "none",
        "published_split": published.split if published else "",
        "published_note": published.note if published else "",
        "data": data.name,
        **{key: getattr(data, key) for key in ("split", "leaky", "simulated", "fingerprint")},
        "split_seed": result.split_seed,
        "fold": "" if result.fold is None else str(result.fold),
        "test_images": test.n,
        "test_groups": test.groups,
        "accuracy": test.accuracy,
        "ci_low": low,
        "ci_high": high,
        "minutes": None if seconds is None else seconds / 60,
        "parameters": result.parameters.total,
        "hardware": result.environment.hardware or "",
    }


def _row(run_dir: Path) -> dict[str, Any]:
    result = read_result(run_dir)
    if result.test is None:
        raise ValueError(f"{run_dir}: the run has no test figures; leave it out of the comparison.")
    for name in ("history.csv", "predictions.csv", "recipe.yaml"):
        if not (run_dir / name).is_file():
            raise FileNotFoundError(f"{run_dir}: {name} is missing; copy the whole run folder, or leave it out.")
    with reading(run_dir / "history.csv"):
        best = int(pd.read_csv(run_dir / "history.csv")["train_accuracy"].argmax()) + 1
    return {"folder": str(run_dir), "best_train_epoch": best, **result_row(result, recipe_of(run_dir))}


def _base(table: pd.DataFrame) -> pd.Series:
    return table["recipe"] + " " + table["protocol"]


def _details(table: pd.DataFrame) -> pd.Series:
    """What a name needs besides recipe and protocol: ", weights random, 2 % of the schedule", or nothing."""
    systems = table[SYSTEM].drop_duplicates()
    base = _base(systems)
    details = pd.Series(
        [
            ", weights random" * lacks + (f", {100 * share:.2g} % of the schedule" if share < 1 else "")
            for lacks, share in zip(lacks_weights(systems), systems["schedule_fraction"], strict=True)
        ],
        index=systems.index,
        dtype=str,
    )
    changes = systems["changes"].where(systems["changes"] != "", "as it is")
    told_apart_by = [
        ("weights " + systems["weights"].map(short_weights)),
        ("normalize " + systems["normalize"]),
        systems["precision"],
        systems["epochs_scheduled"].map("{:g} epochs".format),
        systems["schedule_fraction"].map("share {:g}".format),
        systems["source"],
        systems["weights"].map(lambda origin: "weights " + origin.rpartition("sha256")[2].strip(" :")),
    ]
    several = changes.groupby(base + details).transform("nunique") > 1
    details = details.where(~several & (systems["changes"] == ""), details + ", " + changes)
    for texts in told_apart_by:
        differ = texts.groupby(base + details).transform("nunique") > 1
        details = details.where(~differ, details + ", " + texts)
    number = table.groupby(SYSTEM, dropna=False, sort=False).ngroup()  # counts the systems as drop_duplicates does
    return number.map(details.reset_index(drop=True))


def as_trained(recipe: Recipe, settings: RunSettings) -> Recipe:
    """`recipe` with what the command line changed of its training arguments, under the recipe's own keys where it can.

    settings: of the run; its `arguments` are those that the stages were trained with.
    """
    from brainmri.training.arguments import stage_arguments

    content = recipe.model_dump(mode="json")
    others = dict(recipe.training_arguments)
    for number, (stage, used) in enumerate(zip(recipe.stages, settings.arguments, strict=True)):
        # How the batch is shared does not count, and it may not be shared equally by the processes of today.
        plain = stage_arguments(recipe, stage, {"per_device_train_batch_size": 1}, recipe.seed, "")
        usual = json.loads(json.dumps(plain.to_dict(), default=str))
        for name in sorted(used.keys() & usual.keys() - FREE - COLUMNS):
            if used[name] == usual[name]:
                continue
            changed = content["stages"][number] | {STAGE[name]: used[name]} if name in STAGE else None
            if changed and _fits(content, number, changed):
                content["stages"][number] = changed
            else:
                others[name] = used[name]
        content["batch_size"] = used.get("global_batch", recipe.batch_size)
    return Recipe.model_validate(content | {"training_arguments": others})


def recipe_of(run_dir: Path) -> Recipe:
    """What a run was trained by, also of one that an earlier version made: its training arguments are in `run.json`."""
    recipe = read_recipe_file(run_dir / "recipe.yaml")
    earlier = uncertainty_file(run_dir).name == EARLIER_UNCERTAINTY
    manifest = read_manifest(run_dir) if earlier else None
    return as_trained(recipe, manifest.settings) if manifest else recipe


def _fits(content: dict[str, Any], number: int, stage: dict[str, Any]) -> bool:
    """Whether a recipe may say this of its stage: half an epoch, say, is a training argument only."""
    stages = [*content["stages"][:number], stage, *content["stages"][number + 1 :]]
    try:
        Recipe.model_validate(content | {"stages": stages})
    except ValueError:
        return False
    return True


def packaged(name: str, protocol: str) -> Recipe:
    """The recipe that a run's `arch` and `protocol` name.

    Raises:
        ValueError, OSError: if it is not to be had (see `resolve`).
    """
    return resolve(name, "published" if protocol == "published" else "clean")


def changes_of(recipe: Recipe, name: str, protocol: str) -> str:
    """What tells a run's recipe from the packaged one, such as "input.size=96, stages.0.learning_rate=0.01".

    Read as changes (`--recipe`), the parts give the recipe of the run again. Where the packaged recipe is not to be had
    (of another version, or described by a model on the Hub), it is "recipe " and a digest of the run's own.

    Args:
        recipe: of the run (`recipe.yaml`). name, protocol: as `--arch` and `--protocol` had them.
    """
    try:
        as_packaged = packaged(name, protocol)
    except (ValueError, OSError):
        own = {key: value for key, value in recipe.model_dump(mode="json").items() if key not in BESIDE}
        return f"recipe {digest(own)[:8]}"
    found = differences(as_packaged, recipe)
    return ", ".join(f"{key}={_text(value)}" for key, value in sorted(found.items()) if key not in BESIDE)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
