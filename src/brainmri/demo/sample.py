"""Which models the demo shows: what was asked for, else what its own README.md names, else the finished runs of this
folder, else a sample that it trains.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from brainmri.data.phantom.generate import PHANTOM_VERSION
from brainmri.data.storage import cache_folder
from brainmri.schemas import find_runs, read_result

logger = logging.getLogger(__name__)
MOST_RUNS = 6  # shown by default; each takes memory and time to start
RUN_FILES = ("config.json", "model.safetensors", "uncertainty.json")
SAMPLE_VERSION = 1  # raise it when the sample is trained in another way
# A network from random weights, in half a minute on two cores, with nothing from the Hub.
TRAINING = [
    *("--arch", "cnn_4to32"),
    *("--recipe", "input.size=128", "model.arguments.image_size=128"),
    *("stages.0.epochs=16", "stages.0.learning_rate=0.003", "stages.0.schedule=cosine"),
]


def default_places(runs: Path = Path("runs")) -> list[str]:
    """The newest finished runs in `runs`, newest first, at most `MOST_RUNS`; without any, the sample's folder."""
    created = {}
    for run in find_runs([runs]) if any(runs.glob("*/result.json")) else []:
        if not all((run / name).is_file() for name in RUN_FILES):
            continue
        try:
            created[run] = read_result(run).created
        except ValueError as error:
            logger.warning("Left out: %s", error)
    found = sorted(created, key=lambda run: created[run], reverse=True)
    if len(found) > MOST_RUNS:
        print(f"{runs} has {len(found)} finished runs; the newest {MOST_RUNS} are shown. Name others as models.")
    return [str(run) for run in found[:MOST_RUNS]] or [str(sample())]


def sample() -> Path:
    """The run folder of a small network trained on the phantom set, in the cache; trained where it is not there.

    The training runs in a process of its own and prints its progress. The folder appears only when it is complete.

    Raises:
        ValueError: if the training fails.
    """
    folder = cache_folder() / f"sample-v{PHANTOM_VERSION}-{SAMPLE_VERSION}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            print("No finished run was found: training a small sample model on simulated slices, once.", flush=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
                unfinished = Path(scratch) / "sample"
                command = [sys.executable, "-m", "brainmri.demo.sample", *TRAINING, "--output_dir", str(unfinished)]
                command += [] if sys.stderr.isatty() else ["--disable_tqdm", "true"]
                if subprocess.run(command, env=_environment()).returncode:
                    raise ValueError("the sample model could not be trained (see above): name the models to show")
                unfinished.rename(folder)
    return folder


def _environment() -> dict[str, str]:
    """Of a process that finds this package, wherever it lies, and has one thread: two wait for each other on a
    machine that has other work, which took ten times as long."""
    here = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def _train() -> None:
    """What `scripts/train.py` does with these arguments; a Space and an installed package lack the script."""
    from brainmri.cli.command import log_to_terminal
    from brainmri.cli.train import command_line, parse
    from brainmri.environment import keep_freed_memory, use_cpu_well

    run, given = parse()
    keep_freed_memory()
    use_cpu_well()

    from accelerate import PartialState
    from transformers.utils.logging import disable_progress_bar

    from brainmri.data.pixel_cache import pixel_cache
    from brainmri.data.source import prepared_data
    from brainmri.models.introspect import resolve
    from brainmri.runs.finalize import RunPlan, finalize
    from brainmri.runs.folder import RunFolder
    from brainmri.runs.manifest import settings_of
    from brainmri.training.arguments import stage_arguments
    from brainmri.training.train import train

    log_to_terminal()
    disable_progress_bar()  # of loading and saving weights; the training has its own
    state = PartialState(cpu=True)
    recipe = resolve(run.arch, run.protocol, run.recipe)
    data = prepared_data(None, recipe.split, insist=False)
    pixels = {recipe.input.size: pixel_cache(data, recipe.input.size)}
    arguments = [stage_arguments(recipe, stage, given, recipe.seed, given["output_dir"]) for stage in recipe.stages]
    with RunFolder(Path(given["output_dir"]), state) as folder:
        folder.look(settings_of(run, recipe, recipe.seed, arguments))
        folder.data_agree(data)
        if folder.finished() is None:
            trained = train(run, given, recipe, recipe.seed, data, pixels, folder, state)
            finalize(folder, trained, RunPlan(run, recipe, recipe.seed, command_line()), data)


MODELS_VARIABLE = "BRAINMRI_MODELS"  # places, apart by spaces


def model_places(given: Sequence[str], home: Path) -> list[str]:
    """Run folders and Hub IDs `OWNER/NAME[@REVISION]`, the one to show first in front. No visitor can add to them.

    Args:
        given: of the command line; they win over the variable BRAINMRI_MODELS, which wins over the key `models` in the
            metadata of `home/README.md`, as a Space has it. With none of them: the runs in `home/runs`, else a small
            model that is trained on the simulated set.
        home: the folder with app.py.
    """
    return list(given) or os.environ.get(MODELS_VARIABLE, "").split() or _of_card(home) or default_places(home / "runs")


def _of_card(home: Path) -> list[str]:
    from huggingface_hub import metadata_load

    from brainmri.hub.space_repository import REVISIONS

    card, pinned = home / "README.md", home / REVISIONS
    metadata = metadata_load(card) if card.is_file() else None
    lines = pinned.read_text(encoding="utf-8").splitlines() if pinned.is_file() else []
    revision = dict(line.split(" ", 1) for line in lines)
    named = list((metadata or {}).get("models", []))
    return [f"{name}@{revision[name]}" if name in revision else name for name in named]


if __name__ == "__main__":
    from brainmri.cli.command import call

    call(_train)
