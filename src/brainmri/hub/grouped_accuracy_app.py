"""The metric's page on the Hub: a table of predictions in, accuracy and interval out."""

from __future__ import annotations

from pathlib import Path

import evaluate
import gradio as gr
import pandas as pd

COLUMNS = (
    "CSV with the columns label, predicted and, if images belong together, group_id; of a column split, test counts"
)


def scores(file: str) -> dict[str, float | int | None]:
    """The metric's values for a CSV, such as a run's `predictions.csv`.

    Raises:
        gr.Error: if a column is missing, or there is no row.
    """
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if missing := {"label", "predicted"} - set(table.columns):
        raise gr.Error(f"columns missing: {', '.join(sorted(missing))}")
    if "split" in table:
        table = table[table["split"] == "test"]
    if table.empty:
        raise gr.Error("no row to score")
    number = {name: k for k, name in enumerate(sorted({*table["label"], *table["predicted"]}))}
    groups = {"groups": table["group_id"].tolist()} if "group_id" in table else {}
    metric = evaluate.load(str(Path(__file__).with_name("grouped_accuracy.py")))
    values = metric.compute(
        predictions=table["predicted"].map(number).tolist(), references=table["label"].map(number).tolist(), **groups
    )
    return dict(values or {})


if __name__ == "__main__":
    gr.Interface(
        scores, gr.File(label=COLUMNS, type="filepath"), gr.JSON(), title="Accuracy with an interval by group"
    ).launch()
