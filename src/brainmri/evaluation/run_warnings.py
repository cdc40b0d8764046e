"""What a reader must know of a run before any of its figures."""

from __future__ import annotations

from brainmri.schemas import RunResult
from brainmri.wording import baseline_warning, epochs, leak_warning, simulation_warning

NO_RECORD = (
    "This model comes without a record of how far it can be trusted: its percentages are not calibrated, and it gives "
    "one of its classes to any image."
)
SIMULATED = "This model was trained on simulated slices only: what it says of a real image means nothing."


def warnings_of(result: RunResult) -> list[tuple[str, str]]:
    """(headline, sentence) of everything that a reader must know before any figure; empty for a plain run."""
    return [
        *simulation_warning(result.data),
        *training_warnings(result),
        *leak_warning(result.data),
        *baseline_warning(result),
    ]


def training_warnings(result: RunResult) -> list[tuple[str, str]]:
    """Warnings about how the network of a run was trained, whatever it is scored on."""
    found = []
    fraction = result.training.schedule_fraction
    if result.weights == "random" and not from_scratch(result.arch):
        text = (
            "No pretrained weights were used: the network was trained from random initialisation, and what its recipe "
            "freezes stayed random."
        )
        found.append(("Random weights", text))
    if fraction is not None and fraction < 1:
        text = (
            f"Only {100 * fraction:.2g} % of the recipe's schedule was run ({epochs(result.training.epochs_run)} "
            f"of {epochs(result.training.epochs_scheduled)} epochs). The recipe does not count as trained."
        )
        found.append(("Partial schedule", text))
    return found


def cautions(result: RunResult | None) -> list[str]:
    """What must be known before any answer of a model, a sentence or two each; empty for a plain run."""
    if result is None:
        return [NO_RECORD]
    simulated = [SIMULATED] if result.data.simulated else []
    # The first of the warnings says the same of figures.
    return simulated + [text for headline, text in warnings_of(result) if headline != "Simulated images"]


def from_scratch(arch: str) -> bool:
    """Whether the network of the recipe `arch` has no pretrained weights, so that random ones are its right start."""
    if ":" in arch:  # any model of timm or transformers: most have weights, and asking the Hub is not for a report
        return False
    from brainmri.models.introspect import imagenet_repository, resolve

    try:
        return imagenet_repository(resolve(arch)) is None
    except ValueError:  # a recipe that this version does not have: what it should start from is not known
        return False


def start_of_training(result: RunResult) -> str:
    """What the network's weights were before the training, in words."""
    scratch = result.weights == "random" and from_scratch(result.arch)
    return "random, as meant: there are no pretrained weights for this network" if scratch else result.weights
