"""Train one recipe and write its run folder.

    accelerate launch scripts/train.py --arch cnn_4to32                          # on the simulated phantom set
    accelerate launch scripts/train.py --arch resnet50 --data_dir DIR            # on a folder of images
    accelerate launch scripts/train.py --arch resnet50 --dataset_name OWNER/NAME # on a data set that publish.py made
    accelerate launch scripts/train.py --arch resnet50 --data_dir DIR --folds 5  # every image tested once
    accelerate launch scripts/train.py --arch resnet50 --data_dir DIR --folds sites # each site tested once
    torchrun --nproc_per_node 2 scripts/train.py --arch resnet_small             # two processes

Every field of transformers.TrainingArguments is a flag too, and wins over the recipe.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.cli.command import Parser, log_to_terminal, shown_arguments
from brainmri.environment import keep_freed_memory, local_processes, use_cpu_well
from brainmri.hub.upload import use_plain_uploads
from brainmri.training.arguments import RunArguments, add_run_flags, flags_of_transformers, spellings

if TYPE_CHECKING:
    from brainmri.data.dataset import PreparedData
    from brainmri.data.shards import Shards
    from brainmri.recipe import Recipe

logger = logging.getLogger(__name__)


def main() -> None:
    use_plain_uploads()
    run, given = parse()
    keep_freed_memory()

    # Imported late and in two steps, so that --help and a mistake in the arguments do not wait for everything.
    import torch
    from accelerate import PartialState
    from transformers.utils.logging import disable_progress_bar

    from brainmri.data.shards import is_sharded
    from brainmri.hub.build import take_push
    from brainmri.models.introspect import resolve
    from brainmri.runs.folder import RunFolder, summary, where_to_resume
    from brainmri.runs.manifest import settings_of
    from brainmri.training.arguments import recipe_changes, stage_arguments
    from brainmri.training.processes import be_patient, check_launch, described
    from brainmri.training.streaming import check_streaming, readers

    use_cpu_well()
    check_launch(os.environ, gpu=torch.cuda.is_available())

    # ------------------------------------------------------------------ the arguments, before any work
    recipe = resolve(run.arch, run.protocol, recipe_changes(run))
    seed = int(given.get("seed", recipe.seed))
    push = take_push(given, run.license, folds=run.folds is not None)
    asked = where_to_resume(
        given.pop("resume_from_checkpoint", None), overwrite=run.overwrite, folds=run.folds is not None
    )
    # A mistake in them ends the run here.
    arguments = [stage_arguments(recipe, stage, given, seed, "runs") for stage in recipe.stages]
    if push:
        push.check()
    if is_sharded(run.data_dir):
        check_streaming(run, recipe, given)
        given.setdefault("dataloader_num_workers", readers(local_processes()))
    state = PartialState(cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()))
    be_patient()
    main_process = state.is_main_process
    log_to_terminal(logging.INFO if main_process else logging.ERROR)
    if line := described(state):
        logger.info(line)

    from brainmri.data.dataset import as_binary
    from brainmri.data.folds import folds_of, with_fold
    from brainmri.data.pixel_cache import pixel_cache
    from brainmri.data.shards import as_published, local_part, open_shards
    from brainmri.data.source import prepared_data
    from brainmri.files import finishing
    from brainmri.runs.finalize import RunPlan, finalize
    from brainmri.runs.folds import pool
    from brainmri.training.processes import first_in_main_process
    from brainmri.training.train import train

    plan = RunPlan(run, recipe, seed, command_line())

    def open_data() -> tuple[PreparedData, Shards | None]:
        shards = open_shards(str(run.data_dir)) if is_sharded(run.data_dir) else None
        if shards:
            data = as_published(local_part(shards), shards)
        else:
            data = prepared_data(run.data_dir, recipe.split, insist=run.protocol == "published")
        return as_binary(data, run.positive) if recipe.binary or run.positive else data, shards

    # ------------------------------------------------------------------ the data, then the run's folder
    data, shards = first_in_main_process(state, open_data)
    run_dir = Path(given.get("output_dir") or default_folder(data.info.name, run, recipe, seed))
    with RunFolder(run_dir, state, overwrite=run.overwrite, asked=asked) as folder:
        folder.look(settings_of(run, recipe, seed, arguments))
        folder.data_agree(data)
        logger.info("Run folder: %s", run_dir)
        disable_progress_bar()  # of loading and saving weights; the training has its own

        # -------------------------------------------------------------- a run, or one for each fold
        result = folder.finished()
        if result is None:
            by_size = first_in_main_process(state, lambda: {size: pixel_cache(data, size) for size in recipe.sizes})
            if run.folds is None:
                trained = train(run, given, recipe, seed, data, by_size, folder, state, shards)
                if main_process:
                    result = finalize(folder, trained, plan, data)
            else:
                folds = folds_of(data, run.folds)
                for number in range(len(folds)):
                    logger.info("\n%s", folds.name(number))
                    one = with_fold(data, folds, number)
                    of_fold = folder.fold(number, one)
                    if of_fold.finished() is None:
                        trained = train(run, given, recipe, seed, one, by_size, of_fold, state)
                        if main_process:
                            finalize(of_fold, trained, plan, one, fold=number)
                if main_process:
                    with finishing(run_dir) as made:
                        result = pool(made, [run_dir / f"fold{number}" for number in range(len(folds))], data, folds)
                    folder.finish(keep_checkpoints=run.keep_checkpoints)
        if result and main_process:
            print(summary(result, run_dir))
            if push:
                outcome = push.publish(run_dir)
                print(f"{outcome.url}: {outcome.summary}")
    state.wait_for_everyone()
    state.destroy_process_group()


def default_folder(data: str, run: RunArguments, recipe: Recipe, seed: int) -> Path:
    """Where a run goes that names no --output_dir: runs/DATA-ARCH-PROTOCOL-seedN.

    A short hash follows where --positive, --recipe or a flag that changes the recipe makes it another run than the
    recipe's own.
    """
    from brainmri.files import digest
    from brainmri.models.introspect import resolve

    name = f"{data}-{run.arch}-{run.protocol}-seed{seed}"  # with timm:NAME, hf:OWNER/NAME, a name with spaces
    if run.positive or recipe != resolve(run.arch, run.protocol):
        name += f"-{digest(recipe.model_dump(mode='json'), run.positive)[:6]}"
    return Path("runs") / re.sub(r"[^\w.-]+", "-", name)


PREPARATION = ["split", "val", "test", "split_seed", "groups", "sites", "outlines", "holdout", "layout", "standardize"]
PREPARATION += ["exclude", "test_fold", "name", "origin", "class_names", "image_root"]
PREPARATION += ["id_key", "label_level", "labels", "lesion_area", "lesion_label", "linkage", "masks"]
PREPARATION += ["no_lesion_label", "patient_level", "patient_pattern", "plane", "series", "site", "slices"]
# Flags of other programs that stand for more than another name of ours.
ELSEWHERE = {
    **dict.fromkeys(
        PREPARATION,
        "the data are split and laid out before: brainmri prepare_data SOURCE OUT --{} ..., then --data_dir OUT",
    ),
    **dict.fromkeys(
        ("dataset_config_name", "dataset_config", "dataset_revision", "train_split_name", "dataset_split"),
        "a data set that publish.py made has one configuration and its splits: --dataset_name OWNER/NAME[@REVISION]",
    ),
    **dict.fromkeys(
        ("train_file", "validation_file", "validation_dir", "test_dir", "train_val_split"),
        "one folder holds all splits: brainmri prepare_data SOURCE OUT, then --data_dir OUT",
    ),
    **dict.fromkeys(
        ("image_column_name", "label_column_name"),
        "prepared sets call them image and label: brainmri prepare_data makes one, from a CSV file too",
    ),
    **dict.fromkeys(("model_revision",), "the revision stands at the end: --model_name_or_path OWNER/NAME@REVISION"),
    **dict.fromkeys(("config_name", "image_processor_name"), "--arch and the recipe say what they are"),
    **dict.fromkeys(
        ("max_train_samples", "max_eval_samples"), "every image counts; --max_steps N makes a short run, and says so"
    ),
    **dict.fromkeys(("image_size", "img_size", "size", "resolution"), "give --recipe input.size=N"),
    **dict.fromkeys(("dropout", "drop_rate"), "give --recipe model.arguments.dropout=P, where the network has it"),
    **dict.fromkeys(("class_weight", "class_weights"), "give --class_balance weights"),
    **dict.fromkeys(("oversample", "oversampling"), "give --class_balance oversample"),
    **dict.fromkeys(("patience", "early_stopping"), "give --recipe stages.0.early_stopping.patience=N"),
    **dict.fromkeys(("augment", "augmentation"), "give --recipe augmentation.NAME=WIDTH"),
    **dict.fromkeys(("mixup", "cutmix"), "give --recipe mix.{}=ALPHA"),
    **dict.fromkeys(("freeze", "freeze_backbone"), "give --recipe stages.0.freeze=backbone"),
    **dict.fromkeys(
        ("gpus", "devices", "num_processes", "nproc_per_node", "num_gpus"),
        "the launcher takes it: accelerate launch --num_processes N scripts/train.py ...",
    ),
}


def parse(arguments: list[str] | None = None) -> tuple[RunArguments, dict[str, Any]]:
    """Read the command line: the run's own flags, and the TrainingArguments that were given explicitly.

    The names of the flags and the run's own values are looked at before transformers is imported, which takes two
    seconds; so --help and most mistakes end at once.

    Raises:
        ValueError: for an unknown flag, which says what was probably meant, or a value that a flag does not take.
    """
    program = sys.argv[0] if sys.argv[0] == "brainmri train" else "train.py"
    settings: dict[str, Any] = {
        "prog": program,
        "description": "Train one recipe and write its run folder.",
        "usage": f"{program} --arch NAME [--data_dir DIR | --dataset_name OWNER/NAME] [--output_dir DIR] "
        "[any flag below]",
        "elsewhere": {flag: text.format(flag) for flag, text in ELSEWHERE.items()},
    }
    quick = Parser(**settings)
    add_run_flags(quick)
    group = quick.add_argument_group("transformers.TrainingArguments, each of which wins over the recipe")
    for flag in flags_of_transformers():
        group.add_argument(*spellings(flag.name), nargs="*", metavar="VALUE", help=flag.help)
        if flag.negatable:
            group.add_argument(*spellings(f"no_{flag.name}"), action="store_true", help=f"--{flag.name} false")
    quick.parse_args(arguments)

    from transformers import HfArgumentParser, TrainingArguments

    class TrainParser(Parser, HfArgumentParser):
        pass

    parser = TrainParser([TrainingArguments], **settings)
    add_run_flags(parser)
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
    return shlex.join(["scripts/train.py", *shown_arguments()])
