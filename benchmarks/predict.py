"""`brainmri predict` against `transformers.pipeline("image-classification")`: same model, files and threads, in turns.

    python -m benchmarks.predict RUN slices/ --images 600 --threads 2
    python -m benchmarks.predict RUN slices/ --volume head.nii.gz     # and a whole volume

Four ways take turns (A B C D A B C D ...): the pipeline, its model loaded before; `model.predict_many`, likewise; the
whole command `brainmri predict` in a process of its own; and that command for one image, which is its start-up. The
pipeline gives probabilities only, and ours gives also the prediction set and the out-of-distribution score. Writes
predict.json with every repetition, the ratios, the largest difference between the uncalibrated probabilities, versions
and threads into --out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.timing import Way, comparison, in_turns
from brainmri.cli.command import Parser, call
from brainmri.files import default_output, digest, output
from brainmri.schemas import json_text

if TYPE_CHECKING:
    from brainmri.evaluation.model import LoadedModel

PIPELINE, OURS, COMMAND, START = "pipeline", "predict_many", "brainmri predict", "brainmri predict, one image"
TARGET = 0.25  # of the pipeline's time for each image
VOLUME_S = 3.0
SAME = 1e-4  # between uncalibrated probabilities


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="a run folder, or a folder with a saved model")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with images in files of their own")
    parser.add_argument("--volume", type=Path, metavar="FILE", help="a volume, whose slices are classified as well")
    parser.add_argument("--images", type=int, default=600, help="at most (default: 600)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured (default: 3)")
    parser.add_argument("--threads", type=int, default=2, help="of torch and of ONNX Runtime (default: 2)")
    parser.add_argument("--out", type=Path, help="folder to write into (default: measurements/predict-DIGEST)")
    parser.add_argument("--overwrite", action="store_true", help="replace what was measured of something else")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # before numpy's and torch's threads start; children too
    import torch

    from brainmri.environment import environment
    from brainmri.io.open import files_below

    torch.set_num_threads(arguments.threads)
    files = [str(file) for file, _ in files_below(arguments.folder)]
    files = [files[k] for k in np.linspace(0, len(files) - 1, min(arguments.images, len(files))).astype(int)]
    inputs = digest(arguments.model, files, arguments.threads, str(arguments.volume))
    out = arguments.out or default_output(Path("measurements"), "predict", inputs)
    with output(out, "benchmark-predict", inputs, overwrite=arguments.overwrite, names=["predict.json"]) as new:
        found = measure(arguments.model, files, arguments.rounds, arguments.threads)
        report: dict[str, Any] = {"environment": environment().as_json(), "command": sys.argv[1:], "images": found}
        report["environment"]["threads"] = arguments.threads
        if arguments.volume:
            report["volume"] = measure_volume(arguments.model, str(arguments.volume), arguments.rounds)
        (new / "predict.json").write_text(json_text(report), encoding="utf-8")
    for title in ("images", "volume"):
        if title in report:
            print(json.dumps({k: v for k, v in report[title].items() if k not in ("seconds", "made")}, indent=2))
    print(f"Wrote {out / 'predict.json'}")
    return 0 if found["met"] and found["largest_difference"] <= SAME else 1


def measure(place: str, files: list[str], rounds: int, threads: int) -> dict[str, Any]:
    """Seconds of each way for all of `files`, and the ratios to the pipeline of what ours takes for each image."""
    from transformers import pipeline

    from brainmri.evaluation.load import load_model

    usual = pipeline("image-classification", model=place, device="cpu")
    ours = load_model(place)
    list(ours.predict_many(files[:1]))  # which writes the ONNX file, once
    answers: dict[str, Any] = {}

    def by_pipeline() -> None:
        answers[PIPELINE] = list(usual(files, top_k=len(ours.classes)))

    def by_ours() -> None:
        answers[OURS] = list(ours.predict_many(files))

    with TemporaryDirectory() as scratch:
        ways: dict[str, Way] = {
            PIPELINE: lambda: by_pipeline,
            OURS: lambda: by_ours,
            COMMAND: partial(_command, place, files, Path(scratch)),
            START: partial(_command, place, files[:1], Path(scratch)),
        }
        seconds = in_turns(ways, rounds, "predict")
    # Whatever else the machine does hits the ways of one round alike: the ratio is of each round, and its median.
    start = [whole - one for whole, one in zip(seconds[COMMAND], seconds[START], strict=True)]
    by_round = {
        OURS: [own / usual for own, usual in zip(seconds[OURS], seconds[PIPELINE], strict=True)],
        f"{COMMAND} without its start-up": [own / usual for own, usual in zip(start, seconds[PIPELINE], strict=True)],
        f"{COMMAND}, start-up included": [
            own / usual for own, usual in zip(seconds[COMMAND], seconds[PIPELINE], strict=True)
        ],
    }
    ratios = {name: median(values) for name, values in by_round.items()}
    found = comparison(f"{len(files)} images", seconds, images=len(files), threads=threads, backend=ours.backend)
    return found | {
        "ratios": ratios,
        "ratios_by_round": by_round,
        "milliseconds_per_image": {name: 1000 * median(values) / len(files) for name, values in seconds.items()},
        "target": {"at_most": TARGET},
        "met": ratios[OURS] <= TARGET and ratios[f"{COMMAND} without its start-up"] <= TARGET,
        "largest_difference": _largest_difference(ours, answers),
    }


def measure_volume(place: str, volume: str, rounds: int) -> dict[str, Any]:
    """Seconds of the whole command for a volume, and without its start-up (the command for a file that is none)."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "none.txt").write_text("no image")
        ways = {
            COMMAND: partial(_command, place, [volume], folder),
            "start-up": partial(_command, place, [str(folder / "none.txt")], folder, status=1),
        }
        seconds = in_turns(ways, rounds, "volume")
        _command(place, [volume], folder)()
        slices = sum(1 for _ in (folder / "out" / "predictions.csv").open(encoding="utf-8")) - 1
    alone = [whole - start for whole, start in zip(*seconds.values(), strict=True)]
    return comparison(
        f"a volume of {slices} slices", seconds | {"without start-up": alone}, images=slices, at_most=VOLUME_S
    )


def _command(place: str, files: list[str], folder: Path, *, status: int = 0) -> Callable[[], object]:
    """The whole command, on hard links in a folder (a command line does not hold thousands of names)."""
    inputs = files
    if len(files) > 1:
        inputs = [str(folder / "files")]
        (folder / "files").mkdir(exist_ok=True)
        for number, file in enumerate(files):
            link = folder / "files" / f"{number:06}-{Path(file).name}"
            if not link.exists():
                link.symlink_to(Path(file).resolve())
    arguments = ["predict", place, *inputs, "--out", str(folder / "out" / "predictions.csv"), "--overwrite"]

    def run() -> None:
        done = subprocess.run(
            [sys.executable, "-m", "brainmri.cli.main", *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode != status:
            raise ValueError(f"brainmri predict failed: {done.stderr.strip()}")

    return run


def _largest_difference(model: LoadedModel, answers: dict[str, Any]) -> float:
    """Between our probabilities, uncalibrated, and those of the pipeline."""
    from brainmri.metrics.probabilities import apply_temperature

    calibrated = np.array([[one.probabilities[name] for name in model.classes] for one in answers[OURS]])
    ours = apply_temperature(calibrated, 1 / model.temperature) if model.temperature else calibrated
    usual = [{one["label"]: one["score"] for one in answer} for answer in answers[PIPELINE]]
    theirs = np.array([[answer[name] for name in model.classes] for answer in usual])
    return float(np.abs(ours - theirs).max())


if __name__ == "__main__":
    call(main)
