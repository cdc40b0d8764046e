"""What a model found, in plain sentences: never a diagnosis, and no more certain than the figures are.

All texts are plain, not HTML: names of classes come from whoever made the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from brainmri.data.class_names import OR
from brainmri.data.dataset import WITHOUT_TUMOR, plain_name
from brainmri.evaluation.kinds import doubt_sentence, look_sentence
from brainmri.wording import interval, percent, with_interval

if TYPE_CHECKING:
    from brainmri.demo.model import DemoModel
    from brainmri.evaluation.inference import Prediction
    from brainmri.evaluation.pooling import PatientPrediction
    from brainmri.schemas import RunResult, Uncertainty

WITHOUT = "a slice without a tumour"
WITH = "a slice with a tumour"
KNOWN = {"glioma": "a glioma", "meningioma": "a meningioma", "pituitary": "a pituitary tumour"}
ANY_TUMOUR = {"tumor", "tumour", "yes"}
REFUSED = "This is not like the images that the model was trained on, so its answer should not be used."


def sentence(judgement: Prediction) -> str:
    """The answer in one or two sentences, what matters most first."""
    share = _share(judgement.probabilities[judgement.label])
    what = in_words(judgement.label)
    if judgement.out_of_distribution:
        return f"{REFUSED} It would have been: {what}, {share}."
    calibrated = "calibrated" if judgement.calibrated else "not calibrated"
    return f"Most like {what}: {share} ({calibrated}). {_plausible(judgement)}".rstrip()


def scan_sentence(what: str, found: PatientPrediction) -> str:
    """The pooled answer of a scan. what: which slices of it were judged, the subject of the sentence."""
    if found.out_of_distribution:
        return f"{what} together: {REFUSED}"
    label = in_words(found.label).replace("a slice with", "a scan with")
    told = f"{what} together: most like {label}, {_share(found.probabilities[found.label])}"
    if found.tumour_probability is not None:
        side = "" if found.tumour is None else ", above" if found.tumour else ", not above"
        against = f"{side} the threshold of {_share(found.threshold)}" if side and found.threshold is not None else ""
        told += f"; any tumour {_share(found.tumour_probability)}{against}"
    return f"{told}."


def in_words(label: str) -> str:
    """A class as one would say it: "a glioma", "a slice without a tumour", the class “astrocytoma T1”."""
    parts = [_name(part) for part in OR.split(label)]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def agreement(judgements: Mapping[str, Prediction]) -> str:
    """Whether several models say the same of one image. judgements: by model; nothing is said of a single one."""
    if len(judgements) < 2:
        return ""
    refusing = [name for name, one in judgements.items() if one.out_of_distribution]
    if len(refusing) == len(judgements):
        return "To none of the models is the image like those that it was trained on."
    answers: dict[str, list[str]] = {}
    for name, one in judgements.items():
        if not one.out_of_distribution:
            answers.setdefault(in_words(one.label), []).append(name)
    told = "; ".join(f"{what} ({', '.join(names)})" for what, names in answers.items())
    labels = [one.label for one in judgements.values() if not one.out_of_distribution]
    if len(labels) == 1:
        found = f"One model only gives an answer: {told}."
    elif _compatible(labels):
        which = f"The other {len(labels)}" if refusing else "Both" if len(labels) == 2 else f"All {len(labels)}"
        found = f"{which} models agree: most like {told}."
    else:
        found = f"The models disagree, so none of them should be relied on here: {told}."
    return f"The image is not like those that {_listed(refusing)} was trained on. {found}" if refusing else found


def doubts(judgement: Prediction, model: DemoModel) -> list[str]:
    """What this answer leaves open: the type of the tumour, and what the image looks like, a sentence each."""
    kinds = model.uncertainty.kinds if model.uncertainty else None
    found = [doubt_sentence(judgement.out_of_distribution, kinds)] if judgement.type_doubtful else []
    return found + ([look_sentence(judgement.look, kinds)] if judgement.look else [])


def details(judgement: Prediction, model: DemoModel) -> str:
    """What the figures of a judgement mean, a line for each, from the model's own record."""
    lines = _of_record(judgement, model.result, model.uncertainty) if model.result and model.uncertainty else []
    return "\n".join([*lines, f"{judgement.milliseconds:.0f} ms by {model.backend}."])


def _of_record(judgement: Prediction, result: RunResult, uncertainty: Uncertainty) -> list[str]:
    calibration, conformal, ood = uncertainty.calibration, uncertainty.conformal, uncertainty.ood
    lines = []
    if calibration:
        lines.append(
            f"Percentages: calibrated on validation images. On the test images they differ from the share of right "
            f"answers by {100 * calibration.test_ece_after:.1f} points on average."
        )
    if conformal:
        measured = f"{percent(conformal.test_coverage)} {interval(conformal.test_coverage_ci95)}".rstrip()
        lines.append(
            f"Plausible classes: made to hold the right one for {_whole(1 - conformal.alpha)} of the images of each "
            f"class; of the test images it did for {measured}."
        )
    else:
        lines.append(f"Plausible classes: none are given. {uncertainty.conformal_reason}")
    if ood and judgement.ood_score is not None:
        lines.append(
            f"Likeness: this image is {judgement.ood_score:.2f} away from those of the training, and from "
            f"{judgement.ood_threshold:.2f} on an image is refused. The rule also refuses "
            f"{percent(ood.test.rejected)} of the test images, and lets some pass that it should refuse."
        )
    else:
        lines.append(f"Likeness: not checked. {uncertainty.ood_reason or ''}".rstrip())
    if test := result.test:
        lines.append(f"Test accuracy: {with_interval(test.accuracy, test.accuracy_ci95)} on {result.data.name}.")
    return lines


def _plausible(judgement: Prediction) -> str:
    """The prediction set in words."""
    if judgement.prediction_set is None or judgement.coverage is None:
        return ""
    coverage = f"With {_whole(judgement.coverage)} coverage"
    names = [in_words(label) for label in judgement.prediction_set]
    if len(names) == 1:
        return f"{coverage} the answer is this one alone."
    if len(names) == len(judgement.probabilities):
        return f"{coverage} the answer can be any of the {len(names)} classes."
    return f"{coverage} the answer is one of: {', '.join(names)}."


def _name(part: str) -> str:
    plain = part.strip().lower().replace("_", " ").replace("-", " ")
    if plain_name(part) in WITHOUT_TUMOR:
        return WITHOUT
    if plain in ANY_TUMOUR:
        return WITH
    return KNOWN.get(plain.removesuffix(" tumor").removesuffix(" tumour"), f"the class “{part.strip()}”")


def _compatible(labels: list[str]) -> bool:
    """Whether one image can be all of these: merged classes hold their parts, and any tumour is a tumour."""
    meanings = [{_name(part) for part in OR.split(label)} for label in labels]
    wide = [meaning for meaning in meanings if WITH in meaning]
    narrow = [meaning for meaning in meanings if WITH not in meaning]
    shared = set.intersection(*narrow) if narrow else {WITH}
    return bool(shared - {WITHOUT} if wide else shared)


def _share(value: float) -> str:
    """A probability as text, never 0 or 100 %."""
    if value > 0.99:
        return "more than 99 %"
    return "less than 1 %" if value < 0.01 else _whole(value)


def _whole(value: float) -> str:
    return f"{100 * value:.0f} %"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
