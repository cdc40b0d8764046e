"""`report.html` of a run and the folder of an evaluation: everything on one page that opens without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from brainmri.evaluation.inference import read_predictions, write_predictions
from brainmri.reporting import plots
from brainmri.reporting.checklists.evidence import Evidence, read_evidence
from brainmri.reporting.checklists.sheet import filled, write_sheet
from brainmri.reporting.html import embedded_figures, shown, write_page
from brainmri.reporting.robustness_report import read_study
from brainmri.schemas import Abstention, EvaluationResult, MapsResult, PatientScores, read, read_result, write
from brainmri.wording import (
    BASELINES,
    DASH,
    POOLING,
    RESEARCH_ONLY,
    SINGLE_SLICES,
    bounds,
    data_title,
    interval,
    number,
    percent,
    with_interval,
)

if TYPE_CHECKING:
    from brainmri.evaluation.evaluate import Evaluation

FIGURES = {
    "class_counts": "Images per class and split",
    "samples": "Training images",
    "augmentation": "Training images before and after augmentation",
    "curves": "Loss and accuracy over the epochs",
    "confusion_matrix": "Confusion matrix of the test split",
    "confident_errors": "Test images that were classified wrongly with the most confidence, one of a group: the label, "
    "what was said instead, and the file in the data's folder test/LABEL",
    "reliability": "Reliability of the confidence on the test split",
}
MAPS = {  # of scripts/explain.py
    "montage": "Test images and their maps; outlined where an expert did",
    "randomisation": "How alike the maps stay as the weights become random ones",
}


def write_figures(run_dir: Path) -> list[Path]:
    """Draw `figures/curves.png`, `confusion_matrix.png` and `reliability.png` from the files of a run folder.

    Raises:
        FileNotFoundError: `result.json`, `history.csv` or `predictions.csv` is missing.
        ValueError: `predictions.csv` does not hold the classes or the test split of `result.json`.
    """
    from brainmri.reporting import plots

    run_dir = Path(run_dir)
    result = read_result(run_dir)
    data, out = result.data, run_dir / "figures"
    name = f"{result.arch} ({result.protocol}) on {data_title(data)}"
    history = pd.read_csv(run_dir / "history.csv")
    drawn = [plots.curves(history, out / "curves.png", best_epoch=result.training.best_epoch, title=name)]
    if result.test is None:
        return drawn
    labels, probabilities = read_predictions(run_dir / "predictions.csv", "test", data.classes)
    temperature = result.calibration.temperature if result.calibration else None
    matrix = result.test.confusion_matrix
    drawn.append(
        plots.confusion_matrix(
            matrix, data.classes, out / "confusion_matrix.png", title=f"Confusion matrix: {name}, test"
        )
    )
    drawn.append(
        plots.reliability(
            labels, probabilities, temperature, out / "reliability.png", title=f"Reliability: {name}, test"
        )
    )
    return drawn


def write_report(run_dir: Path, evidence: Evidence | None = None) -> Path:
    """Write `report.html` into a run folder, from the files of that folder alone; figures are embedded.

    Figures that the folder lacks are left out (see `write_figures`), and so are the studies of maps and of robustness,
    if they were not made. `reporting.md`, which the page holds too, is written beside it.

    evidence: what the reporting sheets are filled from; of `run_dir` itself where none is given.

    Raises:
        FileNotFoundError: `result.json` or `uncertainty.json` is missing.
        ValueError: `result.json` is of another version or lacks keys.
    """
    run_dir = Path(run_dir)
    evidence = evidence or read_evidence(run_dir)
    result = evidence.result
    maps = run_dir / "explain" / "maps"
    robustness, robustness_figures = read_study(run_dir / "robustness")
    write_sheet(evidence, run_dir)
    drawn = embedded_figures(run_dir / "figures", FIGURES) + embedded_figures(maps, MAPS)
    return write_page(
        run_dir / "report.html",
        "report.html.jinja",
        figures=drawn + robustness_figures,
        maps=read(maps / "maps.json", MapsResult) if (maps / "maps.json").is_file() else None,
        robustness=robustness,
        uncertainty=evidence.uncertainty,
        checklists=filled(evidence),
        data_title=data_title(result.data),
        **shown(result),
    )


EVALUATION_FIGURES = {"confusion_matrix": "Confusion matrix", "reliability": "Reliability of the confidence"}
ONE_DATA_SET = (
    "The figures hold for images like these. Images from other scanners, hospitals or sources can be classified far "
    "worse, or for other reasons: a network can learn the source of an image instead of the disease."
)


def write_evaluation(evaluation: Evaluation, out: Path, study: Path | None = None) -> None:
    """Write the four parts of an evaluation into the folder `out`, which is made if need be.

    study: the folder of a study of robustness, made with this evaluation, that the page shows too.
    """
    contents = evaluation.contents
    out.mkdir(parents=True, exist_ok=True)
    write(contents, out / "evaluation.json")
    write_predictions(evaluation.predictions, out / "predictions.csv")
    if evaluation.seen is not None and contents.seen and contents.seen.listed_in:
        evaluation.seen.to_csv(out / contents.seen.listed_in, index=False, lineterminator="\n")
    name = f"{contents.name} on {_data_title(contents)}"
    plots.confusion_matrix(
        contents.scores.confusion_matrix,
        contents.classes,
        out / "figures" / "confusion_matrix.png",
        title=f"Confusion matrix: {name}",
    )
    plots.reliability(
        evaluation.labels,
        evaluation.probabilities,
        contents.calibration.temperature if contents.calibration else None,
        out / "figures" / "reliability.png",
        title=f"Reliability: {name}",
        calibrated=evaluation.calibrated,
    )
    robustness, robustness_figures = read_study(study) if study else (None, [])
    write_page(
        out / "evaluation.html",
        "evaluation.html.jinja",
        evaluation=contents,
        data_title=_data_title(contents),
        accuracy=with_interval(contents.scores.accuracy, contents.scores.accuracy_ci95),
        floors=_baselines(contents),
        figures=embedded_figures(out / "figures", EVALUATION_FIGURES) + robustness_figures,
        robustness=robustness,
        limits=[RESEARCH_ONLY, ONE_DATA_SET, SINGLE_SLICES],
        dash=DASH,
    )


def summary(contents: EvaluationResult, out: Path) -> str:
    """Accuracy with its interval, recall by class, and everything that must be known, in a few lines."""
    scores = contents.scores
    lines = [f"\n{contents.name} on {_data_title(contents)}: {scores.n:,} images of {scores.groups:,} groups"]
    accuracy = with_interval(scores.accuracy, scores.accuracy_ci95)
    lines.append(f"Accuracy {accuracy} (95 % interval, resampled by group)")
    for label, one in scores.per_class.items():
        if one.support:
            lines.append(f"  recall {label:38s} {percent(one.recall)} of {one.support:,} images")
    if contents.detection:
        found = contents.detection.all
        if found.auroc is not None:
            lines.append(f"  {'tumour against none: AUROC':44s} {number(found.auroc)} {bounds(found.auroc_ci95)}")
        for level in (90, 95):
            share = getattr(found, f"sensitivity_at_{level}_specificity")
            if share is not None:
                of_level = interval(getattr(found, f"sensitivity_at_{level}_specificity_ci95"))
                lines.append(f"  {f'tumours found at {level} % specificity':44s} {percent(share)} {of_level}")
        for what, share, its in (
            ("tumours found, by the likeliest class", found.sensitivity_of_likeliest, "sensitivity_of_likeliest"),
            ("others left alone, by the likeliest class", found.specificity_of_likeliest, "specificity_of_likeliest"),
            ("tumours found, at the run's threshold", found.sensitivity, "sensitivity"),
            ("others left alone, at the run's threshold", found.specificity, "specificity"),
        ):
            if share is not None:
                lines.append(f"  {what:44s} {percent(share)} {interval(getattr(found, f'{its}_ci95'))}")
    lines += _of_patients(contents.patients)
    if refused := contents.ood:
        kept = f"accuracy on the others {percent(refused.kept_accuracy)} {interval(refused.kept_accuracy_ci95)}"
        lines.append(f"  {'refused by its OOD detector':44s} {percent(refused.rejected)}, {kept}")
    if refused and refused.abstention:
        lines += _of_abstention(refused.abstention)
    lines += [f"  baseline: {name:37s} {percent(value)}" for name, value in _baselines(contents) if value is not None]
    if contents.seen and contents.seen.scores:
        with_them = contents.seen.scores
        lines.append(f"  {'accuracy with the images it had seen':44s} {percent(with_them.accuracy)} of {with_them.n:,}")
    lines += [contents.relation, *filter(None, [contents.missing_reason])]
    lines += [f"{headline.upper()}: {sentence}" for headline, sentence in contents.warnings]
    return "\n".join([*lines, f"Everything is in {out}: open {out / 'evaluation.html'}"])


def _of_patients(scores: PatientScores | None) -> list[str]:
    """Sensitivity, specificity and AUROC by patient, in lines; without a threshold by the likeliest class alone."""
    if scores is None or (point := scores.pooled) is None:
        return []
    unit, by = f"{scores.unit}s", "" if scores.threshold is not None else ", by the likeliest class"
    found, left = point.sensitivity, point.specificity
    if scores.threshold is None:
        found, left = point.sensitivity_of_likeliest, point.specificity_of_likeliest
    lines = [f"By {scores.unit} ({scores.n:,}; {POOLING[scores.rule]}{by}):"]
    if found is not None:
        lines.append(f"  {unit + ' with a tumour found':44s} {percent(found)} {interval(point.sensitivity_ci95)}")
    if left is not None:
        lines.append(f"  {f'other {unit} left alone':44s} {percent(left)} {interval(point.specificity_ci95)}")
    if point.auroc is not None:
        lines.append(f"  {'AUROC':44s} {number(point.auroc)} {bounds(point.auroc_ci95)}")
    return lines


def _of_abstention(found: Abstention) -> list[str]:
    """Tumours found and answers wrong before and after refusing, a line for all images and one for each site."""
    sites = found.sites if len(found.sites) > 1 else {}
    lines = ["By the likeliest class, before refusing -> of those that are kept:"]
    for site, one in {"all": found.all, **sites}.items():
        told = f"wrong {percent(one.wrong)} -> {percent(one.wrong_of_kept)}"
        if one.sensitivity is not None:
            told += f", tumours found {percent(one.sensitivity)} -> {percent(one.sensitivity_of_kept)}"
            told += f" {interval(one.sensitivity_of_kept_ci95)}".rstrip()
        lines.append(f"  {site or 'unknown site':44s} {told}")
    return lines


def _data_title(contents: EvaluationResult) -> str:
    part = "all splits" if contents.split == "all" else f"{contents.split} split"
    return f"{contents.data.name} ({part})"


def _baselines(contents: EvaluationResult) -> list[tuple[str, float | None]]:
    return [(name, getattr(contents.baselines, key)) for key, name in BASELINES.items()]
