"""Measure how fast the parts of the project are on this machine, against what one would use instead.

    python scripts/benchmark.py                                       # everything, on the simulated phantom set (long)
    python scripts/benchmark.py --data_dir DIR --only pipeline step
    python scripts/benchmark.py --only epoch --images 640 --repeats 3 # a part of an epoch

parts:
    pipeline      images without a network: ours and the per-image pipeline of Hugging Face's example
    epoch         an epoch of training: ours and that example's, both through transformers.Trainer
    step          the training steps of our Trainer and of a bare PyTorch loop
    precision     training steps in float32 and in bfloat16 (train.py --bf16 true)
    features      50 epochs of a frozen backbone's recipe, and its features alone
    augmentation  random transformations: ours, kornia's and torchvision's
    inference     eager, bf16, ONNX Runtime, OpenVINO (pip install brainmri[export])
    demo          a slice judged in the demo, and its map
    grouping      finding near duplicates and neighbouring slices: seconds and memory against the number of images
    startup       --help of every script

The ways of a part take turns (A B A B ...), so that whatever else the machine does hits all of them. Written into
--out: benchmark.json with every repetition, and a figure for each part. What was measured before, with the same
libraries on the same kind of machine and data, stays in it; every row says by which command it was made. What --out or
docs/speed.md holds of another setting is replaced with --overwrite only.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.cli.command import Parser, call

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the folder of `benchmarks`, which is not in the package

if TYPE_CHECKING:
    import numpy as np

    from brainmri.data.dataset import PreparedData

PARTS = [
    "pipeline",
    "epoch",
    "step",
    "precision",
    "features",
    "augmentation",
    "inference",
    "demo",
    "grouping",
    "startup",
]
ARCHS = {  # of the parts that take a network
    "pipeline": ["cnn_4to32", "efficientnet_lite0"],
    "epoch": ["cnn_4to32", "efficientnet_lite0", "resnet50"],
    "step": ["cnn_4to32", "efficientnet_lite0"],
    "precision": ["cnn_4to32", "cnn_32to256", "efficientnet_lite0"],
    "features": ["efficientnet_lite0_frozen", "resnet50_frozen"],
    "inference": ["efficientnet_lite0"],  # the one that --weights is likely to fit
    "demo": ["efficientnet_lite0"],
}
PIXELS = (160, 256)  # sides of the images to augment
SIZES = [1_000, 7_000, 20_000, 100_000]  # images to group


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--data_dir", "--data-dir", metavar="DIR", help="as of train.py (default: the phantom set)")
    parser.add_argument("--only", nargs="+", default=PARTS, metavar="PART", help="some of the parts (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--images", type=int, help="bounds the training images in use (default: the train split)")
    parser.add_argument("--archs", nargs="+", metavar="NAME", help="recipes (default: what suits each part)")
    parser.add_argument("--recipe", nargs="+", default=[], metavar="KEY=VALUE", help="changes to those recipes")
    parser.add_argument("--weights", default="auto", help="of inference and demo, as of train.py (default: auto)")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="numbers of images to group")
    parser.add_argument("--out", type=Path, help="folder to write into (default: measurements/DATA-DIGEST)")
    parser.add_argument("--overwrite", action="store_true", help="replace what was measured with another setting")
    parser.add_argument(
        "--readme", nargs="?", type=Path, const=Path("docs/speed.md"), help="put a table into this file"
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.only if name not in PARTS]:
        raise ValueError(f"unknown part {', '.join(unknown)}: --only takes {', '.join(PARTS)}")
    bound = 1 if arguments.images is None else arguments.images
    if min(arguments.repeats, bound) < 1 or min(arguments.sizes) < 2:
        raise ValueError("--repeats and --images take a number from 1 on, --sizes numbers from 2 on")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    from brainmri.environment import environment, keep_freed_memory, use_cpu_well

    keep_freed_memory()  # as train.py does
    use_cpu_well()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    from benchmarks.figures import bars, grouping_curves
    from benchmarks.tables import benchmark_markdown, comparison_text, grouping_text
    from brainmri.data.source import prepared_data
    from brainmri.files import check_output, default_output, digest, record_output, replace_text
    from brainmri.reporting.html import readme_with

    if arguments.readme:  # before anything takes long
        readme_with(arguments.readme, "", "benchmark", overwrite=arguments.overwrite)
    data = prepared_data(arguments.data_dir, "grouped", insist=False)
    machine = environment().as_json()
    made = {"command": " ".join(sys.argv), **{key: machine.pop(key) for key in ("git_commit", "platform")}}
    setting = {"environment": machine, "data": data.info.name, "repeats": arguments.repeats}
    inputs = digest(setting)
    out: Path = arguments.out or default_output(Path("measurements"), data.info.name, inputs)
    file = out / "benchmark.json"
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    same = all(earlier.get(key) == value for key, value in setting.items())
    report: dict[str, Any] = earlier if same else {**setting, "parts": {}}
    if not same:
        check_output(out, "benchmark", {"all": inputs}, overwrite=arguments.overwrite)
    out.mkdir(parents=True, exist_ok=True)
    for part in dict.fromkeys(arguments.only):
        rows = [row | {"made": made} for row in measured(part, data, arguments)]
        titles = {_title(row) for row in rows}
        rows = [row for row in report["parts"].get(part, []) if _title(row) not in titles] + rows
        title = f"{part}: {data.info.name}, {report['environment']['hardware']}"
        draw, text = (grouping_curves, grouping_text) if part == "grouping" else (bars, comparison_text)
        draw(rows, out / f"{part}.png", title=title)
        print(f"\n{part}\n{text(rows)}", flush=True)
        report["parts"][part] = rows
        # After every part, so that what was measured stays if the rest is stopped.
        replace_text(file, json.dumps(report, indent=1) + "\n")
        record_output(out, "benchmark", inputs, [file.name, *(f"{name}.png" for name in report["parts"])])
    if arguments.readme:
        table = benchmark_markdown(report)
        replace_text(arguments.readme, readme_with(arguments.readme, table, "benchmark", overwrite=arguments.overwrite))
    print(f"\nEverything is in {out}")


def measured(part: str, data: PreparedData, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The comparisons of one part (for grouping: a row for each size)."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of weights
    if part == "startup":
        from benchmarks import startup

        yield from startup.measure(Path(__file__).parent, arguments.repeats)
    elif part == "grouping":
        from benchmarks.grouping import measure

        yield from measure(arguments.sizes, _thumbnails(data))
    elif part == "augmentation":
        from benchmarks import augmentation

        for size in PIXELS:
            yield augmentation.measure(data, size, arguments.repeats, arguments.images)
    else:
        from benchmarks import demo, epoch, features, inference, pipeline, precision, step
        from benchmarks.case import material

        for arch in arguments.archs or ARCHS[part]:
            chosen = material(data, arch, arguments.recipe, arguments.images)
            if part in ("inference", "demo"):
                module = inference if part == "inference" else demo
                yield from module.measure(chosen, arguments.repeats, arguments.weights)
            elif part == "pipeline":
                yield from pipeline.measure(chosen, arguments.repeats)
            else:
                modules = {"epoch": epoch, "step": step, "precision": precision, "features": features}
                yield modules[part].measure(chosen, arguments.repeats)


def _title(row: dict[str, Any]) -> Any:
    """What tells a row from the others of its part."""
    return row.get("title", row.get("size"))


def _thumbnails(data: PreparedData) -> np.ndarray:
    """Of every image, in the order of the index: uint8 (N, 64, 64)."""
    import numpy as np
    from PIL import Image
    from tqdm.auto import tqdm

    from brainmri.data.thumbnails import thumbnail

    names = tqdm(data.index["file_name"], desc="thumbnails", unit="image")
    return np.stack([thumbnail(Image.open(data.root / name)) for name in names])


if __name__ == "__main__":
    call(main)
