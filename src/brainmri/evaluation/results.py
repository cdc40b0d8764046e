"""Reading a run folder's `result.json`, and the sentences that must stand beside its figures.

The report, the model card and the comparison table share these, so that they cannot say different things.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from brainmri.faults import reading
from brainmri.suggestions import did_you_mean, paths_like

SCHEMA_VERSION = 1
KEYS = {
    *("schema_version", "arch", "recipe_title", "source", "published", "protocol", "seed", "split_seed", "fold"),
    *("weights", "normalize", "command", "created", "data", "parameters", "training", "test", "validation", "train"),
    *("calibration", "conformal", "reject", "floors", "environment"),
}
DATA_KEYS = {
    "name",
    "fingerprint",
    "layout",
    "split",
    "leaky",
    "classes",
    "counts",
    "train_after_oversampling",
    "groups",
}
NESTED = {
    "data": DATA_KEYS,
    "parameters": {"total", "trainable"},
    "training": {
        *("epochs_run", "epochs_scheduled", "schedule_fraction", "best_epoch", "time_to_converge_s", "precision"),
        *("images_per_second", "best_train_accuracy", "validation_accuracy_then"),
    },
    "environment": set(),
}
SCORES = {"n", "groups", "accuracy", "accuracy_ci95", "per_class", "confusion_matrix"}
FLOORS = {
    "majority": "Always the most frequent class",
    "nearest_neighbour": "Nearest training image (64x64 pixels)",
    "global_statistics": "Trees on 7 global statistics",
}
NEAR_FLOOR = 0.05  # of accuracy; a network that is not further above a floor is shown with a warning
DASH = "–"
RESEARCH_ONLY = (
    "This is research software, not a medical device. It must not be used to diagnose or to decide on treatment."
)
SINGLE_SLICES = (
    "The network sees single slices and knows only its own classes; it gives one of them to any picture, even one that "
    "is no brain MRI."
)
REFUSES_SOME = " The rule that refuses pictures (see above) finds many of those, not all."


def read_result(run_dir: Path) -> dict[str, Any]:
    """The contents of `result.json` in a run folder.

    Raises:
        FileNotFoundError: the folder has no `result.json`, so the run did not finish.
        ValueError: another schema version, or keys are missing.
    """
    path = Path(run_dir) / "result.json"
    if not Path(run_dir).exists():
        like = [str(place) for place in paths_like(Path(run_dir))]
        raise FileNotFoundError(f"{run_dir}: no such folder{did_you_mean(like)}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found: the run did not finish, or this is not a run folder.")
    with reading(path):
        result: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    if result.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{path}: schema version {result.get('schema_version')} found, {SCHEMA_VERSION} expected.")
    missing = sorted(KEYS - set(result))
    for part, keys in {**NESTED, **dict.fromkeys(("test", "validation", "train"), SCORES)}.items():
        content = result.get(part)
        if content is None and part not in NESTED:  # of a split that was not scored
            continue
        if not isinstance(content, dict):
            content = {}
        missing += sorted(f"{part}.{key}" for key in keys - set(content))
    if missing:
        raise ValueError(f"{path}: keys missing: {', '.join(missing)}. Make the run again with this version.")
    result["data"].setdefault("simulated", False)  # earlier releases recorded neither
    result["data"].setdefault("origin", None)
    return result


def write_result(result: dict[str, Any], run_dir: Path) -> None:
    """Write `result.json`, in one step: where it stands, the run is finished."""
    unfinished = run_dir / "result.json.tmp"
    unfinished.write_text(json_text(result), encoding="utf-8")
    unfinished.replace(run_dir / "result.json")


def json_text(content: Any) -> str:
    """What the files of a run folder hold; raises ValueError for NaN and infinity, which JSON lacks."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """The run folders among the given folders: each is a run folder itself, or holds run folders.

    Raises:
        ValueError: a folder neither has a `result.json` nor holds a folder that has one.
    """
    runs: list[Path] = []
    for path in paths:
        found = [path] if (path / "result.json").is_file() else sorted(p.parent for p in path.glob("*/result.json"))
        if not path.exists():
            raise ValueError(f"{path}: no such folder{did_you_mean([str(like) for like in paths_like(path)])}")
        if not found:
            raise ValueError(f"{path}: no result.json here or one folder below; give finished run folders.")
        runs.extend(run for run in found if run not in runs)
    return runs


def percent(share: float | None) -> str:
    """A share in 0..1 as text: 0.9561 -> "95.6 %", None -> a dash."""
    return DASH if share is None else f"{100 * share:.1f} %"


def number(value: float | None, digits: int = 3) -> str:
    """A number as text: floats with this many decimals, whole numbers with thousands separators, None as a dash."""
    if value is None:
        return DASH
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def with_interval(figures: dict[str, Any]) -> str:
    """Accuracy and interval as text: "95.6 % [94.1, 96.9]"."""
    if figures["accuracy_ci95"] is None:
        return f"{percent(figures['accuracy'])} (no interval: one group)"
    return f"{percent(figures['accuracy'])} {interval(figures['accuracy_ci95'])}"


def interval(bounds: list[float] | None) -> str:
    """Two shares in 0..1 as text: "[94.1, 96.9]", in percent; nothing for None."""
    return "" if bounds is None else f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


def duration(seconds: float | None) -> str:
    """Seconds as text: "45 s", "12.3 min", "2.1 h", or a dash."""
    if seconds is None:
        return DASH
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def published_figure(published: dict[str, Any] | None) -> str:
    """The source's own figure with its data and split, or a dash with the reason."""
    if published is None:
        return f"{DASH} (none published)"
    accuracy = DASH if published["accuracy"] is None else f"{100 * published['accuracy']:.4g} %"
    details = [text for text in (published["data"], published["split"], published["note"]) if text]
    return f"{accuracy} ({'; '.join(details)})"


def data_title(data: dict[str, Any]) -> str:
    """Name and split of the `data` part of a result, with what must be known: "phantom (grouped split, simulated)"."""
    marks = [f"{data['split']} split"] + ["leaky"] * data["leaky"] + ["simulated"] * data["simulated"]
    return f"{data['name']} ({', '.join(marks)})"


def floors_of(result: dict[str, Any]) -> list[tuple[str, float | None]]:
    """(name in words, accuracy on the test split) of each floor."""
    return [(name, (result["floors"] or {}).get(key)) for key, name in FLOORS.items()]


def warnings_of(result: dict[str, Any]) -> list[tuple[str, str]]:
    """(headline, sentence) of everything that a reader must know before any figure; empty for a plain run."""
    return [
        *simulation_warning(result["data"]),
        *training_warnings(result),
        *leak_warning(result["data"]),
        *floor_warning(result),
    ]


def simulation_warning(data: dict[str, Any]) -> list[tuple[str, str]]:
    """The warning that the scored images are simulated, where they are."""
    text = "The images are simulated (phantom set). No figure on this page is a clinical one."
    return [("Simulated images", text)] if data["simulated"] else []


def leak_warning(data: dict[str, Any]) -> list[tuple[str, str]]:
    """The warning that the split of the data leaks, where it does."""
    text = "Images of one group stand in more than one split. The accuracy is inflated and cannot rank models."
    return [("Leaky split", text)] if data["leaky"] else []


def floor_warning(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The warning that a trivial floor comes near the accuracy on the test split, or passes it, where one does."""
    floors = [(floor, name) for name, floor in floors_of(result) if floor is not None]
    if result["test"] is None or not floors:
        return []
    highest, name = max(floors)
    if highest < result["test"]["accuracy"] - NEAR_FLOOR:
        return []
    text = (
        f"A method without a network (“{name}”) has {percent(highest)} of the test images right, the network "
        f"{percent(result['test']['accuracy'])}. Its accuracy shows little about what it learnt."
    )
    return [("Near a trivial floor", text)]


def training_warnings(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Warnings about how the network of a run was trained, whatever it is scored on."""
    found = []
    fraction = result["training"]["schedule_fraction"]
    if result["weights"] == "random":
        text = "No pretrained weights were used: the network was trained from random initialisation."
        found.append(("Random weights", text))
    if fraction is not None and fraction < 1:
        text = (
            f"Only {100 * fraction:.2g} % of the recipe's schedule was run ({result['training']['epochs_run']} of "
            f"{result['training']['epochs_scheduled']} epochs). The recipe does not count as trained."
        )
        found.append(("Partial schedule", text))
    return found


def leak_statement(result: dict[str, Any]) -> str:
    """One or two sentences on whether training and test images share groups."""
    data = result["data"]
    if data["leaky"]:
        return (
            f"The split (“{data['split']}”) is leaky: images of one group (the same picture, neighbouring slices or "
            "one patient) stand in more than one of training, validation and test."
        )
    return (
        f"No group stands in more than one split (“{data['split']}”). Groups hold the same picture in any form, "
        "neighbouring slices as far as pictures tell, and the patient ids that were given, if any."
    )


def limits(result: dict[str, Any]) -> list[str]:
    """What the figures do not show, one sentence or two each."""
    found = [
        RESEARCH_ONLY,
        "The test images come from the same data set as the training images. Images from other scanners, hospitals or "
        "sources can be classified far worse: a network can learn the source of an image instead of the disease.",
        SINGLE_SLICES + (REFUSES_SOME if result["reject"] else ""),
    ]
    if result["data"]["simulated"]:
        found.insert(1, "The images are simulated; nothing here says how the network does on patients.")
    return found


def shown(result: dict[str, Any]) -> dict[str, Any]:
    """What the report and the card of a run both show, under the names that their templates use."""
    return {
        "result": result,
        "title": result["recipe_title"] or result["arch"],
        "accuracy": with_interval(result["test"]) if result["test"] else DASH,
        "published": published_figure(result["published"]),
        "floors": floors_of(result),
        "warnings": warnings_of(result),
        "leak_statement": leak_statement(result),
        "limits": limits(result),
        "dash": DASH,
    }
