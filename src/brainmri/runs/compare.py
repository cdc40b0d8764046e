"""Finished runs compared: comparison.csv, detection.csv, best epochs, and runs of earlier comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from brainmri.reporting.comparison_plots import accuracy_against_cost, accuracy_and_minutes
from brainmri.reporting.html import markdown_table
from brainmri.runs.paired import COLUMNS as PAIRED_COLUMNS
from brainmri.runs.paired import SPLIT, holm
from brainmri.runs.table import (
    PUBLISHED,
    SEEDS,
    SYSTEM,
    TEST_SPLIT,
    by_test_split,
    lacks_weights,
    named,
    read_detection,
    read_table,
    short_weights,
    system_labels,
)
from brainmri.runs.table import TEXT as SEEDS_TEXT
from brainmri.schemas import Published, read_result
from brainmri.wording import BASELINES, DASH, percent, published_figure

MEASURED = ["seeds", "accuracy", "accuracy_sd", "ci_low", "ci_high", "epochs_min", "epochs_max", "minutes"]
MEASURED += ["images_per_second", "parameters", "hardware"]
COLUMNS = ["kind", *SYSTEM, "recipe_title", *PUBLISHED, *TEST_SPLIT, *MEASURED]
TEXT = ["kind", "source", "recipe", "protocol", "changes", "weights", "normalize", "precision", "recipe_title"]
TEXT += [*PUBLISHED[1:], "data", "split", "fingerprint", "fold", "hardware"]

RANDOM_TITLE = "### What ImageNet weights are worth"
RANDOM_LEGEND = (
    "These recipes ask for ImageNet weights. A row with `random` in the column weights began without them: it says "
    "what the network learns from these images alone (of a frozen network, what its random features are worth), and "
    "nothing of the recipe as its source meant it. A recipe that was trained with its ImageNet weights too stands "
    "beside it."
)
RANDOM_ELSEWHERE = "Recipes trained without the ImageNet weights that they ask for ({}) stand in docs/results.md."


def compare_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per system and test split (seeds collapsed to mean and standard deviation), then the baselines.

    With several seeds `ci_low` and `ci_high` are the means of the seeds' bounds. Accuracies are in 0..1; `minutes` is
    the time to converge, on the machine that most of the seeds ran on, which `hardware` names first. The baselines of a
    split are those of the run that was made last.

    Args:
        runs: a table as `read_runs` gives it.
    """
    models = [_collapsed(group) for _, group in runs.groupby([*SYSTEM, *TEST_SPLIT], dropna=False)]
    floors = [
        {
            "kind": "floor",
            "recipe": floor,
            **{key: last[key] for key in TEST_SPLIT},
            "accuracy": last[f"floor_{floor}"],
        }
        for _, group in runs.groupby(TEST_SPLIT, dropna=False)
        for last in [group.sort_values("created").iloc[-1]]
        for floor in BASELINES
    ]
    table = pd.DataFrame([*models, *floors], columns=COLUMNS)
    return table.astype({"parameters": "Int64", "seeds": "Int64"})  # whole numbers, although baselines have none


def write_comparison(table: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV (6 significant digits, the same bytes on every system)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def read_comparison(path: Path) -> pd.DataFrame:
    """Read what `write_comparison` wrote; empty text is "".

    Raises:
        ValueError: the columns are not those of a comparison table.
    """
    return read_table(path, COLUMNS, TEXT)


def machines(models: pd.DataFrame) -> pd.Series:
    """Hardware and precision of each row in words; times compare only where these are equal."""
    return models["hardware"].where(models["hardware"] != "", "unknown hardware") + ", " + models["precision"]


def comparison_markdown(table: pd.DataFrame, *, short: bool = False) -> str:
    """The table with its legend, from a table as `read_comparison` gives it; `short`: the accuracies alone.

    One row per system, in the order of the sources (not of the figures), one column per test split (see
    `by_test_split`), baselines beneath. Systems that began with random weights, although their recipe asks for
    pretrained ones, have a table of their own, beside the same recipes with those weights.
    """
    models = table[table["kind"] == "model"]
    lacking = models[lacks_weights(models)]
    if lacking.empty:
        return _table_markdown(table, short=short)
    same = ["recipe", "protocol", "changes"]
    keys = set(lacking[same].itertuples(index=False, name=None))
    beside = models[[row in keys for row in models[same].itertuples(index=False, name=None)]]
    own = f"{RANDOM_TITLE}\n\n{RANDOM_LEGEND}\n\n{_table_markdown(beside, short=short, weights=True)}"
    if len(lacking) == len(models):
        return own
    main = _table_markdown(table.drop(index=lacking.index), short=short)
    return f"{main} {RANDOM_ELSEWHERE.format(len(keys))}" if short else f"{main}\n\n{own}"


def _table_markdown(table: pd.DataFrame, *, short: bool, weights: bool = False) -> str:
    """weights: whether the short table tells them."""
    splits = by_test_split(table)
    table = pd.concat([split.rows for split in splits])  # a row's times stand in the order of the columns
    models, floors = table[table["kind"] == "model"], table[table["kind"] == "floor"]
    several_machines = machines(models).nunique() > 1
    header = ["recipe", "protocol", "weights", "epochs", "published by the source"]
    header += [f"test: {split.title}, {split.rows['test_images'].iloc[0]:,} images" for split in splits]
    header += ["time to converge (min)", "images/s", "parameters"] + ["hardware"] * several_machines
    rows = []
    # A limit of time gives one system another share of its schedule on each split: still one row, if one a split.
    across = [key for key in SYSTEM if key != "schedule_fraction"]
    several = models.duplicated([*across, *TEST_SPLIT]).any()
    formulas = models.groupby(["recipe", "protocol", "changes"])["normalize"].nunique()  # one needs no mention
    for _, system in models.groupby(SYSTEM if several else across, dropna=False):
        first = system.iloc[0]
        alone = formulas[first["recipe"], first["protocol"], first["changes"]] == 1
        changes = ", ".join(filter(None, ["" if alone else f"normalize={first['normalize']}", first["changes"]]))
        name = f"`{first['recipe']}`" + f" with {changes}" * bool(changes)
        row = [name, first["protocol"], short_weights(first["weights"]) or DASH, _epochs(system)]
        row += [_published(first), *(_accuracy(_of_split(system, split.rows)) for split in splits)]
        row += [_joined(system["minutes"], ".1f"), _joined(system["images_per_second"], ",.0f")]
        row += [_joined(system["parameters"], ",.0f")] + ["; ".join(machines(system).unique())] * several_machines
        rows.append(row)
    for floor, name in BASELINES.items() if len(floors) else ():
        values = floors[floors["recipe"] == floor]
        cells = [_floor_accuracy(_of_split(values, split.rows)) for split in splits]
        rows.append([f"*baseline: {name}*", "", "", "", "", *cells, "", "", ""] + [""] * several_machines)
    if short:
        kept = [
            0,
            *([1] if models["protocol"].nunique() > 1 else []),
            *([2] if weights else []),
            *range(5, 5 + len(splits)),
        ]
        return markdown_table(*_columns(header, rows, kept)) + "\n\n" + " ".join(_accuracy_legend(models))
    return markdown_table(header, rows) + "\n\n" + _legend(models)


def _collapsed(seeds: pd.DataFrame) -> dict[str, Any]:
    first = seeds.iloc[0]
    averages, times = ["accuracy", "ci_low", "ci_high"], ["minutes", "images_per_second"]
    usual = seeds[seeds["hardware"] == seeds["hardware"].mode().iloc[0]]  # a mean over two machines is of neither
    return {
        "kind": "model",
        **{key: first[key] for key in [*SYSTEM, "recipe_title", *PUBLISHED, *TEST_SPLIT, "parameters"]},
        **{key: seeds[key].astype(float).mean(skipna=False) for key in averages},
        **{key: usual[key].astype(float).mean(skipna=False) for key in times},
        "seeds": len(seeds),
        "accuracy_sd": seeds["accuracy"].std(),  # NaN, and so an empty cell, for one seed
        "epochs_min": seeds["epochs_run"].min(),
        "epochs_max": seeds["epochs_run"].max(),
        "hardware": "; ".join(
            sorted(set(seeds["hardware"]), key=lambda name: (name != usual["hardware"].iloc[0], name))
        ),
    }


def _of_split(rows: pd.DataFrame, split: pd.DataFrame) -> pd.Series | None:
    """The one row that belongs to a test split, if it was run on it."""
    found = rows.loc[rows.index.intersection(split.index)]
    return None if found.empty else found.iloc[0]


def _accuracy(row: pd.Series | None) -> str:
    if row is None:
        return DASH
    text = percent(row["accuracy"])
    if row["seeds"] > 1:
        text += f" ± {100 * row['accuracy_sd']:.1f} ({row['seeds']:.0f} seeds)"
    if pd.notna(row["ci_low"]):
        text += f" [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
    else:
        text += " (no interval: one group)"
    return text + " leaky" * bool(row["leaky"])


def _floor_accuracy(row: pd.Series | None) -> str:
    if row is None or pd.isna(row["accuracy"]):
        return DASH
    return percent(row["accuracy"]) + " leaky" * bool(row["leaky"])


def _published(row: pd.Series) -> str:
    if row["published_data"] == "none":
        return published_figure(None)
    accuracy = None if pd.isna(row["published_accuracy"]) else row["published_accuracy"]
    texts = {key: row[f"published_{key}"] for key in ("data", "split", "note")}
    return published_figure(Published(accuracy=accuracy, **texts))


def _epochs(system: pd.DataFrame) -> str:
    low, high, scheduled = system["epochs_min"].min(), system["epochs_max"].max(), system["epochs_scheduled"].iloc[0]
    done = f"{low:g}" if low == high else f"{low:g}–{high:g}"
    shares = list(dict.fromkeys(f"{round(100 * share, 1):g}" for share in sorted(system["schedule_fraction"])))
    return f"{done}/{scheduled:g}" + f" ({'–'.join(shares)} % of the schedule)" * (shares != ["100"])


def _joined(values: pd.Series, form: str) -> str:
    """The values of a system's splits in the order of the columns; one where all are equal."""
    texts = [DASH if pd.isna(value) else format(value, form) for value in values]
    return texts[0] if len(set(texts)) == 1 else " / ".join(texts)


def _columns(header: list[str], rows: list[list[str]], kept: list[int]) -> tuple[list[str], list[list[str]]]:
    return [header[column] for column in kept], [[row[column] for column in kept] for row in rows]


def _accuracy_legend(models: pd.DataFrame) -> list[str]:
    parts = [
        "Test accuracy with its 95 % interval, resampled by group; of several seeds mean ± standard deviation and the "
        "mean of their intervals.",
        "A dash: not run on that split.",
        "A baseline has no network.",
    ]
    if models["leaky"].any():
        parts.append("Leaky: images of one group stand in more than one split, so the accuracy is inflated.")
    if models["simulated"].any():
        parts.append("Simulated (phantom) images: no figure on them is a clinical one.")
    return parts


def _legend(models: pd.DataFrame) -> str:
    parts = [
        *_accuracy_legend(models),
        "Epochs are run/scheduled; fewer than scheduled without a share means early stopping.",
        "Published figures were measured by their sources on the data in brackets and are not ranked with ours.",
    ]
    machine = machines(models).unique()
    if models["hardware"].str.contains("; ").any():
        parts.append("Where seeds ran on two machines, time and speed are those of the one that is named first.")
    if len(machine) == 1:
        parts.append(f"Time and speed on {machine[0]}.")
    return " ".join(parts)


RATES = ("sensitivity", "specificity")
DETECTION_COLUMNS = ["run", "data", "split", "fingerprint", "site", "tumours", "others"]
DETECTION_COLUMNS += [f"{rate}{end}" for rate in RATES for end in ("", "_low", "_high", "_of_likeliest")] + ["auroc"]


def detections(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each run and site ("all": every test image); runs without a class that means "no tumour" have none.

    runs: a table as `read_runs` gives it; those without a folder are left out.
    """
    rows = []
    for run in runs[runs["folder"] != ""].to_dict("records"):
        found = read_result(Path(run["folder"])).detection
        sites = {"all": found.all, **found.sites} if found else {}
        for site, figures in sites.items():
            row = {**{key: run[key] for key in ("run", "data", "split", "fingerprint")}, "site": site}
            for rate in RATES:
                low_high = getattr(figures, f"{rate}_ci95") or [None, None]
                row |= {f"{rate}_low": low_high[0], f"{rate}_high": low_high[1]}
            rows.append(row | {key: getattr(figures, key) for key in DETECTION_COLUMNS if key not in row})
    return pd.DataFrame(rows, columns=DETECTION_COLUMNS)


def write_detections(table: pd.DataFrame, path: Path) -> None:
    """Write `detection.csv` (6 significant digits, the same bytes on every system)."""
    table.sort_values(["fingerprint", "run", "site"]).to_csv(
        path, index=False, float_format="%.6g", lineterminator="\n"
    )


HEADER = ["run", "epochs run", "best train epoch", "train accuracy", "validation accuracy then", "test accuracy"]


def best_epochs_markdown(runs: pd.DataFrame) -> str:
    """A section with a table for each test split, a row for each run, from a table as `read_runs` gives it."""
    sections = []
    for split in by_test_split(runs):
        rows = [
            [
                *(f"`{row['run']}`", f"{row['epochs_run']:g}", f"{row['best_train_epoch']}"),
                *(percent(row["best_train_accuracy"]), percent(_or_none(row["validation_accuracy_then"]))),
                percent(row["accuracy"]) + " leaky" * bool(row["leaky"]),
            ]
            for _, row in split.rows.iterrows()
        ]
        sections.append(f"### Best training epoch: {split.title}\n\n{markdown_table(HEADER, rows)}")
    note = (
        "The best training epoch is that of the highest accuracy on the training images (augmented, and measured while "
        "the weights changed), counted over all stages. The test accuracy is that of the weights that were kept, which "
        "may be another epoch's."
    )
    return "\n\n".join([*sections, note])


def _or_none(value: float | None) -> float | None:
    return None if pd.isna(value) else value


RECIPE = ["recipe", "protocol"]
RUN = [*SYSTEM, "fingerprint", "split_seed", "fold", "seed"]


def with_earlier(runs: pd.DataFrame, seeds: Path, same: list[str] = RECIPE) -> pd.DataFrame:
    """`runs` and those rows of the earlier `seeds.csv` that they do not replace.

    same: a row is replaced if `runs` has one that is equal to it in these columns: `RECIPE` or `RUN`.

    The columns are those of `read_runs`, with an empty `folder` for an earlier run, and `run_then`, its earlier name;
    a run of `runs` has one if it is the one that the file has, not another of its kind.

    Raises:
        ValueError: the columns of the file are not those of `write_seeds`.
    """
    earlier = read_table(seeds, SEEDS, SEEDS_TEXT).rename(columns={"run": "run_then"})
    again = set(runs[same].itertuples(index=False, name=None))
    kept = [row not in again for row in earlier[same].itertuples(index=False, name=None)]
    itself = [*RUN, "created"]
    then = dict(zip(earlier[itself].itertuples(index=False, name=None), earlier["run_then"], strict=True))
    new = runs.drop(columns="run")
    new["run_then"] = [then.get(row, "") for row in new[itself].itertuples(index=False, name=None)]
    return named(pd.concat([new, earlier[kept].assign(folder="")], ignore_index=True))


def with_earlier_detections(found: pd.DataFrame, runs: pd.DataFrame, earlier: Path) -> pd.DataFrame:
    """`found` of the new runs, and the rows of the earlier `detection.csv` of those kept, under their names of now.

    runs: a table as `with_earlier` gives it.
    """
    if not earlier.is_file():
        return found
    old = read_detection(earlier)
    kept = runs[runs["folder"] == ""]
    now = {(row["fingerprint"], row["run_then"]): row["run"] for _, row in kept.iterrows()}
    old["run"] = [now.get(row) for row in old[["fingerprint", "run"]].itertuples(index=False, name=None)]
    parts = [part for part in (old.dropna(subset="run"), found) if len(part)]
    return pd.concat(parts) if parts else found


def with_earlier_tests(tests: pd.DataFrame, runs: pd.DataFrame, earlier: Path) -> pd.DataFrame:
    """`tests` of the new runs and the earlier `paired_tests.csv` of the runs that are kept, all adjusted anew.

    No new run is paired with an earlier one, whose predictions are gone. runs: a table as `with_earlier` gives it.
    """
    if not earlier.is_file():
        return tests
    kept = runs[runs["run_then"] != ""]
    now = {(*row[SPLIT], row["run_then"]): row["run"] for _, row in kept.iterrows()}
    old = pd.read_csv(earlier, dtype={"fold": str, "fingerprint": str, "data": str}).fillna({"fold": ""})
    for side in ("run_a", "run_b"):
        old[side] = [now.get((*row[SPLIT], row[side])) for _, row in old.iterrows()]
    parts = [part for part in (tests, old.dropna(subset=["run_a", "run_b"])) if len(part)]
    if not parts:
        return tests
    together = pd.concat(parts).drop_duplicates([*SPLIT, "run_a", "run_b"])  # what was tested again counts
    places = {(*row[SPLIT], row["run"]): place for place, (_, row) in enumerate(runs.iterrows())}
    order = [tuple(places[*row[SPLIT], row[side]] for side in ("run_a", "run_b")) for _, row in together.iterrows()]
    together = together.iloc[sorted(range(len(order)), key=order.__getitem__)].reset_index(drop=True)
    together["p_group_holm"] = together.groupby(SPLIT)["p_group"].transform(holm)
    return together[PAIRED_COLUMNS]


def write_comparison_figures(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Both figures of every test split of a table as `read_comparison` gives it; returns the files written."""
    names = system_labels(table[table["kind"] == "model"])
    written = []
    for split in by_test_split(table):
        models = split.rows[split.rows["kind"] == "model"]
        seeds = models["seeds"].map(lambda n: f" ({n:.0f} seeds)" if n > 1 else "")
        models = models.assign(name=names[models.index] + seeds, machine=machines(models))
        models = models.sort_values("accuracy", ascending=False, kind="stable")
        known = split.rows[(split.rows["kind"] == "floor") & split.rows["accuracy"].notna()]
        floors = dict(zip(known["recipe"], known["accuracy"], strict=True))
        bars, scatter = (
            folder / f"{kind}-{split.slug}.png" for kind in ("accuracy_and_minutes", "accuracy_against_cost")
        )
        written.append(accuracy_and_minutes(models, floors, bars, title=split.title))
        written.append(accuracy_against_cost(models, floors, scatter, title=split.title))
    return written
