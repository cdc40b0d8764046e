"""Figures as text, and the sentences that must stand beside them.

The report, the model card, the demo and the comparison table share these, so that they cannot say different things.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brainmri.schemas import DataSummary, Published, RunResult, TrainingPart

POOLING = {
    "mean": "the mean of all slices",
    "top_50_percent": "the mean of the most suspicious half of the slices",
    "top_25_percent": "the mean of the most suspicious quarter of the slices",
    "top_10_percent": "the mean of the most suspicious tenth of the slices",
    "top_3": "the mean of the three most suspicious slices",
    "max": "the most suspicious slice",
    "noisy_or": "noisy-or, as if slices erred independently",
    "learned": "a logistic regression on the slices, learnt on validation patients",
}
PATIENT_UNIT = {
    "patient": "The patient of every image is known.",
    "group": "Not every image has a known patient, so that groups stand for patients: images that are alike, as far as "
    "that can be told. A group may hold several patients, and a patient may stand in several groups.",
}
BASELINES = {
    "majority": "Always the most frequent class",
    "nearest_neighbour": "Nearest training image (64x64 pixels)",
    "global_statistics": "Trees on 7 global statistics",
}
NEAR_BASELINE = 0.05  # of accuracy; a network that is not further above a baseline is shown with a warning
DASH = "–"
RESEARCH_ONLY = (
    "This is research software, not a medical device. It must not be used to diagnose or to decide on treatment."
)
SINGLE_SLICES = (
    "The network sees single slices and knows only its own classes; it gives one of them to any image, even one that "
    "is no brain MRI."
)
REFUSES_SOME = " The rule that refuses images finds many of those, not all."


def counted(count: int, one: str, several: str = "") -> str:
    """So many of something, as text: "1 image", "2,000 images"."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def percent(share: float | None) -> str:
    """A share in 0..1 as text: 0.9561 -> "95.6 %", None -> a dash."""
    return DASH if share is None else f"{100 * share:.1f} %"


def number(value: float | None, digits: int = 3) -> str:
    """A number as text: floats with this many decimals, whole numbers with thousands separators, None as a dash."""
    if value is None:
        return DASH
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def epochs(value: float) -> str:
    """A number of epochs, or their mean over folds, as text: 10.0 -> "10", 7.222333333333334 -> "7.22"."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def change(before: float | None, after: float | None) -> str:
    """Two figures as text, as far as three decimals tell them apart: "from 0.747 to 0.731", "unchanged at 0.747"."""
    if number(before) == number(after):
        return f"unchanged at {number(after)}"
    return f"from {number(before)} to {number(after)}"


def with_interval(share: float | None, bounds: list[float] | None) -> str:
    """A share in 0..1 and its interval as text: "95.6 % [94.1, 96.9]"."""
    if bounds is None:
        return f"{percent(share)} (no interval: one group)"
    return f"{percent(share)} {interval(bounds)}"


def interval(bounds: list[float] | None) -> str:
    """Two shares in 0..1 as text: "[94.1, 96.9]", in percent; nothing for None."""
    return "" if bounds is None else f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


def bounds(values: list[float] | None) -> str:
    """Two numbers as text: "[0.941, 0.969]"; nothing for None."""
    return "" if values is None else f"[{values[0]:.3f}, {values[1]:.3f}]"


def duration(seconds: float | None) -> str:
    """Seconds as text: "45 s", "12.3 min", "2.1 h", or a dash."""
    if seconds is None:
        return DASH
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def published_figure(published: Published | None) -> str:
    """The source's own figure with its data and split, or a dash with the reason."""
    if published is None:
        return f"{DASH} (none published)"
    accuracy = DASH if published.accuracy is None else f"{100 * published.accuracy:.4g} %"
    details = [text for text in (published.data, published.split, published.note) if text]
    return f"{accuracy} ({'; '.join(details)})"


def data_title(data: DataSummary) -> str:
    """Name and split of a data set, with what must be known: "phantom (grouped split, simulated)"."""
    return split_title(data.name, data.split, leaky=data.leaky, simulated=data.simulated)


def split_title(name: str, split: str, *, leaky: bool, simulated: bool) -> str:
    """The same from its parts."""
    marks = [f"{split} split"] + ["leaky"] * leaky + ["simulated"] * simulated
    return f"{name} ({', '.join(marks)})"


def baseline_rows(result: RunResult) -> list[tuple[str, float | None]]:
    """(name in words, accuracy on the test split) of each baseline."""
    return [(name, getattr(result.baselines, key, None)) for key, name in BASELINES.items()]


def simulation_warning(data: DataSummary) -> list[tuple[str, str]]:
    """The warning that the scored images are simulated, where they are."""
    text = "The images are simulated (phantom set). No figure on this page is a clinical one."
    return [("Simulated images", text)] if data.simulated else []


def leak_warning(data: DataSummary) -> list[tuple[str, str]]:
    """The warning that the split of the data leaks, where it does."""
    text = "Images of one group stand in more than one split. The accuracy is inflated and cannot rank models."
    return [("Leaky split", text)] if data.leaky else []


def baseline_warning(result: RunResult) -> list[tuple[str, str]]:
    """The warning that a trivial baseline comes near the accuracy on the test split, or passes it, where one does."""
    floors = [(floor, name) for name, floor in baseline_rows(result) if floor is not None]
    if result.test is None or not floors:
        return []
    highest, name = max(floors)
    if highest < result.test.accuracy - NEAR_BASELINE:
        return []
    text = (
        f"A method without a network (“{name}”) has {percent(highest)} of the test images right, the network "
        f"{percent(result.test.accuracy)}. Its accuracy shows little about what it learnt."
    )
    return [("Near a trivial baseline", text)]


def leak_statement(result: RunResult) -> str:
    """One or two sentences on whether training and test images share groups."""
    data = result.data
    if data.leaky:
        return (
            f"The split (“{data.split}”) is leaky: images of one group (the same image, neighbouring slices or "
            "one patient) stand in more than one of training, validation and test."
        )
    return (
        f"No group stands in more than one split (“{data.split}”). Groups hold the same image in any form, "
        "neighbouring slices as far as images tell, and the patient ids that were given, if any."
    )


def limits(result: RunResult) -> list[str]:
    """What the figures do not show, one sentence or two each."""
    found = [
        RESEARCH_ONLY,
        "The test images come from the same data set as the training images. Images from other scanners, hospitals or "
        "sources can be classified far worse: a network can learn the source of an image instead of the disease.",
        SINGLE_SLICES + (REFUSES_SOME if result.ood else ""),
    ]
    if result.data.simulated:
        found.insert(1, "The images are simulated; nothing here says how the network does on patients.")
    return found


def loss_of_training(training: TrainingPart) -> str | None:
    """The loss that was minimised and its class weights, as text; None for plain cross entropy."""
    weights = training.class_weights
    if training.loss == "cross entropy" and weights is None:
        return None
    shown = ", ".join(f"{label} {number(weight, 2)}" for label, weight in (weights or {}).items())
    return training.loss + (f"; class weights {shown}" if shown else "")
