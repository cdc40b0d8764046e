"""The comparison table: many `result.json` files to `comparison.csv`, and that file to the README's table.

The CSV is tidy: one row per recipe, protocol, weights and data split, with seeds collapsed, plus one row per floor and
split. The Markdown table is made from the CSV alone, so the committed file and the README can be checked against each
other.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from brainmri.evaluation.results import DASH, FLOORS, is_simulated, percent, published_figure, read_result

START, END = "<!-- results:start -->", "<!-- results:end -->"

# What makes two runs the same system, so that they may differ in their seed only.
SYSTEM = ["source", "recipe", "protocol", "weights", "normalize", "epochs_scheduled", "schedule_fraction"]
# What makes two test splits the same, so that their accuracies may stand in one column.
TEST_SPLIT = ["data", "split", "leaky", "fingerprint", "split_seed", "fold", "test_images", "test_groups"]
PUBLISHED = ["published_accuracy", "published_data", "published_split", "published_note"]
MEASURED = ["seeds", "accuracy", "accuracy_sd", "ci_low", "ci_high", "epochs_min", "epochs_max", "minutes"]
MEASURED += ["images_per_second", "parameters", "hardware"]
COLUMNS = ["kind", *SYSTEM, "recipe_title", *PUBLISHED, *TEST_SPLIT, *MEASURED]
TEXT = ["kind", "source", "recipe", "protocol", "weights", "normalize", "recipe_title", *PUBLISHED[1:]]
TEXT += ["data", "split", "fingerprint", "fold", "hardware"]


def compare_runs(run_dirs: Iterable[Path]) -> pd.DataFrame:
    """One row per system and test split (seeds collapsed to mean and standard deviation), then the floors.

    With several seeds `ci_low` and `ci_high` are the means of the seeds' bounds. Accuracies are in 0..1; `minutes` is
    the time to converge. The floors of a split are those of the run that was made last.

    Raises:
        ValueError: a run has no test figures, or two runs of one system on one split have the same seed.
    """
    runs = pd.DataFrame([_row(Path(run_dir)) for run_dir in run_dirs])
    same = runs[runs.duplicated([*SYSTEM, *TEST_SPLIT, "seed"], keep=False)]
    if len(same):
        raise ValueError(
            f"The same recipe, split and seed more than once: {', '.join(same['run'])}. Leave out all but one."
        )
    models = [_collapsed(group) for _, group in runs.groupby([*SYSTEM, *TEST_SPLIT], dropna=False)]
    floors = [
        {
            "kind": "floor",
            "recipe": floor,
            **{key: last[key] for key in TEST_SPLIT},
            "accuracy": last["floors"].get(floor),
        }
        for _, group in runs.groupby(TEST_SPLIT, dropna=False)
        for last in [group.sort_values("created").iloc[-1]]
        for floor in FLOORS
    ]
    table = pd.DataFrame([*models, *floors], columns=COLUMNS)
    return table.astype({"parameters": "Int64", "seeds": "Int64"})  # whole numbers, although floors have none


def write_comparison(table: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV (6 significant digits, the same bytes on every system)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def read_comparison(path: Path) -> pd.DataFrame:
    """Read what `write_comparison` wrote; empty text is "".

    Raises:
        ValueError: the columns are not those of a comparison table.
    """
    table = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=[""])
    if list(table.columns) != COLUMNS:
        raise ValueError(f"{path}: columns {list(table.columns)} found, {COLUMNS} expected; make the file again.")
    return table.fillna(dict.fromkeys(TEXT, ""))


def comparison_markdown(table: pd.DataFrame) -> str:
    """The README's table with its legend, from a table as `read_comparison` gives it.

    One row per system, in the order of the sources (not of the figures), one column per test split, floors beneath.
    """
    splits = [key for key, _ in table.groupby(TEST_SPLIT, dropna=False)]
    models, floors = table[table["kind"] == "model"], table[table["kind"] == "floor"]
    several_machines = models["hardware"].nunique() > 1
    header = ["recipe", "protocol", "weights", "epochs", "published by the source", *_split_names(splits)]
    header += ["time to converge (min)", "images/s", "parameters"] + ["hardware"] * several_machines
    rows = []
    for _, system in models.groupby(SYSTEM, dropna=False):
        on_split = {key: part.iloc[0] for key, part in system.groupby(TEST_SPLIT, dropna=False)}
        first = system.iloc[0]
        row = [f"`{first['recipe']}`", first["protocol"], _short(first["weights"]), _epochs(system), _published(first)]
        row += [_accuracy(on_split[key]) if key in on_split else DASH for key in splits]
        row += [_joined(system["minutes"], ".1f"), _joined(system["images_per_second"], ",.0f")]
        row += [_joined(system["parameters"], ",.0f")] + ["; ".join(system["hardware"].unique())] * several_machines
        rows.append(row)
    for floor, name in FLOORS.items():
        values = dict(list(floors[floors["recipe"] == floor].groupby(TEST_SPLIT, dropna=False)))
        cells = [_floor_accuracy(values[key].iloc[0]) if key in values else DASH for key in splits]
        rows.append([f"*floor: {name}*", "", "", "", "", *cells, "", "", ""] + [""] * several_machines)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n\n" + _legend(models)


def insert_results(readme: str, table: str) -> str:
    """The README's text with `table` between the two markers.

    Raises:
        ValueError: the markers do not stand exactly once each, in their order.
    """
    if readme.count(START) != 1 or readme.count(END) != 1 or readme.index(START) > readme.index(END):
        raise ValueError(f"The README must hold {START} and, after it, {END}, each exactly once; put them in.")
    before, after = readme.split(START)[0], readme.split(END)[1]
    return f"{before}{START}\n{table}\n{END}{after}"


def _row(run_dir: Path) -> dict[str, Any]:
    result = read_result(run_dir)
    if result["test"] is None:
        raise ValueError(f"{run_dir}: the run has no test figures; leave it out of the comparison.")
    data, training, test = result["data"], result["training"], result["test"]
    published, low_high = result["published"] or {}, test["accuracy_ci95"] or [None, None]
    seconds = training["time_to_converge_s"]
    return {
        "run": str(run_dir),
        "created": result["created"],
        "seed": result["seed"],
        "floors": result["floors"] or {},
        "recipe": result["arch"],
        "recipe_title": result["recipe_title"] or "",
        "source": result["source"] or "",
        **{key: result[key] or "" for key in ("protocol", "weights", "normalize")},
        **{key: training[key] for key in ("epochs_scheduled", "schedule_fraction", "epochs_run", "images_per_second")},
        "published_accuracy": published.get("accuracy"),
        # "none" tells a recipe without a published figure from one whose figure is not known.
        "published_data": (published.get("data") or "") if published else "none",
        "published_split": published.get("split") or "",
        "published_note": published.get("note") or "",
        "data": data["name"],
        **{key: data[key] for key in ("split", "leaky", "fingerprint")},
        "split_seed": result["split_seed"],
        "fold": "" if result["fold"] is None else str(result["fold"]),
        "test_images": test["n"],
        "test_groups": test["groups"],
        "accuracy": test["accuracy"],
        "ci_low": low_high[0],
        "ci_high": low_high[1],
        "minutes": None if seconds is None else seconds / 60,
        "parameters": result["parameters"]["total"],
        "hardware": str(result["environment"].get("hardware") or ""),
    }


def _collapsed(seeds: pd.DataFrame) -> dict[str, Any]:
    first = seeds.iloc[0]
    averages = ["accuracy", "ci_low", "ci_high", "minutes", "images_per_second"]
    return {
        "kind": "model",
        **{key: first[key] for key in [*SYSTEM, "recipe_title", *PUBLISHED, *TEST_SPLIT, "parameters"]},
        **{key: seeds[key].astype(float).mean(skipna=False) for key in averages},
        "seeds": len(seeds),
        "accuracy_sd": seeds["accuracy"].std(),  # NaN, and so an empty cell, for one seed
        "epochs_min": seeds["epochs_run"].min(),
        "epochs_max": seeds["epochs_run"].max(),
        "hardware": "; ".join(sorted(set(seeds["hardware"]))),
    }


def _split_names(splits: list[Any]) -> list[str]:
    """Column titles: data set and split scheme; fingerprint, seed and fold where two would have the same title."""
    keys = [dict(zip(TEST_SPLIT, split, strict=True)) for split in splits]
    short = [(key["data"], key["split"]) for key in keys]
    names = []
    for key in keys:
        parts = [f"test accuracy on {key['data']}", f"{key['split']} split", f"{key['test_images']:,.0f} images"]
        if short.count((key["data"], key["split"])) > 1:
            parts += [f"fingerprint {key['fingerprint'][:8]}", f"split seed {key['split_seed']:.0f}"]
            parts += [f"fold {key['fold']}"] * (key["fold"] != "")
        names.append(", ".join(parts + ["simulated"] * is_simulated(key["data"])))
    return names


def _accuracy(row: pd.Series) -> str:
    text = percent(row["accuracy"])
    if row["seeds"] > 1:
        text += f" ± {100 * row['accuracy_sd']:.1f} ({row['seeds']:.0f} seeds)"
    if pd.notna(row["ci_low"]):
        text += f" [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
    else:
        text += " (no interval: one group)"
    return text + " leaky" * bool(row["leaky"])


def _floor_accuracy(row: pd.Series) -> str:
    return DASH if pd.isna(row["accuracy"]) else percent(row["accuracy"]) + " leaky" * bool(row["leaky"])


def _published(row: pd.Series) -> str:
    if row["published_data"] == "none":
        return published_figure(None)
    accuracy = None if pd.isna(row["published_accuracy"]) else row["published_accuracy"]
    texts = {key: row[f"published_{key}"] for key in ("data", "split", "note")}
    return published_figure({"accuracy": accuracy, **texts})


def _epochs(system: pd.DataFrame) -> str:
    low, high, scheduled = system["epochs_min"].min(), system["epochs_max"].max(), system["epochs_scheduled"].iloc[0]
    done = f"{low:g}" if low == high else f"{low:g}–{high:g}"
    fraction = system["schedule_fraction"].iloc[0]
    return f"{done}/{scheduled:g}" + (f" ({100 * fraction:.2g} % of the schedule)" if fraction < 1 else "")


def _joined(values: pd.Series, form: str) -> str:
    """The values of a system's splits in the order of the columns; one where all are equal."""
    texts = [DASH if pd.isna(value) else format(value, form) for value in values]
    return texts[0] if len(set(texts)) == 1 else " / ".join(texts)


def _short(weights: str) -> str:
    """Where weights came from, without revision and hash (the CSV has them)."""
    return weights.split("@")[0].split(" ")[0] or DASH


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _legend(models: pd.DataFrame) -> str:
    parts = [
        "Test accuracy with its 95 % interval, resampled by group; several seeds give mean ± standard deviation and "
        "the mean of their intervals.",
        "A dash in a test column: not run on that split.",
        "Epochs are run/scheduled; fewer than scheduled without a share means early stopping.",
        "A floor is what a method without a network reaches on the same split.",
        "Published figures were measured by their sources on the data in brackets and are not ranked with ours.",
    ]
    if models["leaky"].any():
        parts.append("Leaky: images of one group stand in more than one split, so the accuracy is inflated.")
    if models["data"].map(is_simulated).any():
        parts.append("Simulated (phantom) images: no figure on them is a clinical one.")
    hardware = [name for name in models["hardware"].unique() if name]
    if len(hardware) == 1:
        parts.append(f"Time and speed on {hardware[0]}.")
    return " ".join(parts)
