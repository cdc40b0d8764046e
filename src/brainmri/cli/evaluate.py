"""Score a model, or anybody's predictions, on a prepared data set.

    brainmri evaluate runs/brain-tumor-cnn_4to32-clean-seed42 --data DIR  # a run, on its own or other data
    brainmri evaluate runs/NAME --dataset_name OWNER/NAME                 # on a data set of the Hub
    brainmri evaluate OWNER/NAME@REVISION --data DIR --split all          # any image classifier of the Hub
    brainmri evaluate FOLDER --data DIR --map no_tumor=notumor,glioma_tumor=glioma
    brainmri evaluate predictions.csv --data DIR                          # file_name, p_CLASS, ...
    brainmri evaluate MODEL --data DIR --robustness                       # on corrupted images too

MODEL is a run folder, a folder with a saved model of transformers or timm, a repository of the Hub, timm:NAME, or a
CSV of predictions. Class names match whatever their case, spaces, - and _ are; --map names the others, as
MODEL_CLASS=DATA_CLASS. Several classes of the model may be mapped to one of the data, and "a or b" merges classes of
the data: --map "tumor=glioma or meningioma or pituitary".

A class of the data that the model does not know stops the command with the whole --map line as far as the names tell;
--map "-=CLASS" leaves its images out. Data that are not the run's own are scored as a whole. Training and
validation images of the run among them are found by the hashes that it kept, named in seen_in_training.csv, and left
out of the figures.

Writes evaluation.json (brainmri.schemas.EvaluationResult lists its keys), predictions.csv, figures/ and
evaluation.html. --robustness adds the folder robustness/ (brainmri.schemas.RobustnessResult lists the keys of
its JSON), inside that of the run where its own test split is scored; the report of the run then shows it. What a folder
holds of another model, data or options is replaced with --overwrite only.
"""

from __future__ import annotations

import argparse
import re
from contextlib import ExitStack
from pathlib import Path

from brainmri.cli.command import Parser, add_trust_remote_code, smaller_batches
from brainmri.errors import advising, writing

IMAGES = 400  # that --robustness corrupts unless asked otherwise: 35 passes over more take long on a CPU


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="what is scored")
    parser.add_argument("--data", "--data_dir", "--data-dir", type=Path, help="a prepared data set")
    parser.add_argument(
        "--dataset_name",
        "--dataset-name",
        metavar="OWNER/NAME[@REVISION]",
        help="in its place, one on the Hub that publish.py made; its validation and test images are read once",
    )
    parser.add_argument(
        "--split",
        choices=["test", "validation", "train", "all"],
        help="default: test for a run's own data, for predictions and with --dataset_name, else all",
    )
    parser.add_argument(
        "--map", action="append", default=[], metavar="MODEL_CLASS=DATA_CLASS,...", help="class names that differ"
    )
    parser.add_argument("--batch_size", "--batch-size", type=int, default=32)
    parser.add_argument(
        "--out",
        type=Path,
        help="folder to write into (default: FOLDER/evaluations/DATA-DIGEST, or evaluations/MODEL/DATA-DIGEST)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what --out holds of other models or data")
    add_trust_remote_code(parser)
    parser.add_argument(
        "--robustness", action="store_true", help="classify the images again, corrupted in 7 ways at 5 strengths"
    )
    parser.add_argument(
        "--robustness_images",
        "--robustness-images",
        type=int,
        metavar="N",
        help=f"how many are corrupted, in whole groups, every class in its share (default: about {IMAGES})",
    )
    arguments = parser.parse_args()
    if arguments.data is None and arguments.dataset_name is None:
        raise ValueError("--data DIR or --dataset_name OWNER/NAME is needed: what the model is scored on")
    if arguments.dataset_name and arguments.split in ("train", "all"):
        raise ValueError(
            f"--split {arguments.split} of --dataset_name {arguments.dataset_name}: of a data set on the Hub only the "
            "validation and test images are read; download and prepare it to score others"
        )
    if arguments.batch_size < 1:
        raise ValueError(f"--batch_size {arguments.batch_size}: at least 1 is needed")
    if arguments.robustness_images is not None and (arguments.robustness_images < 1 or not arguments.robustness):
        raise ValueError(f"--robustness_images {arguments.robustness_images}: at least 1, and it needs --robustness")
    return arguments


def main() -> None:
    arguments = parse_arguments()

    # Imported late and in two steps, so that --help and a mistake in the arguments do not wait for everything.
    from brainmri.data.dataset import open_prepared
    from brainmri.data.shards import as_published, local_part, open_shards
    from brainmri.evaluation.class_mapping import match_classes, read_map
    from brainmri.training.arguments import hub_dataset

    pairs = read_map(",".join(arguments.map))
    if arguments.dataset_name:
        shards = open_shards(hub_dataset(arguments.dataset_name, arguments.data))
        data = as_published(local_part(shards), shards)
    else:
        data = open_prepared(arguments.data)

    from brainmri.environment import use_cpu_well
    from brainmri.evaluation.evaluate import default_split, evaluate, inputs_digest, relation
    from brainmri.evaluation.robustness import check_subject, robustness_study
    from brainmri.evaluation.scored import open_scored
    from brainmri.files import default_output, digest, output
    from brainmri.reporting.robustness_report import study_summary, write_study
    from brainmri.reporting.run_report import summary, write_evaluation, write_report

    use_cpu_well()

    # ------------------------------------------------------------------ the model, and whose class is whose
    subject = open_scored(
        arguments.model, batch_size=arguments.batch_size, trust_remote_code=arguments.trust_remote_code
    )
    if arguments.robustness:
        check_subject(subject)
    match = match_classes(subject.classes, data.classes, pairs)
    for line in match.renamed:
        print(line)
    if unused := match.unknown_to_data:
        print(f"No class of the data: {', '.join(unused[:8])} (model); an image that is given it counts as wrong")

    # ------------------------------------------------------------------ the folders, before any work
    if arguments.split is None:
        arguments.split = "test" if arguments.dataset_name else default_split(subject, data)
        print(f"Scoring {'every image' if arguments.split == 'all' else 'the test split'} (--split {arguments.split})")
    part = "" if arguments.split == "test" else f"-{arguments.split}"
    inputs = inputs_digest(subject, data, arguments.split, pairs)
    folder = (subject.folder or Path()) / "evaluations"
    if subject.kind == "predictions":
        folder /= Path(arguments.model).stem
    elif subject.folder is None:
        folder /= _file_name(arguments.model)
    out = arguments.out or default_output(folder, data.info.name + part, inputs)
    images = arguments.robustness_images or IMAGES
    # The study of a run on its own test split is the run's, whose report shows it; any other belongs to the evaluation.
    own = bool(relation(subject.result, data, arguments.split).own_data) and not part and not arguments.out
    home = subject.folder if subject.folder and own else out

    # ------------------------------------------------------------------ scoring; then the same images, corrupted
    how = {"command": "evaluate", "overwrite": arguments.overwrite}
    with ExitStack() as stack:
        stack.enter_context(advising(smaller_batches(arguments.batch_size)))
        stack.enter_context(writing(out))
        new = stack.enter_context(output(out, inputs=inputs, part="evaluation", **how))
        if arguments.robustness:
            of_study = output(home / "robustness", inputs=digest(inputs, images), part="robustness", **how)
            new_study = stack.enter_context(of_study)
        evaluation = evaluate(subject, data, arguments.split, match)
        write_evaluation(evaluation, new)
        print(summary(evaluation.contents, out))
        if arguments.robustness:
            study = robustness_study(subject, data, match, evaluation, images=images, batch_size=arguments.batch_size)
            write_study(study, new_study)
            if home == out:
                write_evaluation(evaluation, new, new_study)
    if arguments.robustness:
        if home != out:
            write_report(home)
        print(study_summary(study.contents, home / "robustness"))


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text)
