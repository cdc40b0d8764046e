"""Answers about the data: where they come from, how they were prepared, split and counted."""

from __future__ import annotations

from brainmri.data.provenance import ORIGINS
from brainmri.reporting.checklists.evidence import Answer, Evidence, answered, not_applicable
from brainmri.schemas import RunResult
from brainmri.wording import PATIENT_UNIT, leak_statement, number, percent

SIMULATED = "The images are simulated"


def design(e: Evidence) -> Answer:
    if e.result.data.simulated:
        return not_applicable(f"{SIMULATED}: nobody was observed.")
    return answered("Retrospective: the images existed before the run.", "how they were collected, and what for.")


def sources(e: Evidence) -> Answer:
    data = e.result.data
    text = f"Data set “{data.name}”, layout `{data.layout}`, fingerprint `{data.fingerprint}`."
    if data.simulated:
        return answered(f"{text} {SIMULATED} from the MNI152 template of the head.")
    if data.origin in ORIGINS:
        return answered(f"{text} Origin as recorded: {'; '.join(ORIGINS[data.origin].citations)}.", "place and dates.")
    return Answer(
        "open", f"{text} Its origin was not recorded (`brainmri prepare_data --origin NAME` does): name the source."
    )


def eligibility(e: Evidence) -> Answer:
    if e.data is None:
        return Answer("open", "by what patients and images were chosen; the run keeps no record of the preparation.")
    settings = e.data.settings
    text = (
        f"Every image of the source was used that could be read, has a side of at least {settings.min_side} and at "
        f"most {settings.max_pixels:,} pixels; {number(e.data.rejected)} files were rejected"
        + f" and {number(settings.excluded_images)} images left out by hand" * bool(settings.excluded_images)
        + " (`rejected.csv`)."
    )
    if e.result.data.simulated:
        return answered(text)
    return answered(text, "by what patients and images came into the source.")


def preprocessing(e: Evidence) -> Answer:
    parts = ["8-bit pixels, grey or RGB"]
    if e.data is not None and e.data.settings.standardize:
        parts.append(f"standardised in the preparation by {', '.join(e.data.settings.standardize)}")
    if e.recipe is not None:
        parts.append(f"resized to {e.recipe.input.size} x {e.recipe.input.size}")
    parts.append(f"normalised by the formula “{e.result.normalize}”")
    return answered(f"{', '.join(parts)}; `preprocessor_config.json` repeats it exactly.")


def subsets(e: Evidence) -> Answer:
    parts = []
    if e.data is not None and (scans := e.data.settings.scans) is not None:
        parts.append(
            f"Slices of {number(scans.scans)} scans, plane “{scans.plane}”, choice “{scans.slices}”; "
            f"{number(scans.left_out_slices)} slices were left out, as no mask gives them a label."
        )
    if e.data is not None and e.data.holdout:
        parts.append(f"All images with {e.data.holdout} are in the test split.")
    if e.recipe is not None and e.recipe.duplicate_aware_sampling:
        parts.append("Of the files that hold one image, an epoch shows at most one.")
    if e.recipe is not None and (share := e.recipe.hard_example_share) < 1:
        parts.append(f"An epoch shows {percent(share)} of the images, those of a higher loss more often.")
    if not parts:
        parts.append("All: every usable image is in one of the splits.")
    return answered(" ".join(parts))


def deidentification(e: Evidence) -> Answer:
    if e.result.data.simulated:
        return not_applicable(f"{SIMULATED}: nobody can be identified.")
    text = "Prepared images hold pixels alone, under numbers; headers and names of the source were not taken over."
    if e.data is not None and (scans := e.data.settings.scans) is not None:
        text += f" Texts may stand in the pixels of {number(scans.burnt_in_scans)} scans, by their headers."
    return answered(text, "how the source was de-identified, and whether faces can be seen.")


def missing(e: Evidence) -> Answer:
    text = "Nothing is filled in: an image is whole or it is rejected."
    if e.data is not None:
        text += f" Rejected: {number(e.data.rejected)}."
    return answered(text)


def reference_standard(e: Evidence) -> Answer:
    classes = ", ".join(e.result.data.classes)
    if e.result.data.simulated:
        return answered(f"The label is the lesion that was simulated ({classes}).")
    if e.data is not None and (scans := e.data.settings.scans) is not None and scans.masks:
        area = f"{scans.lesion_area_mm2:g} mm²" if scans.lesion_area_mm2 is not None else "any area"
        return answered(
            f"A slice has the label of its scan where the mask covers {area} or more ({classes}).",
            "who drew the masks.",
        )
    text = f"The label is the one that the source gives the image ({classes}), by its layout `{e.result.data.layout}`."
    return answered(text, "how the source came to its labels (histology, reading, follow-up).")


def test_labels(e: Evidence) -> Answer:
    if e.result.data.simulated:
        return not_applicable(f"{SIMULATED}: nobody annotated them.")
    text = "The test images have labels of the same origin as the training images; nobody read them anew."
    if e.data is not None:
        text += f" Images that occur under more than one label: {number(len(e.data.contradictory_images))}."
    return answered(text)


def assignment(e: Evidence) -> Answer:
    data = e.result.data
    images = {split: sum(counts.values()) for split, counts in data.counts.items()}
    whole = sum(images.values())
    shares = ", ".join(f"{split} {number(n)} ({percent(n / whole)})" for split, n in images.items())
    text = f"Split “{data.split}”, split seed {e.result.split_seed}: {shares}."
    if e.result.fold is not None:
        text += f" This is fold {e.result.fold} of a cross-validation."
    return answered(text)


def disjoint(e: Evidence) -> Answer:
    text = leak_statement(e.result)
    if e.result.patients is not None:
        text += f" {PATIENT_UNIT[e.result.patients.unit]}"
    if e.audit is not None:
        again = [
            pair for kind in e.audit.kinds for pair in kind.across if (pair.part, pair.within) == ("test", "train")
        ]
        if again:
            most = max(again, key=lambda pair: pair.images)
            text += f" The audit found {number(most.images)} of {number(most.of)} test images again in training."
    return answered(text)


def sample_size(e: Evidence) -> Answer:
    test = e.result.test
    if test is None:
        return answered("Not planned: all usable images were taken. The run has no test split.")
    text = "Not planned: all usable images were taken. "
    text += f"The test split has {number(test.n)} images of {number(test.groups)} groups"
    if test.accuracy_ci95 is not None:
        low, high = test.accuracy_ci95
        text += f", which leaves the accuracy an interval {100 * (high - low):.1f} points wide"
    return answered(f"{text}.")


def included(e: Evidence) -> Answer:
    text = f"{_images(e.result)} in {number(e.result.data.groups)} groups"
    if e.data is None:
        return answered(f"{text}. How many were excluded is not on record.")
    return answered(
        f"{text} ({number(e.data.distinct_images)} distinct images, the largest group {number(e.data.largest_group)}); "
        f"{number(e.data.rejected)} files excluded."
    )


def characteristics(e: Evidence) -> Answer:
    counts = _by_class(e.result)
    if e.result.data.simulated:
        return answered(counts)
    return answered(counts, "age, sex, scanner and clinical state of the patients: the files do not hold them.")


def events(e: Evidence) -> Answer:
    return answered(_by_class(e.result))


def imbalance(e: Evidence) -> Answer:
    done = []
    if e.result.data.train_after_oversampling is not None:
        done.append(f"classes were oversampled to {number(e.result.data.train_after_oversampling)} training images")
    if weights := e.result.training.class_weights:
        done.append("the loss weighs " + ", ".join(f"{label} {weight:.2f}" for label, weight in weights.items()))
    what = "; ".join(done) or "nothing was done about it, and probabilities need no correction for it"
    return answered(f"{_by_class(e.result)} Against imbalance: {what}.")


def access(e: Evidence) -> Answer:
    return Answer(
        "open", f"where others get the data; the very version has the fingerprint `{e.result.data.fingerprint}`."
    )


def _images(result: RunResult) -> str:
    return f"{number(sum(sum(counts.values()) for counts in result.data.counts.values()))} images"


def _by_class(result: RunResult) -> str:
    splits = [
        f"{split}: " + ", ".join(f"{label} {number(counts.get(label, 0))}" for label in result.data.classes)
        for split, counts in result.data.counts.items()
    ]
    return "; ".join(splits) + " (images)."
