"""Look inside one model: its layers, what its convolutions see, what dropout does to it, where it looks, its report.

    brainmri explain runs/brain-tumor-cnn_4to32-clean-seed42                 # on a slice of the phantom set
    brainmri explain runs/brain-tumor-cnn_4to32-clean-seed42 --data_dir DIR  # on the test images of the run
    brainmri explain --arch resnet50 --image slice.png                       # an untrained model, random weights
    brainmri explain RUN --studies maps --data_dir DIR --outlines CSV        # Grad-CAM against expert outlines

Writes layers.txt, layers.csv, features/*.png, dropout.png, dropout.csv, maps/* and classification_report.txt into
RUN/explain. What stands there of another model, image or outlines is replaced with --overwrite only.
"""

from __future__ import annotations

import argparse
import hashlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from brainmri.cli.command import Parser

if TYPE_CHECKING:
    import pandas as pd

STUDIES = ["layers", "features", "dropout", "maps", "report"]


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--arch", help="a recipe, in place of RUN: its untrained model with random weights")
    parser.add_argument("--image", type=Path, help="the image to look at (default: a slice of the phantom set)")
    parser.add_argument(
        "--data_dir", "--data-dir", type=Path, help="the run's prepared data: look at its test images, or the first"
    )
    parser.add_argument(
        "--outlines", type=Path, metavar="CSV", help="maps: other outlines of the test images than those of the data"
    )
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="maps: of this class (default: predicted)")
    parser.add_argument("--layer", metavar="NAME", help="maps: at this layer (default: the last that has places)")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder to write into (default: RUN/explain, RUN/explain/IMAGE-DIGEST or explain/ARCH-DIGEST)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what --out holds of other models or images")
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
    return arguments


def main() -> None:
    arguments = parse_arguments()
    from brainmri.data.dataset import OUTLINES, open_prepared
    from brainmri.data.masks import read_polygons
    from brainmri.evaluation.explain import inspect, subject
    from brainmri.files import check_output, default_output, digest, digest_of_files, output
    from brainmri.reporting import explain_plots
    from brainmri.reporting.run_report import write_report

    # ------------------------------------------------------------------ the model and the image
    own = arguments.data_dir / OUTLINES if arguments.data_dir else None
    drawn = arguments.outlines or (own if own and own.is_file() else None)
    outlines = read_polygons(drawn) if drawn else None
    model = subject.trained(arguments.run) if arguments.run else subject.untrained(arguments.arch)
    if arguments.class_name and arguments.class_name not in model.classes:
        raise ValueError(f"--class {arguments.class_name}: the model knows {', '.join(model.classes)}")
    file = subject.first_test_image(arguments.run, arguments.data_dir) if arguments.data_dir else arguments.image
    pixels, image = subject.preprocessed(subject.read_slice(file) if file else subject.phantom_slice(), model.processor)
    seen = file.name if file else "a simulated slice (phantom set)"
    title = f"{model.title}, image: {seen}"

    # ------------------------------------------------------------------ the folder, before any work
    if arguments.run:
        of_model = digest([digest_of_files(arguments.run / name) for name in subject.RUN_FILES])
    else:
        of_model = digest(arguments.arch, model.recipe.model_dump(mode="json"))
    of_image = digest(of_model, image.shape, hashlib.sha256(image.tobytes()).hexdigest())
    inputs = dict.fromkeys(arguments.studies, of_image)
    if "report" in inputs:
        inputs["report"] = of_model
    if "maps" in inputs:
        data = open_prepared(arguments.data_dir).info.fingerprint if arguments.data_dir else None
        drawn_by = digest_of_files(drawn) if drawn else None
        inputs["maps"] = digest(of_image, data, drawn_by, arguments.class_name, arguments.layer)
    if arguments.run and not arguments.image:
        own_place = arguments.run / "explain"
    else:
        name = "-".join(([] if arguments.run else [arguments.arch]) + ([file.stem] if file else []))
        own_place = default_output((arguments.run or Path()) / "explain", name, of_image)
    out: Path = arguments.out or own_place
    check_output(out, "explain", inputs, overwrite=arguments.overwrite)

    def made(study: str) -> AbstractContextManager[Path]:
        return output(out, "explain", inputs[study], part=study, overwrite=arguments.overwrite)

    print(title)

    # ------------------------------------------------------------------ the studies
    if "layers" in arguments.studies:
        table = inspect.layer_table(model.network, pixels)
        with made("layers") as folder:
            table.to_csv(folder / "layers.csv", index=False, lineterminator="\n")
            (folder / "layers.txt").write_text(f"{model.title}\n\n{inspect.layer_text(table)}", encoding="utf-8")
        print(f"\nLayers: {_layer_summary(table)}")

    if "features" in arguments.studies:
        maps = inspect.feature_maps(model.network, pixels)
        with made("features") as folder:
            for number, one in enumerate(maps, 1):
                explain_plots.convolution_grid(one, folder / "features" / f"{number:03d}_{one.name}.png", title=title)
            explain_plots.convolution_overview(maps, image, folder / "features" / "overview.png", title=title)
        print(f"\nFeature maps: {len(maps)} convolutions, from {maps[0].size} to {maps[-1].size}")

    if "dropout" in arguments.studies:
        classifier, entering = inspect.final_classifier(model.network, pixels)
        logits = inspect.logits_under_dropout(classifier, entering)
        table = inspect.dropout_table(classifier, entering, logits, model.classes)
        with made("dropout") as folder:
            table.to_csv(folder / "dropout.csv", index=False, float_format="%.9g", lineterminator="\n")
            explain_plots.dropout_figure(image, logits, table, folder / "dropout.png", title=title)
        print(
            f"\nDropout on the {len(entering)} inputs of the classifier, logits as mean ± standard deviation (theory):"
        )
        print(_dropout_summary(table))

    if "maps" in arguments.studies:
        from brainmri.evaluation.explain import saliency
        from brainmri.reporting import explain_plots

        if arguments.data_dir:
            seen_by_it = saliency.of_test_split(arguments.run, arguments.data_dir, model.recipe, outlines)
        else:
            seen_by_it = saliency.of_one_image(image, seen, model.recipe)
        found = saliency.saliency_study(model, seen_by_it, outlines, arguments.class_name, arguments.layer)
        with made("maps") as folder:
            explain_plots.write_maps(found, folder / "maps", model.title)
        if arguments.run and out == arguments.run / "explain":
            write_report(arguments.run)  # which shows the maps
        print(f"\n{found.text}", end="")

    if "report" in arguments.studies:
        text = inspect.classification_text(arguments.run)
        with made("report") as folder:
            (folder / "classification_report.txt").write_text(text, encoding="utf-8")
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
