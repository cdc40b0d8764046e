"""What makes two runs the same system: their resolved recipes, not how their command lines were spelled.

`recipe.yaml` of a run folder holds every setting that changes the training, also one that was given as a flag of
TrainingArguments. Its difference from the packaged recipe of the same name and protocol is what was changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from brainmri.files import digest
from brainmri.models.introspect import resolve
from brainmri.recipe import Recipe, differences, read_recipe_file
from brainmri.runs.manifest import FREE, read_manifest
from brainmri.schemas import EARLIER_UNCERTAINTY, RunSettings, uncertainty_file

# Keys of a recipe that say nothing of a system, or whose effect stands in a column of its own in every comparison.
BESIDE = ("title", "source", "published", "seed", "split", "input.normalize")
# Training arguments that have a column of their own: the seed, the precision, and the share of the schedule.
COLUMNS = {"seed", "data_seed", "bf16", "fp16", "max_steps", "global_batch"}
STAGE = {"learning_rate": "learning_rate", "num_train_epochs": "epochs", "warmup_steps": "warmup"}
STAGE |= {"lr_scheduler_type": "schedule"}  # training argument -> key of a stage


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


def changes_of(recipe: Recipe, name: str, protocol: str) -> str:
    """What tells a run's recipe from the packaged one, such as "input.size=96, stages.0.learning_rate=0.01".

    Read as changes (`--recipe`), the parts give the recipe of the run again. Where the packaged recipe is not to be had
    (of another version, or described by a model on the Hub), it is "recipe " and a digest of the run's own.

    Args:
        recipe: of the run (`recipe.yaml`). name, protocol: as `--arch` and `--protocol` had them.
    """
    try:
        packaged = resolve(name, "published" if protocol == "published" else "clean")
    except (ValueError, OSError):
        own = {key: value for key, value in recipe.model_dump(mode="json").items() if key not in BESIDE}
        return f"recipe {digest(own)[:8]}"
    found = differences(packaged, recipe)
    return ", ".join(f"{key}={_text(value)}" for key, value in sorted(found.items()) if key not in BESIDE)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
