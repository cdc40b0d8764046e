"""Train one recipe and write its run folder.

    accelerate launch scripts/train.py --arch cnn_4to32                          # on the simulated phantom set
    accelerate launch scripts/train.py --arch resnet50 --data_dir DIR            # on a folder of images
    accelerate launch scripts/train.py --arch resnet50 --data_dir DIR --folds 5  # every image tested once
    torchrun --nproc_per_node 2 scripts/train.py --arch resnet_small             # two processes

Every field of transformers.TrainingArguments is a flag too, and wins over the recipe.
"""

import logging
import os
import re
import sys
from pathlib import Path

from brainmri.command import call
from brainmri.hub.upload import use_plain_uploads
from brainmri.training.arguments import parse
from brainmri.training.machine import keep_freed_memory, use_cpu_well


def main() -> None:
    use_plain_uploads()
    run, given = parse()
    keep_freed_memory()

    # Imported late and in two steps, so that --help and a mistake in the arguments do not wait for everything.
    import torch
    from accelerate import PartialState

    from brainmri.data.shards import is_sharded
    from brainmri.hub.push import take_push
    from brainmri.training.arguments import stage_arguments
    from brainmri.training.processes import be_patient, check_launch, described
    from brainmri.training.recipe import resolve
    from brainmri.training.run_folder import claim, summary
    from brainmri.training.streamed import check_streaming, readers

    use_cpu_well()
    check_launch(os.environ, gpu=torch.cuda.is_available())

    # ------------------------------------------------------------------ recipe and run folder, before any work
    changes = run.recipe + ([f"input.normalize={run.normalize}"] if run.normalize else [])
    recipe = resolve(run.arch, run.protocol, changes)
    seed = int(given.get("seed", recipe.seed))
    name = re.sub(r"[^\w.-]+", "-", run.arch)  # timm:NAME and hf:OWNER/NAME
    run_dir = Path(given.get("output_dir", f"runs/{name}-{run.protocol}-seed{seed}"))
    push = take_push(given, run.license, folds=run.folds is not None)
    for stage in recipe.stages:
        stage_arguments(recipe, stage, given, seed, str(run_dir))  # a mistake in them ends the run here
    if push:
        push.check()
    if is_sharded(run.data_dir):
        check_streaming(run, recipe, given)
        given.setdefault("dataloader_num_workers", readers(int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    state = PartialState(cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()))
    be_patient()
    main_process = state.is_main_process
    logging.basicConfig(level=logging.INFO if main_process else logging.ERROR, format="%(message)s", stream=sys.stdout)
    for noisy in ("httpx", "datasets", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if line := described(state):
        logging.info(line)
    if not given.get("resume_from_checkpoint"):
        claim(run_dir, state, overwrite=run.overwrite)

    from transformers.utils.logging import disable_progress_bar

    from brainmri.data.binary import as_binary
    from brainmri.data.cache import pixel_cache
    from brainmri.data.folds import fold_numbers, with_fold
    from brainmri.data.shards import as_published, local_part, open_shards
    from brainmri.data.source import prepared_data
    from brainmri.evaluation.folds import pool
    from brainmri.training.one_run import train_once

    disable_progress_bar()  # of loading and saving weights; the training has its own

    # ------------------------------------------------------------------ data, and a run or one for each fold
    with state.main_process_first():
        shards = open_shards(run.data_dir) if run.data_dir and is_sharded(run.data_dir) else None
        if shards:
            data = local_part(shards)
        else:
            data = prepared_data(run.data_dir, recipe.split, insist=run.protocol == "published")
        by_size = {size: pixel_cache(data, size) for size in recipe.sizes}
    if shards:
        data = as_published(data, shards)
    if recipe.binary or run.positive:
        data = as_binary(data, run.positive)
    if run.folds is None:
        result = train_once(run, given, recipe, seed, data, by_size, run_dir, state, shards=shards)
    else:
        numbers = fold_numbers(data, run.folds)
        folders = [run_dir / f"fold{fold}" for fold in range(run.folds)]
        for fold, folder in enumerate(folders):
            if (folder / "result.json").is_file():  # of a command that goes on
                continue
            logging.info("\nFold %d of %d", fold + 1, run.folds)
            started = (folder / "checkpoints").is_dir()
            own = {key: value for key, value in given.items() if started or key != "resume_from_checkpoint"}
            train_once(run, own, recipe, seed, with_fold(data, numbers, fold), by_size, folder, state, fold)
        result = pool(run_dir, folders, data) if main_process else None
    if result:
        print(summary(result, run_dir))
        if push:
            outcome = push.publish(run_dir)
            print(f"{outcome.url}: {outcome.summary}")
    state.wait_for_everyone()
    state.destroy_process_group()


if __name__ == "__main__":
    call(main)
