"""The whole command `brainmri train` against the usual one: same weights, images, batch and epochs, in turns.

    python -m benchmarks.whole_command DATA --arch efficientnet_lite0 --rounds 2

Each round starts either in a process of its own, without a cache. Ours leaves all its outputs: baselines, OOD detector,
calibration, figures, report and card. Writes command.json with the seconds, those of the processors (for a machine with
other work on it) and the peak memory of every repetition into --out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.timing import comparison
from brainmri.cli.command import Parser, call
from brainmri.environment import environment
from brainmri.files import default_output, digest, output
from brainmri.schemas import json_text

OURS, USUAL = "brainmri train", "the usual command"
TARGET = 0.65  # of the usual time


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA", help="a prepared data set")
    parser.add_argument("--arch", default="efficientnet_lite0", help="a recipe (default: efficientnet_lite0)")
    parser.add_argument("--size", type=int, default=224, help="of the images in pixels (default: 224)")
    parser.add_argument("--rounds", type=int, default=2, help="how often either is measured (default: 2)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    parser.add_argument("--out", type=Path, help="folder to write into (default: measurements/command-DIGEST)")
    parser.add_argument("--overwrite", action="store_true", help="replace what was measured of something else")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    inputs = digest(str(arguments.data), arguments.arch, arguments.size, arguments.threads)
    out = arguments.out or default_output(Path("measurements"), "command", inputs)
    with output(out, "benchmark-command", inputs, overwrite=arguments.overwrite, names=["command.json"]) as new:
        found = measure(arguments.data, arguments.arch, arguments.size, arguments.rounds, arguments.threads)
        report = {"environment": environment().as_json(), "command": sys.argv[1:], "training": found}
        (new / "command.json").write_text(json_text(report), encoding="utf-8")
    print(f"ours / usual: time {found['ratios'][OURS]:.2f}, peak memory {found['memory_ratio']:.2f}")
    print(f"Wrote {out / 'command.json'}")
    return 0 if found["met"] else 1


def measure(data: Path, arch: str, size: int, rounds: int, threads: int) -> dict[str, Any]:
    """Seconds and peak memory (MiB) of either way, one epoch."""
    changes = [f"input.size={size}", "stages.0.sizes=[]"]
    seconds: dict[str, list[float]] = {OURS: [], USUAL: []}
    processor: dict[str, list[float]] = {OURS: [], USUAL: []}
    memory: dict[str, list[float]] = {OURS: [], USUAL: []}
    for number in range(rounds):
        for name in (OURS, USUAL):
            with TemporaryDirectory() as scratch:
                flags = ["--num_train_epochs", "1", "--disable_tqdm", "true", "--bf16", "false", "--recipe", *changes]
                ours = ["brainmri", "train", "--arch", arch, "--data_dir", str(data), "--output_dir", f"{scratch}/run"]
                usual = ["benchmarks.usual_command", str(data), arch, f"{scratch}/run", *changes]
                command = [*ours, *flags] if name == OURS else usual
                took, used, peak = _run([sys.executable, "-m", *command], Path(scratch), threads)
            seconds[name].append(took)
            processor[name].append(used)
            memory[name].append(peak)
            print(
                f"round {number + 1}, {name}: {took:.0f} s, {used:.0f} s of the processors, {peak:,.0f} MiB", flush=True
            )
    measured = (("processor", processor), ("memory", memory))
    found = comparison(f"{arch}, {size} pixels, one epoch", seconds, reference=USUAL, at_most=TARGET, threads=threads)
    ratios = {f"{what}_ratio": median(one[OURS]) / median(one[USUAL]) for what, one in measured}
    return found | {"processor_seconds": processor, "peak_mib": memory} | ratios


def _run(command: list[str], scratch: Path, threads: int) -> tuple[float, float, float]:
    """Seconds, those of the processors, and MiB at most of one command, which has to end well."""
    own = {"OMP_NUM_THREADS": str(threads), "BRAINMRI_CACHE": f"{scratch}/cache", "HF_DATASETS_CACHE": f"{scratch}/hf"}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | own, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    call(main)
