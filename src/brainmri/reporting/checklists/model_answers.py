"""Answers about the model: what it is, how it was trained and chosen, and what was measured of it."""

from __future__ import annotations

from brainmri.evaluation.run_warnings import start_of_training
from brainmri.reporting.checklists.evidence import Answer, Evidence, answered, not_applicable
from brainmri.schemas import RunResult, Scores
from brainmri.wording import (
    DASH,
    RESEARCH_ONLY,
    baseline_rows,
    bounds,
    change,
    duration,
    epochs,
    interval,
    limits,
    loss_of_training,
    number,
    percent,
    published_figure,
    with_interval,
)

NOT_SCORED = "The run has no test split."


def title(e: Evidence) -> Answer:
    return Answer("open", f"the title; the technology to name is a deep neural network ({_name(e.result)}).")


def goal(e: Evidence) -> Answer:
    classes = ", ".join(e.result.data.classes)
    return answered(
        f"To classify slices into {classes}: a model is developed, and tested on held-out images of the same data set.",
        "the clinical question, and the hypotheses.",
    )


def predictors(e: Evidence) -> Answer:
    return answered("The pixels of one slice, and nothing else: no age, no history, no neighbouring slice.")


def model(e: Evidence) -> Answer:
    size = e.result.parameters
    text = f"{_name(e.result)}; {number(size.total)} parameters, {number(size.trainable)} trained"
    if e.recipe is not None:
        text += f"; family `{e.recipe.model.family}`, input {e.recipe.input.size} x {e.recipe.input.size} x 3"
    return answered(f"{text}. `config.json` and `recipe.yaml` define it, and `brainmri explain` lists its layers.")


def software(e: Evidence) -> Answer:
    rows = e.result.environment.rows()
    return answered(
        "Versions and machine: " + ", ".join(f"{name} {DASH if value is None else value}" for name, value in rows) + "."
    )


def initialisation(e: Evidence) -> Answer:
    return answered(f"{start_of_training(e.result)}.")


def training(e: Evidence) -> Answer:
    r = e.result
    run = f"{epochs(r.training.epochs_run)} of {epochs(r.training.epochs_scheduled)} epochs"
    text = f"{run}, {loss_of_training(r.training) or 'cross entropy'}, {r.training.precision}, seed {r.seed}"
    if e.recipe is not None:
        stages = "; ".join(
            f"{stage.epochs} epochs at a learning rate of {stage.learning_rate:g} ({stage.schedule})"
            + (", backbone frozen" if stage.freeze == "backbone" else "")
            for stage in e.recipe.stages
        )
        changes = ", ".join(f"{name} {value:g}" for name, value in vars(e.recipe.augmentations()).items() if value)
        text += f"; batches of {e.recipe.batch_size}; stages: {stages}; augmentation: {changes or 'none'}"
        further = ", ".join(f"{name} {value}" for name, value in e.recipe.training_arguments.items())
        text += f"; further arguments: {further}" if further else ""
    return answered(
        f"{text}. {duration(r.training.time_to_converge_s)} on {r.environment.hardware or 'hardware not on record'}. "
        f"Command: `{r.command}`"
    )


def selection(e: Evidence) -> Answer:
    best = e.result.training.best_epoch
    text = "One epoch of each fold" if best is None else f"Epoch {best} of the run"
    if e.recipe is not None:
        last = e.recipe.stages[-1]
        kept = f": the one with the best {last.monitor} on the validation split"
        text += ": the last one" if last.keep == "last" else kept
    chosen = "Temperature and thresholds were set on the validation split; the test split was read once, at the end."
    return answered(f"{text}. {chosen}")


def ensembling(e: Evidence) -> Answer:
    if e.result.model_sha256 is None and e.result.training.best_epoch is None:
        return not_applicable("The figures of several folds are pooled; each image was classified by one network.")
    if e.recipe is not None and (decay := e.recipe.stages[-1].ema) is not None:
        return answered(f"One network answers, whose weights are a moving average over the training (decay {decay:g}).")
    return not_applicable("One network answers.")


def metrics(e: Evidence) -> Answer:
    return answered(
        "Accuracy, balanced accuracy, macro F1, AUROC (one class against the rest), cross entropy, expected "
        "calibration error and Brier score; precision, recall, specificity and F1 of each class; sensitivity and "
        "specificity for any tumour; confusion matrix and reliability diagram."
    )


def uncertainty(e: Evidence) -> Answer:
    text = "95 % intervals, resampled by group and not by image"
    return answered(f"{text}; paired tests between runs are made by `brainmri compare`.")


def robustness(e: Evidence) -> Answer:
    if e.robustness is None:
        return Answer(
            "open", "whether corrupted images were tried; `brainmri evaluate RUN --data OUT --robustness` does so."
        )
    clean, *rows = e.robustness.rows
    worst = min(rows, key=lambda row: row.accuracy)
    return answered(
        f"{len(e.robustness.corruptions)} corruptions at five strengths on {number(e.robustness.images.drawn)} images: "
        f"accuracy {percent(clean.accuracy)} clean, at worst {percent(worst.accuracy)} "
        f"({worst.kind}, strength {worst.strength})."
    )


def explainability(e: Evidence) -> Answer:
    if e.maps is None:
        return Answer("open", "whether its reasons were looked at; `brainmri explain` draws maps and tests them.")
    return answered(
        f"Grad-CAM maps of {number(e.maps.images)} images at `{e.maps.layer}`. {e.maps.randomisation.verdict}"
    )


def internal_test(e: Evidence) -> Answer:
    return answered(_performance(e.result)) if e.result.test else not_applicable(NOT_SCORED)


def external_test(e: Evidence) -> Answer:
    return Answer("open", "whether other data were tried; `brainmri evaluate RUN --data OTHER` does so.")


def performance(e: Evidence) -> Answer:
    test = e.result.test
    if test is None:
        return not_applicable(NOT_SCORED)
    more = (
        f"Balanced accuracy {percent(test.balanced_accuracy)}, macro F1 {number(test.macro_f1)}, "
        f"AUROC {number(test.auroc)}, "
        f"cross entropy {number(test.loss)}, calibration error {number(test.ece)}, Brier score {number(test.brier)}"
    )
    return answered(f"{_performance(e.result)} {more}.")


def diagnostic(e: Evidence) -> Answer:
    test, found = e.result.test, e.result.detection
    if test is None:
        return not_applicable(NOT_SCORED)
    text = ""
    if found is not None:
        point = found.all
        text = (
            f"Any tumour against “{found.without_tumour}”: "
            f"sensitivity {percent(point.sensitivity)} {interval(point.sensitivity_ci95)}, "
            f"specificity {percent(point.specificity)} {interval(point.specificity_ci95)}, "
            f"AUROC {number(point.auroc)} {bounds(point.auroc_ci95)}".rstrip()
            + ". "
        )
    classes = "; ".join(
        f"{label} {percent(one.recall)} / {percent(one.specificity)}" for label, one in test.per_class.items()
    )
    return answered(f"{text}Sensitivity / specificity of each class: {classes}.")


def failures(e: Evidence) -> Answer:
    test = e.result.test
    if test is None:
        return not_applicable(NOT_SCORED)
    classes, matrix = e.result.data.classes, test.confusion_matrix
    wrong = [(matrix[i][j], classes[i], classes[j]) for i in range(len(classes)) for j in range(len(classes)) if i != j]
    count, label, said = max(wrong)
    total = sum(n for n, _, _ in wrong)
    if not total:
        return answered(f"No error among {number(test.n)} test images.")
    return answered(
        f"{number(total)} of {number(test.n)} test images are classified wrongly, most often {label} as {said} "
        f"({number(count)}). `report.html` shows the most confident errors.",
        "what these errors would mean for a patient.",
    )


def limitations(e: Evidence) -> Answer:
    return answered(" ".join(limits(e.result)), "those of the study beyond the run.")


def implications(e: Evidence) -> Answer:
    return Answer("open", f"what follows for practice. {RESEARCH_ONLY}")


def protocol(e: Evidence) -> Answer:
    return answered(
        f"`recipe.yaml` (protocol “{e.result.protocol}”) and the command in `result.json`: `{e.result.command}`"
    )


def availability(e: Evidence) -> Answer:
    commit = e.result.environment.git_commit or "not on record"
    weights = f"`model.safetensors` (SHA-256 `{e.result.model_sha256}`)" if e.result.model_sha256 else "no single model"
    text = f"Code: brainmri, commit {commit}. Model: {weights}. Data: fingerprint `{e.result.data.fingerprint}`."
    return answered(text, "where others get them.")


def code(e: Evidence) -> Answer:
    return answered(
        f"Code of brainmri, commit {e.result.environment.git_commit or 'not on record'}.", "changes of your own."
    )


def clusters(e: Evidence) -> Answer:
    sites = _sites(e.result)
    if len(sites) < 2:
        return not_applicable("The images have no more than one known site.")
    shown = "; ".join(f"{site or 'unknown'}: {text}" for site, text in sites.items())
    return answered(f"Measured by site, without a model of the differences: {shown}.")


def updating(e: Evidence) -> Answer:
    found = e.result.calibration
    if found is None:
        return not_applicable("Nothing was changed after the training.")
    after = change(e.result.test.ece, found.test_ece_after) if e.result.test else DASH
    return answered(
        f"Probabilities are recalibrated by a temperature ({number(found.temperature)}), fitted on {found.fitted_on}; "
        f"calibration error on the test split: {after}."
    )


def output(e: Evidence) -> Answer:
    text = "A probability of each class (softmax, divided by the temperature)"
    if e.result.detection is not None and e.result.detection.threshold is not None:
        threshold = number(e.result.detection.threshold)
        text += f"; a tumour is called above a probability of {threshold}, set on the validation split"
    if e.result.conformal is not None:
        text += f"; a set of classes that is to hold the true one in {percent(1 - e.result.conformal.alpha)} of images"
    return answered(f"{text}.")


def differences(e: Evidence) -> Answer:
    if e.result.sites:
        return answered("Each site was tested by the network trained without it; the classes are the same.")
    if e.data is not None and e.data.holdout:
        return answered(f"All images with {e.data.holdout} are in the test split; classes and labels are the same.")
    split = e.result.data.split
    text = f"Training and test images are of one data set, dealt by the split “{split}”, with the same classes."
    return answered(text, "how the source dealt them." if split.startswith("source") else "")


def unreadable_input(e: Evidence) -> Answer:
    text = "A file that is no readable image is refused with the reason. "
    if e.result.ood is None:
        return answered(f"{text}No detector of images unlike the training images was fitted.")
    lost = e.result.ood.test
    share = f"{percent(lost.rejected)} {interval(lost.rejected_ci95)}".rstrip()
    return answered(
        f"{text}A detector refuses images unlike the training images; it refuses {share} of the test images."
    )


def interpretation(e: Evidence) -> Answer:
    rows = "; ".join(f"{name}: {percent(value)}" for name, value in baseline_rows(e.result) if value is not None)
    text = f"Methods without a network reach on the same images: {rows or 'not measured'}."
    if e.result.published is not None:
        text += f" The source of the recipe states {published_figure(e.result.published)}."
    return answered(text, "what the figures mean beside other studies.")


def _name(result: RunResult) -> str:
    return f"{result.recipe_title or result.arch}, recipe `{result.arch}`"


def _performance(result: RunResult) -> str:
    test = result.test
    if test is None:
        return NOT_SCORED
    accuracy = with_interval(test.accuracy, test.accuracy_ci95)
    return f"Accuracy {accuracy} on {number(test.n)} test images of {number(test.groups)} groups."


def _sites(result: RunResult) -> dict[str, str]:
    if result.sites:
        return {site: _accuracy(scores) for site, scores in result.sites.items()}
    if result.detection is None:
        return {}
    return {
        site: f"sensitivity {percent(point.sensitivity)}, specificity {percent(point.specificity)}"
        for site, point in result.detection.sites.items()
    }


def _accuracy(scores: Scores) -> str:
    return f"accuracy {with_interval(scores.accuracy, scores.accuracy_ci95)}"
