"""The results of the benchmark as plain text and as a Markdown table, and figures of predictions as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from brainmri.reporting.html import markdown_table


def measured(
    measure: Callable[[pd.DataFrame], pd.DataFrame], folders: Sequence[Path], called: str, out: Path | None
) -> None:
    """Print what `measure` makes of each folder's predictions.csv, its name in the column `called`, and write it."""
    found = pd.concat(
        measure(pd.read_csv(one / "predictions.csv", dtype={"group_id": str})).assign(**{called: one.name})
        for one in folders
    )
    print(found.to_string(index=False))
    if out:
        found.to_csv(out, index=False, float_format="%.6g", lineterminator="\n")


def comparison_text(comparisons: list[dict[str, Any]]) -> str:
    """Each comparison under its title: medians, speeds, ratios, and whether the target was met."""
    return "\n".join(line for one in comparisons for line in _lines(one))


def target_text(one: dict[str, Any]) -> str:
    """What a comparison with a target was to reach, and whether it did."""
    ((kind, value),) = one["target"].items()
    unit = "x" if one["reference"] else " s"
    return f"target {kind.replace('_', ' ')} {value:g}{unit}: {'met' if one['met'] else 'MISSED'}"


def grouping_text(rows: list[dict[str, Any]]) -> str:
    """A line for each size, under the names of what was measured."""
    names = [name for name in rows[0] if name != "made"]
    lines = ["".join(f"{name:>15}" for name in names)]
    for row in rows:
        lines.append("".join(f"{'-' if row[name] is None else format(row[name], ',.6g'):>15}" for name in names))
    return "\n".join(lines)


def benchmark_markdown(report: dict[str, Any]) -> str:
    """The Markdown table, from what `benchmark.json` holds: medians, ratios, and the targets met or missed."""
    rows = []
    for part, comparisons in sorted(report["parts"].items()):
        if part == "grouping":
            rows += [[part, f"{row['size']:,} images", _grouped(row), ""] for row in comparisons]
            continue
        for one in comparisons:
            target = target_text(one).removeprefix("target ") if one["target"] else ""
            rows.append([part, one["title"], "; ".join(_median(one, name) for name in one["medians"]), target])
    environment = report["environment"]
    note = f"Medians of {report['repeats']} repetitions in turns, on {environment['hardware']}; data: {report['data']}."
    return markdown_table(["part", "what", "median (ratio)", "target"], rows) + f"\n\n{note}"


def _median(one: dict[str, Any], name: str) -> str:
    scale, unit = (1000 / one["images"], "ms per image") if one["images"] else (1, "s")
    text = f"{name} {scale * one['medians'][name]:.3g} {unit}"
    return text + (f" ({one['ratios'][name]:.2f}x)" if name in one["ratios"] else "")


def _grouped(row: dict[str, Any]) -> str:
    memory = "" if row["peak_mib"] is None else f", {row['peak_mib']:,.0f} MiB"
    return f"{row['seconds']:,.1f} s{memory}"


def _lines(one: dict[str, Any]) -> list[str]:
    missing = one.get("not_installed", {})
    width = max(len(name) for name in [*one["medians"], *missing]) + 2
    lines = [f"  {one['title']}"]
    for name, median in one["medians"].items():
        text = f"    {name:<{width}}{median:9.3f} s"
        if one["images"]:
            text += f"{one['images'] / median:10,.1f} images/s{1000 * median / one['images']:9.3f} ms per image"
        if "p95" in one:
            text += f" (95 %: {1000 * one['p95'][name]:.3f} ms)"
        if name in one["ratios"]:
            text += f"{one['ratios'][name]:8.2f} x {one['reference']}"
        if "largest_difference" in one and name != one["reference"]:
            text += f"; probabilities differ by up to {one['largest_difference'][name]:.1e}"
        lines.append(text)
    lines += [f"    {name:<{width}}{sentence}" for name, sentence in missing.items()]
    if one["target"]:
        lines.append(f"    {target_text(one)}")
    return lines
