"""The command line of `scripts/train.py`: its own flags and every field of `transformers.TrainingArguments`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from brainmri.training.recipe import Recipe, Stage


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
    protocol: Literal["clean", "published"] = field(
        default="clean", metadata={"help": "clean: without the source's flaws; published: as the source did it"}
    )
    weights: str = field(
        default="auto",
        metadata={
            "help": "auto (ImageNet where it can be had, else random and said so), imagenet (or fail), random, "
            "or a run folder, a .safetensors file, or a Hub ID with @revision"
        },
    )
    normalize: str | None = field(default=None, metadata={"help": "another input formula than the recipe's"})
    positive: list[str] | None = field(
        default=None,
        metadata={
            "help": "merge the classes into two: these against the rest (binary recipes: any tumour, by default)"
        },
    )
    folds: int | None = field(
        default=None,
        metadata={"help": "cross-validation by group: that many runs, each tested on other images, pooled in the end"},
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
    overwrite: bool = field(default=False, metadata={"help": "replace what an earlier run left in --output_dir"})
    keep_checkpoints: bool = field(default=False, metadata={"help": "keep the checkpoints of a finished run"})
    license: str | None = field(
        default=None,
        metadata={"help": "of the published weights (--push_to_hub), where theirs at the start asks for one"},
    )
    evaluate_train: bool = field(
        default=False, metadata={"help": "score the training images too, without augmentation"}
    )


def parse(arguments: list[str] | None = None) -> tuple[RunArguments, dict[str, Any]]:
    """Read the command line: the run's own flags, and the TrainingArguments that were given explicitly.

    An unknown flag ends the program with a message, as argparse does.
    """
    from transformers import HfArgumentParser, TrainingArguments

    parser = HfArgumentParser(
        [RunArguments, TrainingArguments],  # type: ignore[list-item]
        description="Train one recipe and write its run folder.",
        usage="train.py --arch NAME [--data_dir DIR] [--output_dir DIR] [any flag below]",
        allow_abbrev=False,
    )
    for action in parser._actions:
        if action.dest != "help":
            action.default = argparse.SUPPRESS  # so that only what was given is returned
    given = vars(parser.parse_args(arguments))
    own = {f.name for f in fields(RunArguments)}
    return (
        RunArguments(**{name: value for name, value in given.items() if name in own}),
        {name: value for name, value in given.items() if name not in own},
    )


def command_line() -> str:
    """How this run was called, as `result.json` keeps it: without a token of the Hub."""
    words = list(sys.argv[1:])
    for place, word in enumerate(words):
        flag, equals, _ = word.partition("=")
        if flag.replace("-", "_") == "__hub_token":
            words[place] = flag + equals + "TOKEN" * bool(equals)
            if not equals and place + 1 < len(words):
                words[place + 1] = "TOKEN"
    return shlex.join(["scripts/train.py", *words])


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


def stage_arguments(
    recipe: Recipe, stage: Stage, given: dict[str, Any], seed: int, output_dir: str
) -> TrainingArguments:
    """The TrainingArguments of one stage: the recipe's, with what the command line gave laid over them.

    Raises:
        ValueError: for a key of the recipe's `training_arguments` that TrainingArguments lacks, for a global batch that
            the processes cannot share equally, or for flags that contradict each other.
    """
    import torch
    from transformers import TrainingArguments

    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    shares = world_size() * int(given.get("gradient_accumulation_steps", 1))
    if recipe.batch_size % shares and "per_device_train_batch_size" not in given:
        raise ValueError(
            f"the recipe's batch of {recipe.batch_size} cannot be shared equally by {shares} processes x accumulation "
            "steps: give --per_device_train_batch_size"
        )
    values: dict[str, Any] = {
        "seed": seed,
        "data_seed": seed,
        "num_train_epochs": stage.epochs,
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": "reduce_lr_on_plateau" if stage.plateau else stage.schedule,
        "warmup_steps": stage.warmup,
        "per_device_train_batch_size": max(1, recipe.batch_size // shares),
        "per_device_eval_batch_size": 64,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_strategy": "epoch",
        "save_total_limit": 1,
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
    if unknown := set(recipe.training_arguments) - known:
        raise ValueError(
            f"recipe: training_arguments has no {', '.join(sorted(unknown))} (see transformers.TrainingArguments)"
        )
    values |= recipe.training_arguments | given
    # Set by us whatever was given: our batches have no columns to remove, and the run's folder is not the stage's.
    values |= {"remove_unused_columns": False, "output_dir": output_dir, "resume_from_checkpoint": None}
    return TrainingArguments(**values)
