"""Look inside one model: its layers, what its convolutions see, what dropout does to it, where it looks, its report.

    python scripts/explain.py runs/cnn_4to32-clean-seed42                   # on a slice of the phantom set
    python scripts/explain.py runs/cnn_4to32-clean-seed42 --data_dir DIR    # on the test images of the run
    python scripts/explain.py --arch resnet50 --image slice.png             # an untrained model, random weights
    python scripts/explain.py RUN --studies maps --data_dir DIR --outlines CSV   # Grad-CAM against expert outlines

Writes layers.txt, layers.csv, features/*.png, dropout.png, dropout.csv, maps/* and classification_report.txt into
RUN/explain.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from brainmri.command import Parser, call

if TYPE_CHECKING:
    import pandas as pd

STUDIES = ["layers", "features", "dropout", "maps", "report"]


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--arch", help="a recipe, in place of RUN: its untrained model with random weights")
    parser.add_argument("--image", type=Path, help="the picture to look at (default: a slice of the phantom set)")
    parser.add_argument(
        "--data_dir", "--data-dir", type=Path, help="the run's prepared data: look at its test images, or the first"
    )
    parser.add_argument(
        "--outlines", type=Path, metavar="CSV", help="maps: other outlines of the test images than those of the data"
    )
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="maps: of this class (default: predicted)")
    parser.add_argument("--layer", metavar="NAME", help="maps: at this layer (default: the last that has places)")
    parser.add_argument("--out", type=Path, help="folder to write into (default: RUN/explain, or explain/ARCH)")
    parser.add_argument(
        "--studies", nargs="+", metavar="STUDY", help=f"some of {' '.join(STUDIES)}, after RUN (default: all)"
    )
    arguments = parser.parse_args()
    if bool(arguments.run) == bool(arguments.arch):
        raise ValueError("give either the folder of a run or --arch NAME")
    if arguments.data_dir and (arguments.image or arguments.arch):
        raise ValueError("--data_dir gives the first test image of RUN: it goes with neither --image nor --arch")
    arguments.studies = arguments.studies or STUDIES[: 3 if arguments.arch else 5]
    if unknown := [name for name in arguments.studies if name not in STUDIES]:
        raise ValueError(f"unknown study {', '.join(unknown)}: --studies takes {', '.join(STUDIES)} (RUN goes before)")
    if arguments.arch and {"maps", "report"} & set(arguments.studies):
        raise ValueError(
            "the studies `maps` and `report` need a finished run: its weights, its predictions; not --arch"
        )
    if (arguments.outlines or arguments.class_name or arguments.layer) and "maps" not in arguments.studies:
        raise ValueError("--outlines, --class and --layer belong to the study `maps`: add it to --studies")
    if arguments.outlines and not arguments.data_dir:
        raise ValueError("--outlines needs --data_dir, the run's prepared data, whose test images they outline")
    arguments.out = arguments.out or (arguments.run / "explain" if arguments.run else Path("explain") / arguments.arch)
    return arguments


def main() -> None:
    arguments = parse_arguments()
    from transformers.utils.logging import disable_progress_bar

    from brainmri.data.dataset import OUTLINES
    from brainmri.data.outlines import read_outlines
    from brainmri.evaluation.explanation import class_report, dropout_study, feature_maps, figures, layers, subject
    from brainmri.evaluation.report import write_report

    disable_progress_bar()  # of loading weights

    # ------------------------------------------------------------------ the model and the image
    own = arguments.data_dir / OUTLINES if arguments.data_dir else None
    drawn = arguments.outlines or (own if own and own.is_file() else None)
    outlines = read_outlines(drawn) if drawn else None
    model = subject.trained(arguments.run) if arguments.run else subject.untrained(arguments.arch)
    file = subject.first_test_image(arguments.run, arguments.data_dir) if arguments.data_dir else arguments.image
    pixels, image = subject.preprocessed(subject.read_slice(file) if file else subject.phantom_slice(), model.processor)
    seen = file.name if file else "a simulated slice (phantom set)"
    title, out = f"{model.title}, image: {seen}", arguments.out
    out.mkdir(parents=True, exist_ok=True)
    print(title)

    # ------------------------------------------------------------------ the studies
    if "layers" in arguments.studies:
        table = layers.layer_table(model.network, pixels)
        table.to_csv(out / "layers.csv", index=False, lineterminator="\n")
        (out / "layers.txt").write_text(f"{model.title}\n\n{layers.layer_text(table)}", encoding="utf-8")
        print(f"\nLayers: {_layer_summary(table)}")

    if "features" in arguments.studies:
        maps = feature_maps.feature_maps(model.network, pixels)
        for number, one in enumerate(maps, 1):
            figures.convolution_grid(one, out / "features" / f"{number:03d}_{one.name}.png", title=title)
        figures.convolution_overview(maps, image, out / "features" / "overview.png", title=title)
        print(f"\nFeature maps: {len(maps)} convolutions, from {maps[0].size} to {maps[-1].size}")

    if "dropout" in arguments.studies:
        classifier, inputs = dropout_study.final_classifier(model.network, pixels)
        logits = dropout_study.logits_under_dropout(classifier, inputs)
        table = dropout_study.dropout_table(classifier, inputs, logits, model.classes)
        table.to_csv(out / "dropout.csv", index=False, float_format="%.9g", lineterminator="\n")
        figures.dropout_figure(image, logits, table, out / "dropout.png", title=title)
        print(f"\nDropout on the {len(inputs)} inputs of the classifier, logits as mean ± standard deviation (theory):")
        print(_dropout_summary(table))

    if "maps" in arguments.studies:
        from brainmri.evaluation.explanation import maps_study, pictures  # captum takes a while

        if arguments.data_dir:
            seen_by_it = pictures.of_test_split(arguments.run, arguments.data_dir, model.recipe, outlines)
        else:
            seen_by_it = pictures.of_one_image(image, seen, model.recipe)
        found = maps_study.study(model, seen_by_it, outlines, arguments.class_name, arguments.layer)
        maps_study.write(found, out / "maps", model.title)
        if arguments.run and out == arguments.run / "explain":
            write_report(arguments.run)  # which shows the maps
        print(f"\n{found.text}", end="")

    if "report" in arguments.studies:
        text = class_report.classification_text(arguments.run)
        (out / "classification_report.txt").write_text(text, encoding="utf-8")
        print(f"\n{text}", end="")
    print(f"\nEverything is in {out}")


def _layer_summary(table: pd.DataFrame) -> str:
    parameters, trainable, running = (int(table[c].sum()) for c in ("parameters", "trainable", "running_statistics"))
    lines = [f"{parameters:,} parameters ({trainable:,} trainable), {running:,} running statistics; the largest:"]
    for row in table.nlargest(3, "parameters").to_dict("records"):
        lines.append(f"  {row['name']} ({row['kind']}, {row['output']}): {row['parameters']:,}")
    return "\n".join(lines)


def _dropout_summary(table: pd.DataFrame) -> str:
    columns = ("mean", "standard_deviation", "standard_deviation_in_theory")
    text = table.apply(lambda row: "{:.3g} ± {:.3g} ({:.3g})".format(*(row[c] for c in columns)), axis=1)
    wide = table.assign(text=text).pivot(index="p", columns="class", values="text")
    return wide[table["class"].unique()].rename_axis(index=None, columns="p").to_string()


if __name__ == "__main__":
    call(main)
