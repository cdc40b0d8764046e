"""Accuracy beside what happens outside: how many tumours of a source that the training lacked are found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from brainmri.demo.model import DemoModel, file_of
from brainmri.recipe import read_recipe_file
from brainmri.reporting.html import render
from brainmri.runs.table import SEEDS, TEXT, read_detection, read_table, result_row, system_labels
from brainmri.wording import BASELINES

HELD_OUT = re.compile(r"\bsite=(.+?) held out")  # in the name of a data set, as `data.prepare` writes it
SYSTEM = ["recipe", "protocol", "changes", "weights", "schedule_fraction"]
SHARES = ("accuracy", "inside", "outside", "left_alone")


class Outside(NamedTuple):
    """The systems that were tested with one site held out.

    title: name of the data set. site: the one that was held out. tumours: how many images of it show one. floors:
    accuracy of the baselines on the same test split, 0..1, by title. rows: `name`, `seeds`, and the shares (0..1, None
    where not counted) `accuracy`, `inside` and `outside` (tumours found, of the other sites and of this one) and
    `left_alone` (images without a tumour), each a mean over seeds, with `outside_low` and `outside_high`: the lowest
    and the highest seed.
    """

    title: str
    site: str
    tumours: int
    simulated: bool
    leaky: bool
    floors: dict[str, float]
    rows: list[dict[str, Any]]


def outside(models: Sequence[DemoModel], results: Path | None) -> list[Outside]:
    """The held-out sites of the committed tables (`seeds.csv` and `detection.csv` of `results` and of its folders) and
    of the loaded models, systems that find the most first."""
    tables = [_counted(*tables) for tables in (*_committed(results), *_loaded(models))]
    tables = [table for table in tables if len(table)]
    if not tables:
        return []
    runs = pd.concat(tables, ignore_index=True).drop_duplicates(["fingerprint", "run"])
    return [_one(part) for _, part in runs.groupby(["data", "fingerprint", "split_seed"], sort=False, dropna=False)]


def outside_page(found: Sequence[Outside]) -> str:
    """HTML of all of them; nothing where there is none."""
    return render("outside.html.jinja", packages=("demo/pages/templates",), sets=found) if found else ""


def _committed(results: Path | None) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    if results is None:
        return []
    return [
        (read_table(file, SEEDS, TEXT), read_detection(file.with_name("detection.csv")))
        for file in sorted([*results.glob("seeds.csv"), *results.glob("*/seeds.csv")])
        if file.with_name("detection.csv").is_file()
    ]


def _loaded(models: Sequence[DemoModel]) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    found = []
    for model in models:
        result = model.result
        if result is None or result.test is None or result.detection is None:
            continue
        recipe = file_of(model.place, "recipe.yaml")
        run = pd.DataFrame([result_row(result, read_recipe_file(recipe) if recipe else None)])
        run.insert(0, "run", model.name)
        key = {name: run[name].iloc[0] for name in ("run", "data", "split", "fingerprint")}
        points = {"all": result.detection.all, **result.detection.sites}
        rows = [{**key, "site": site, **point.as_json()} for site, point in points.items()]
        found.append((run, pd.DataFrame(rows)))
    return found


def _counted(runs: pd.DataFrame, detections: pd.DataFrame) -> pd.DataFrame:
    """The runs with a site held out, and what they found inside and outside."""
    rows = []
    for run in runs.to_dict("records"):
        held_out = HELD_OUT.search(str(run["data"]))
        own = detections[(detections["run"] == run["run"]) & (detections["fingerprint"] == run["fingerprint"])]
        if not held_out or not (own["site"] == held_out[1]).any():
            continue
        sites = own[(own["site"] != "all") & (own["tumours"] > 0)]
        there, here = sites[sites["site"] == held_out[1]], sites[sites["site"] != held_out[1]]
        whole = own[own["site"] == "all"]
        rows.append(
            {
                **run,
                "site": held_out[1],
                "tumours": int(there["tumours"].sum()),
                "inside": _share(here),
                "outside": _share(there),
                "left_alone": float(whole["specificity"].iloc[0]) if len(whole) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _share(sites: pd.DataFrame) -> float:
    """Of the tumours of several sites, those that are found."""
    total = sites["tumours"].sum()
    return float((sites["sensitivity"] * sites["tumours"]).sum() / total) if total else np.nan


def _one(runs: pd.DataFrame) -> Outside:
    systems = [system for _, system in runs.groupby(SYSTEM, sort=False, dropna=False)]
    firsts = pd.concat([system.head(1) for system in systems])
    rows = [
        {
            "name": name,
            "seeds": len(system),
            **{share: _value(system[share].mean()) for share in SHARES},
            "outside_low": _value(system["outside"].min()),
            "outside_high": _value(system["outside"].max()),
        }
        for name, system in zip(system_labels(firsts), systems, strict=True)
    ]
    first = runs.iloc[0]
    floors = {title: first.get(f"floor_{key}", np.nan) for key, title in BASELINES.items()}
    return Outside(
        title=str(first["data"]),
        site=str(first["site"]),
        tumours=int(first["tumours"]),
        simulated=bool(first["simulated"]),
        leaky=bool(first["leaky"]),
        floors={title: float(value) for title, value in floors.items() if not pd.isna(value)},
        rows=sorted(rows, key=lambda row: -(row["outside"] or 0)),
    )


def _value(number: float) -> float | None:
    return None if pd.isna(number) else float(number)
