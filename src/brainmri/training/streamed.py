"""What a run on streamed training pictures cannot do, said before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainmri.training.machine import available_cpus

if TYPE_CHECKING:
    from brainmri.training.arguments import RunArguments
    from brainmri.training.recipe import Recipe

MOST_READERS = 8  # worker processes for each process of the training, unless more are asked for


def check_streaming(run: RunArguments, recipe: Recipe, given: dict[str, Any]) -> None:
    """See that recipe and flags go with pictures that pass once in each epoch, in an order of their own.

    Raises:
        ValueError: naming the flag or the override of the recipe that makes them go.
    """
    widths = recipe.augmentations()
    taken = [name for name in ("levels", "transplant", "half_mirror") if getattr(widths, name)]
    views = [number for number, stage in enumerate(recipe.stages) if stage.feature_views]
    persistent = (recipe.training_arguments | given).get("dataloader_persistent_workers")
    refused = [
        (recipe.oversample, "oversample repeats pictures", "--recipe oversample=false"),
        (
            recipe.one_file_per_picture,
            "one_file_per_picture chooses among the files of a picture",
            "--recipe one_file_per_picture=false",
        ),
        (
            taken,
            f"{', '.join(taken)} take something from another training picture",
            " ".join(["--recipe", *(f"augmentation.{name}=0" for name in taken)]),
        ),
        (
            views,
            "feature_views keeps features of every picture",
            " ".join(["--recipe", *(f"stages.{number}.feature_views=null" for number in views)]),
        ),
        (run.folds is not None, "--folds divides the pictures anew", "leave it out"),
        (run.evaluate_train, "--evaluate_train reads the pictures once more", "leave it out"),
        (persistent, "dataloader_persistent_workers would repeat the first epoch's order", "leave it out"),
    ]
    for found, reason, remedy in refused:
        if found:
            raise ValueError(f"--data_dir {run.data_dir} is streamed, and {reason}: {remedy}")


def readers(local_processes: int) -> int:
    """How many worker processes read and decode for each process of the training."""
    return max(1, min(MOST_READERS, available_cpus() // local_processes))
