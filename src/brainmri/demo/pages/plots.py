"""Interactive plots of accuracy against cost: Vega-Lite, which Gradio's own page draws without asking a network."""

from __future__ import annotations

import json
from math import floor
from typing import TYPE_CHECKING, Any

from brainmri.demo.pages.leaderboard import Ranking, records
from brainmri.reporting.comparison_plots import BASELINE_LABELS, LOG_FROM

if TYPE_CHECKING:
    from gradio.components.plot import PlotData

COSTS = {"minutes": "time to converge (min)", "parameters": "parameters"}
# Of Okabe and Ito, darkened or lightened until each is told from both pages; shapes tell the machines apart too.
COLOURS = ["#0b7fab", "#d55e00", "#c0609b", "#009e73", "#b8860b"]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross"]
TEXT = "currentColor"  # that of the page, in light and dark
LINE = "#8896a3"


def accuracy_against(chosen: Ranking, cost: str) -> PlotData:
    """Test accuracy with its interval against a cost, one of `COSTS`; the baselines are dashed lines."""
    from gradio.components.plot import PlotData

    return PlotData(type="altair", plot=json.dumps(specification(chosen, cost)))


def specification(chosen: Ranking, cost: str) -> dict[str, Any]:
    """The Vega-Lite specification; rows without a measured cost are left out. Accuracies are percentages."""
    points: list[dict[str, Any]] = [
        {
            "name": row["name"],
            "accuracy": 100 * row["accuracy"],
            "low": None if row["ci_low"] is None else 100 * row["ci_low"],
            "high": None if row["ci_high"] is None else 100 * row["ci_high"],
            "cost": row[cost],
            "hardware": row["hardware"],
            "seeds": row["seeds"],
        }
        for row in records(chosen)
        if row[cost] is not None
    ]
    floors: list[dict[str, Any]] = [
        {"floor": BASELINE_LABELS[key], "accuracy": 100 * value}
        for key, value in chosen.floors.items()
        if value is not None
    ]
    costs = [point["cost"] for point in points]
    lows = [point["low"] or point["accuracy"] for point in points] + [line["accuracy"] for line in floors]
    lowest = max(0, 10 * floor((min(lows, default=0) - 3) / 10))
    wide = bool(costs) and max(costs) >= LOG_FROM * min(costs) > 0
    x = {
        "field": "cost",
        "type": "quantitative",
        "title": COSTS[cost] + (", logarithmic" if wide else ""),
        "scale": {"padding": 24} | ({"type": "log"} if wide else {"zero": False}),
        # SI prefixes for parameters; a tenth of a minute would be "100m", which reads as a hundred minutes.
        "axis": {"format": ".3~s" if cost == "parameters" else ".3~r", "tickCount": 5, "grid": False},
    }
    y = {
        "field": "accuracy",
        "type": "quantitative",
        "title": "test accuracy (%)" + (", leaky split" if chosen.leaky else ""),
        "scale": {"domain": [lowest, 100]},
    }
    hover = {"name": "hover", "select": {"type": "point", "on": "pointerover", "clear": "pointerout"}}
    # No `aria`: each mark would be a symbol without a name; the table beside the plot says the same in words.
    points_layer = {
        "data": {"values": points},
        "params": [hover],
        "mark": {"type": "point", "filled": True, "opacity": 1, "aria": False},
        "encoding": {
            "x": x,
            "y": y,
            "size": {"condition": {"param": "hover", "empty": False, "value": 240}, "value": 120},
            "color": {
                "field": "hardware",
                "type": "nominal",
                "scale": {"range": COLOURS},
                "title": "points: measured on",
            },
            "shape": {
                "field": "hardware",
                "type": "nominal",
                "scale": {"range": SHAPES},
                "title": "points: measured on",
            },
            "tooltip": [
                {"field": "name", "title": "system"},
                {"field": "accuracy", "title": "accuracy (%)", "format": ".1f"},
                {"field": "low", "title": "interval from", "format": ".1f"},
                {"field": "high", "title": "to", "format": ".1f"},
                {"field": "cost", "title": COSTS[cost], "format": ",.3~r"},
                {"field": "hardware"},
                {"field": "seeds"},
            ],
        },
    }
    intervals = {
        "data": {"values": [point for point in points if point["low"] is not None]},
        "mark": {"type": "rule", "color": LINE, "strokeWidth": 2, "aria": False},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
    }
    dashed = {
        "data": {"values": floors},
        "mark": {"type": "rule", "color": TEXT, "strokeWidth": 1.5, "clip": True, "aria": False},
        "encoding": {
            "y": y,
            "strokeDash": {
                "field": "floor",
                "type": "nominal",
                "scale": {"domain": list(BASELINE_LABELS.values()), "range": [[2, 3], [6, 3], [12, 4]]},
                "legend": {"title": "lines: baselines"},
            },
            "tooltip": [{"field": "floor"}, {"field": "accuracy", "title": "accuracy (%)", "format": ".1f"}],
        },
    }
    axis = {"labelColor": TEXT, "titleColor": TEXT, "gridOpacity": 0.4, "gridColor": LINE, "domainColor": LINE}
    legend = {"labelColor": TEXT, "titleColor": TEXT, "symbolStrokeColor": TEXT, "orient": "bottom", "columns": 1}
    legend |= {"layout": {"bottom": {"direction": "vertical", "anchor": "start"}}}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "usermeta": {"embedOptions": {"renderer": "svg", "actions": False}},
        "description": f"Test accuracy with its interval against {COSTS[cost]} on {chosen.title}.",
        "title": {"text": f"Accuracy against {cost}", "anchor": "start", "color": TEXT, "fontSize": 14},
        "width": "container",
        "height": 320,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": "transparent",
        "layer": [dashed, intervals, points_layer],
        "config": {
            "font": "system-ui, sans-serif",
            "axis": axis | {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "tickColor": LINE},
            "legend": legend
            | {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 320},
            "view": {"stroke": LINE},
        },
    }
