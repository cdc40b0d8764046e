"""Train one recipe and write its run folder.

    accelerate launch scripts/train.py --arch cnn_4to32                          # on the simulated phantom set
    accelerate launch scripts/train.py --arch resnet50 --data_dir DIR            # on a folder of images
    torchrun --nproc_per_node 2 scripts/train.py --arch resnet_small             # two processes

Every field of transformers.TrainingArguments is a flag too, and wins over the recipe.
"""

import logging
import re
import shutil
import sys
from pathlib import Path

from brainmri.command import call
from brainmri.training.arguments import parse
from brainmri.training.machine import keep_freed_memory, use_cpu_well


def main() -> None:
    run, given = parse()
    keep_freed_memory()

    # Imported late and in two steps, so that --help and a mistake in the arguments do not wait for everything.
    import torch
    from accelerate import PartialState

    from brainmri.training.arguments import batch_advice, stage_arguments
    from brainmri.training.recipe import resolve
    from brainmri.training.run_folder import claim, summary

    use_cpu_well()

    # ------------------------------------------------------------------ recipe and run folder, before any work
    changes = run.recipe + ([f"input.normalize={run.normalize}"] if run.normalize else [])
    recipe = resolve(run.arch, run.protocol, changes)
    seed = int(given.get("seed", recipe.seed))
    name = re.sub(r"[^\w.-]+", "-", run.arch)  # timm:NAME and hf:OWNER/NAME
    run_dir = Path(given.get("output_dir", f"runs/{name}-{run.protocol}-seed{seed}"))
    arguments = [stage_arguments(recipe, stage, given, seed, str(run_dir)) for stage in recipe.stages]
    state = PartialState(cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()))
    main_process = state.is_main_process
    logging.basicConfig(level=logging.INFO if main_process else logging.ERROR, format="%(message)s", stream=sys.stdout)
    for noisy in ("httpx", "datasets", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if not given.get("resume_from_checkpoint"):
        claim(run_dir, state, overwrite=run.overwrite)

    from transformers import set_seed
    from transformers.utils.logging import disable_progress_bar

    from brainmri.data.batches import SliceBatches
    from brainmri.data.binary import as_binary
    from brainmri.data.cache import pixel_cache
    from brainmri.data.dataset import SPLITS, oversampled
    from brainmri.data.source import prepared_data
    from brainmri.models.build import build_model, parameter_counts, synchronized
    from brainmri.models.preprocessing import image_processor
    from brainmri.models.saving import save_model
    from brainmri.training.outcome import predict, write_run
    from brainmri.training.parameters import set_frozen
    from brainmri.training.precision import bf16_is_faster, precision_probe
    from brainmri.training.stages import run_stages

    disable_progress_bar()  # of loading and saving weights; the training has its own

    # ------------------------------------------------------------------ data
    with state.main_process_first():
        data = prepared_data(run.data_dir, recipe.split, insist=run.protocol == "published")
        by_size = {size: pixel_cache(data, size) for size in recipe.sizes}
    pixels = by_size[recipe.input.size]
    if recipe.binary or run.positive:
        data = as_binary(data, run.positive)
    plain = {split: SliceBatches(pixels, data.rows(split), data.labels(data.rows(split))) for split in SPLITS}
    train_rows = plain["train"].rows
    if recipe.oversample:
        train_rows = oversampled(train_rows, plain["train"].labels, seed)
    pictures = data.index["picture_id"].to_numpy()[train_rows] if recipe.one_file_per_picture else None
    train = SliceBatches(pixels, train_rows, data.labels(train_rows), seed, by_size, pictures)
    counts = ", ".join(f"{split} {len(batches)}" for split, batches in plain.items())
    logging.info("Data: %s, split %r, %s", data.info["name"], data.info["split"], counts)
    if data.info["leaky"]:
        logging.info("This split LEAKS: images of one group stand on both sides. Its accuracies rank nothing.")

    # ------------------------------------------------------------------ model
    set_seed(seed)
    with state.main_process_first():
        model, weights = build_model(recipe, data.classes, run.weights)
    if run.sync_batchnorm:
        model = synchronized(model)
    set_frozen(model, recipe.stages[-1])
    parameters = parameter_counts(model)
    if advice := batch_advice(recipe, arguments[0]):
        logging.info(advice)
    logging.info(
        "Model: %s, {total:,} parameters ({trainable:,} trainable), weights: %s".format(**parameters), run.arch, weights
    )

    # ------------------------------------------------------------------ training, then test is read once
    checkpoints = run_dir / "checkpoints"
    probe = None
    if not {"bf16", "fp16"} & (given.keys() | recipe.training_arguments.keys()):
        probe = precision_probe(model, recipe, arguments, len(train), checkpoints / "precision.json")
    if probe:
        given["bf16"] = bf16_is_faster(probe)
        logging.info("Precision: %s, as a step takes %s s", "bf16" if given["bf16"] else "fp32", probe)
    trainer, stages = run_stages(model, recipe, train, plain["validation"], given, checkpoints, seed, run.max_minutes)
    scored = ["validation", "test"] + ["train"] * run.evaluate_train
    probabilities = {split: predict(trainer, plain[split]) for split in scored}

    # ------------------------------------------------------------------ run folder
    if main_process:
        run_dir.mkdir(parents=True, exist_ok=True)
        save_model(
            trainer.accelerator.unwrap_model(model), image_processor(recipe.input.size, recipe.input.normalize), run_dir
        )
        result = write_run(
            run_dir,
            run=run,
            recipe=recipe,
            epochs_scheduled=resolve(run.arch, run.protocol).epochs,
            seed=seed,
            data=data,
            train=train,
            weights=weights,
            parameters=parameters,
            trainer=trainer,
            precision_probe=probe,
            stages=stages,
            probabilities=probabilities,
        )
        if not run.keep_checkpoints:
            shutil.rmtree(checkpoints, ignore_errors=True)
        print(summary(result, run_dir))
    state.wait_for_everyone()
    state.destroy_process_group()


if __name__ == "__main__":
    call(main)
