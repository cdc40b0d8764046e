"""Source A's lines beside its table: the best training epoch, validation at that epoch, and the test accuracy."""

import pandas as pd

from brainmri.evaluation.markdown import markdown_table
from brainmri.evaluation.results import percent
from brainmri.evaluation.runs import by_test_split

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
