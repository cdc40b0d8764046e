"""The command line of `scripts/train.py`: its own flags and every field of `transformers.TrainingArguments`."""

from __future__ import annotations

import argparse
import ast
import math
import os
import re
from dataclasses import MISSING, dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from brainmri.data.constants import HUB
from brainmri.errors import did_you_mean, near

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from brainmri.recipe import Recipe, Stage


@dataclass
class RunArguments:
    """What the run does; TrainingArguments say how (any of them may be given too, and wins over the recipe)."""

    arch: str = field(
        metadata={
            "help": "a recipe (a file name in src/brainmri/recipes, without .yaml), timm:NAME, or hf:REPO[@revision]"
        }
    )
    data_dir: str | None = field(
        default=None,
        metadata={"help": "a prepared folder, or a raw one (prepared once into the cache). Without: the phantom set"},
    )
    dataset_name: str | None = field(
        default=None,
        metadata={
            "help": "in the place of --data_dir, a data set on the Hub that publish.py made: OWNER/NAME[@REVISION]"
        },
    )
    protocol: Literal["clean", "published"] = field(
        default="clean", metadata={"help": "clean: without the source's flaws; published: as the source did it"}
    )
    weights: str = field(
        default="auto",
        metadata={
            "help": "auto (ImageNet where it can be had, else random and said so), imagenet (or fail), random, "
            "or a run folder, a .safetensors file, or a Hub ID with @revision",
            "aliases": ["--model_name_or_path", "--model-name-or-path"],
        },
    )
    normalize: str | None = field(default=None, metadata={"help": "another input formula than the recipe's"})
    positive: list[str] | None = field(
        default=None,
        metadata={
            "help": "merge the classes into two: these against the rest (binary recipes: any tumour, by default)"
        },
    )
    folds: int | str | None = field(
        default=None,
        metadata={
            "help": "cross-validation by group: that many runs, each tested on other images, pooled in the end; sites: "
            "a run for each site, which is left out of its training and tested; patients: the five patient-wise folds "
            "(of data prepared with --split patients)",
            "type": lambda text: _folds(text),
            "metavar": "K|sites|patients",
        },
    )
    class_balance: Literal["oversample", "weights", "none"] | None = field(
        default=None,
        metadata={
            "help": "what makes up for small classes: oversample repeats their training images, weights lets each "
            "image count N / (C n) in the loss, none does nothing (default: the recipe's)"
        },
    )
    loss: Literal["cross_entropy", "focal"] | None = field(
        default=None, metadata={"help": "focal: images that are classified rightly count less (default: the recipe's)"}
    )
    focal_gamma: float | None = field(
        default=None, metadata={"help": "how much less, as (1 - p)^gamma; 0 is cross entropy (default: 2)"}
    )
    sync_batchnorm: bool = field(
        default=False, metadata={"help": "batch statistics over all GPUs, for small batches on each of them"}
    )
    recipe: list[str] = field(
        default_factory=list,
        metadata={"help": "changes to the recipe as KEY=VALUE, such as model.arguments.dropout=0 stages.0.epochs=3"},
    )
    max_minutes: float | None = field(
        default=None, metadata={"help": "start no epoch of a stage that would end later than this (at least one runs)"}
    )
    overwrite: bool = field(
        default=False,
        metadata={
            "help": "replace the run in --output_dir, which is removed at the new one's first checkpoint. Without: the "
            "same command goes on where it stopped, and another one is refused (docs/resuming.md)"
        },
    )
    keep_checkpoints: bool = field(default=False, metadata={"help": "keep the checkpoints of a finished run"})
    license: str | None = field(
        default=None,
        metadata={"help": "of the published weights (--push_to_hub), where theirs at the start asks for one"},
    )
    ood: bool = field(
        default=True,
        metadata={
            "help": "fit the out-of-distribution (OOD) detector, by which the model abstains; false leaves it out, "
            "which a smoke run is sooner done with"
        },
    )
    evaluate_train: bool = field(
        default=False, metadata={"help": "score the training images too, without augmentation"}
    )

    def __post_init__(self) -> None:
        """From here on a data set of the Hub is what `data_dir` names.

        Raises:
            ValueError: if both are given, or `dataset_name` names no repository.
        """
        if self.dataset_name is not None:
            self.data_dir = hub_dataset(self.dataset_name, self.data_dir)
            self.dataset_name = None


def recipe_changes(run: RunArguments) -> list[str]:
    """What the run's flags change of the recipe, as `--recipe` takes it."""
    changes = list(run.recipe)
    if run.normalize:
        changes.append(f"input.normalize={run.normalize}")
    if run.class_balance:
        changes.append(f"oversample={str(run.class_balance == 'oversample').lower()}")
        changes.append(f"class_weights={'balanced' if run.class_balance == 'weights' else 'none'}")
    if run.loss:
        changes.append(f"loss={run.loss}")
    if run.focal_gamma is not None:
        changes.append(f"focal_gamma={run.focal_gamma}")
    return changes


def hub_dataset(dataset_name: str, data_dir: object = None) -> str:
    """What `--data_dir` takes for the data set OWNER/NAME[@REVISION] of the Hub.

    Raises:
        ValueError: if `data_dir` is given too, or this names no repository.
    """
    if data_dir is not None:
        raise ValueError(f"--dataset_name {dataset_name} and --data_dir {data_dir}: give one of them")
    if Path(dataset_name).exists():
        raise ValueError(f"--dataset_name {dataset_name}: this is a folder or file here: give it to --data_dir")
    name = dataset_name.removeprefix(HUB)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", name):
        raise ValueError(f"--dataset_name {dataset_name}: a repository of the Hub is needed, OWNER/NAME[@REVISION]")
    return HUB + name


class Flag(NamedTuple):
    """A flag of `transformers.TrainingArguments`.

    Attributes:
        name: of the field.
        help: its text, as argparse takes it.
        negatable: whether it is on by default, so that there is a `--no_NAME` too.
    """

    name: str
    help: str
    negatable: bool


def flags_of_transformers() -> list[Flag]:
    """The fields of `TrainingArguments`, read from the installed source: to import it takes two seconds."""
    found = find_spec("transformers")
    assert found and found.origin
    source = Path(found.origin).with_name("training_args.py").read_text(encoding="utf-8")
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    record = next(node for node in classes if node.name == "TrainingArguments")
    flags = []
    for node in record.body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        kind, text, on = ast.unparse(node.annotation), "", ast.unparse(node.value) == "True" if node.value else False
        for keyword in node.value.keywords if isinstance(node.value, ast.Call) else []:
            if keyword.arg == "default":
                on = ast.unparse(keyword.value) == "True"
            if keyword.arg == "metadata" and isinstance(keyword.value, ast.Dict):
                keys = [getattr(key, "value", None) for key in keyword.value.keys]
                text = ast.literal_eval(keyword.value.values[keys.index("help")]) if "help" in keys else ""
        flags.append(Flag(node.target.id, text, on and kind in ("bool", "bool | None")))
    return flags


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Give the parser a flag for each field of `RunArguments`, with `_` or `-`; what was not given is left out."""
    types = get_type_hints(RunArguments)
    for one in fields(RunArguments):
        options: dict[str, Any] = {"help": one.metadata["help"], "default": argparse.SUPPRESS}
        options["required"] = one.default is MISSING and one.default_factory is MISSING
        kind = next((kind for kind in get_args(types[one.name]) if get_origin(kind) is list), types[one.name])
        literal = next((part for part in (kind, *get_args(kind)) if get_origin(part) is Literal), None)
        if "type" in one.metadata:
            options |= {"type": one.metadata["type"], "metavar": one.metadata["metavar"]}
        elif literal:
            options["choices"] = get_args(literal)
        elif get_origin(kind) is list:
            options |= {"nargs": "+", "type": get_args(kind)[0]}
        elif kind is bool:
            options |= {"nargs": "?", "const": True, "type": _truth, "metavar": "true|false"}
        else:
            options["type"] = next(iter(get_args(kind)), kind)
        parser.add_argument(*spellings(one.name), *one.metadata.get("aliases", []), **options)


def spellings(name: str) -> list[str]:
    return list(dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")))


def _folds(text: str) -> int | str:
    if text in ("sites", "patients"):
        return text
    if text.lstrip("-").isdigit():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor sites nor patients")


def _truth(text: str) -> bool:
    """As HfArgumentParser reads a bool."""
    if text.lower() in ("yes", "true", "t", "y", "1"):
        return True
    if text.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def world_size() -> int:
    """Number of training processes, as the launcher set it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def batch_advice(recipe: Recipe, arguments: TrainingArguments) -> str | None:
    """What to do with the learning rate where the global batch is not the recipe's; None where it is."""
    batch = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * world_size()
    if batch == recipe.batch_size:
        return None
    ratio = batch / recipe.batch_size
    return (
        f"The global batch is {batch}, the recipe's {recipe.batch_size}: the learning rate is kept comparable by "
        f"a factor of {ratio**0.5:.3g} with Adam (the square root), of {ratio:.3g} with SGD. "
        f"It is {arguments.learning_rate:g} now."
    )


def memory_advice(arguments: TrainingArguments) -> str:
    """The flags with which a training step takes less memory and gives the same."""
    batch, steps = arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps
    if batch > 1:
        smaller = (batch + 1) // 2
        advice = (
            f"try --per_device_train_batch_size {smaller} --gradient_accumulation_steps {-(-batch * steps // smaller)}"
        )
        advice += f" (they are {batch} and {steps} now" + ("; the global batch stays)" if batch % 2 == 0 else ")")
    else:
        advice = "a batch of one image is too much already: try a smaller --recipe input.size=N"
    low = arguments.bf16 or arguments.fp16
    return advice if low or arguments.device.type == "cpu" else f"{advice}, and --bf16 true"


def stage_arguments(
    recipe: Recipe, stage: Stage, given: dict[str, Any], seed: int, output_dir: str
) -> TrainingArguments:
    """The TrainingArguments of one stage: the recipe's, with what the command line gave laid over them.

    Raises:
        ValueError: for a key of the recipe's `training_arguments` that TrainingArguments lacks, for a global batch that
            the processes cannot share equally, or for flags that contradict each other or the launcher.
    """
    import torch
    from transformers import TrainingArguments

    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    shares = world_size() * max(1, int(given.get("gradient_accumulation_steps", 1)))
    if recipe.batch_size % shares and "per_device_train_batch_size" not in given:
        raise ValueError(
            f"the recipe's batch of {recipe.batch_size} cannot be shared equally by {shares} processes x accumulation "
            "steps: give --per_device_train_batch_size"
        )
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")  # accelerate launch --mixed_precision
    values: dict[str, Any] = {
        "seed": seed,
        "data_seed": seed,
        "num_train_epochs": stage.epochs,
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": "reduce_lr_on_plateau" if stage.plateau else stage.schedule,
        "warmup_steps": stage.warmup,
        "per_device_train_batch_size": max(1, recipe.batch_size // shares),
        "per_device_eval_batch_size": 32,  # of 64 at 224 pixels memory grows beyond that of training, at the same speed
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_strategy": "epoch",
        "logging_nan_inf_filter": False,  # it waits for the GPU in every step; `SliceTrainer` stops at such a loss
        "save_total_limit": 2,  # the best one beside them
        "load_best_model_at_end": stage.keep == "best",
        "metric_for_best_model": f"eval_{stage.monitor}",
        "greater_is_better": stage.monitor == "accuracy",
        "restore_callback_states_from_checkpoint": True,
        "use_cpu": not accelerated,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "tf32": True if torch.cuda.is_available() and torch.cuda.get_device_capability()[0] >= 8 else None,
        "average_tokens_across_devices": False,
        "ddp_timeout": 600,
    }
    if launched in ("bf16", "fp16"):  # so that result.json and the manifest tell of it
        values[launched] = True
    if stage.plateau:
        values["lr_scheduler_kwargs"] = {
            "mode": "max" if stage.monitor == "accuracy" else "min",
            "factor": stage.plateau.factor,
            "patience": stage.plateau.patience - 1,  # torch acts one validation later than Keras
            "threshold": 1e-4,  # Keras' min_delta, absolute
            "threshold_mode": "abs",
            "min_lr": stage.plateau.min_learning_rate,
        }
    known = {f.name for f in fields(TrainingArguments)}
    for name in sorted(set(recipe.training_arguments) - known):
        meant = did_you_mean(near(name, known)) or " (see transformers.TrainingArguments)"
        raise ValueError(f"recipe: training_arguments has no {name}{meant}")
    values |= recipe.training_arguments | given
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        if int(values.get(name, 1)) < 1:
            raise ValueError(f"--{name} {values[name]}: at least 1 is needed")
    if float(values["num_train_epochs"]) <= 0 and int(values.get("max_steps", 0)) <= 0:
        raise ValueError(f"--num_train_epochs {values['num_train_epochs']}: more than 0 are needed, or --max_steps")
    if not 0 <= float(values["learning_rate"]) < math.inf:
        raise ValueError(f"--learning_rate {values['learning_rate']}: a number from 0 on is needed")
    # Set by us whatever was given: our batches have no columns to remove, and the run's folder is not the stage's.
    values |= {"remove_unused_columns": False, "output_dir": output_dir, "resume_from_checkpoint": None}
    arguments = TrainingArguments(**values)
    if launched != "no" and not getattr(arguments, launched, False):
        raise ValueError(
            f"accelerate launch --mixed_precision {launched} contradicts train.py: leave it out there, and give "
            "--bf16 true or --fp16 true here, or neither (float32)"
        )
    _check_integrations(arguments)
    return arguments


def _check_integrations(arguments: TrainingArguments) -> None:
    """Raises ValueError for a name in --report_to that transformers does not know, or whose package is missing."""
    if not arguments.report_to:
        return
    from transformers.integrations import integration_utils as known

    available = known.get_available_reporting_integrations()
    for name in arguments.report_to:
        callback = known.INTEGRATION_TO_CALLBACK.get(name)
        if callback is None:
            names = list(known.INTEGRATION_TO_CALLBACK)
            meant = did_you_mean(near(name, names)) or f": known are {', '.join(names)}"
            raise ValueError(f"--report_to {name}: no such integration{meant}")
        if name not in available:
            try:
                callback()  # which says what to install
            except (RuntimeError, ImportError, ValueError) as error:
                raise ValueError(f"--report_to {name}: {error}") from error
