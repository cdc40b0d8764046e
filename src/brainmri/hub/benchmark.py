"""What lets others' models be ranked: `eval.yaml` of a published data set, `.eval_results/*.yaml` of a model.

Both formats are the Hub's (huggingface.co/docs/hub/eval-results). It takes `eval.yaml` only for a harness on its own
list, so this names the one that asks models for an answer in words (Inspect AI). Classifiers are ranked by the
accuracy that stands in their `.eval_results`, which is that of the same images.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import yaml

from brainmri.reporting.card_metadata import pretty_name
from brainmri.schemas import DatasetInfo, DataSummary, RunResult, Unit
from brainmri.wording import interval

EVAL_YAML, EVAL_RESULTS = "eval.yaml", ".eval_results"
DESCRIPTION = {
    "leaky": "Accuracy on the test images. The split is leaky: images of one group stand in training and test, so that "
    "the accuracy is inflated and cannot rank models.",
    "patient-wise": "Accuracy on the test images. No patient stands in both training and test.",
    "leak-free": "Accuracy on the test images. No image stands in both training and test in any form, and no "
    "neighbouring slices as far as images tell.",
}
QUESTION = (
    "This is one slice of an MRI of a head. Which of these does it show?\n\n{choices}\n\nThe last line of the answer "
    "is of the form ANSWER: LETTER, with one of these letters."
)


def task_id(data: DataSummary, unit: Unit) -> str:
    """The leaderboard that a split belongs to. unit: what a group of the data is."""
    way = _way(data, unit)
    return re.sub(r"[^a-z0-9]+", "-", f"leaky-{data.split}".lower()).strip("-") if way == "leaky" else way


def _way(data: DataSummary, unit: Unit) -> str:
    if data.leaky:
        return "leaky"
    return "patient-wise" if unit == "patient" else "leak-free"


def write_benchmark(folder: Path, info: DatasetInfo, unit: Unit) -> None:
    """Write `eval.yaml` into the tree of a data set, unless it has more classes than there are letters."""
    if len(info.classes) > len(ascii_uppercase):
        return
    letters = zip(ascii_uppercase, info.classes, strict=False)
    choices = "\n".join(f"{letter}) {name}" for letter, name in letters)
    task = {
        "id": task_id(info, unit),
        "config": "default",
        "split": "test",
        # The text of the question is the template; Inspect AI takes the number of a label for a letter.
        "field_spec": {"input": "duplicate_id", "input_image": "image", "target": "label"},
        "solvers": [
            {"name": "prompt_template", "args": {"template": QUESTION.format(choices=_braced(choices))}},
            {"name": "generate"},
        ],
        "scorers": [{"name": "answer", "args": {"pattern": "letter"}}],
    }
    content = {
        "name": pretty_name(info),
        "description": DESCRIPTION[_way(info, unit)],
        "evaluation_framework": "inspect-ai",
        "tasks": [task],
    }
    _write(folder / EVAL_YAML, content)


def write_eval_results(folder: Path, result: RunResult, data_id: str) -> None:
    """Write `.eval_results/NAME.yaml` into the tree of a model that was scored on the test split of published data.

    A run that was not scored by patient (of an earlier version) does not know the leaderboard, and writes nothing.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    if result.test is None or result.patients is None:
        return
    test = result.test
    entry = EvalResultEntry(
        dataset_id=data_id,
        task_id=task_id(result.data, result.patients.unit),
        value=round(test.accuracy, 6),
        date=result.created,
        notes=f"accuracy, 0 to 1; 95 % interval by group {interval(test.accuracy_ci95) or 'not known'} %, "
        f"{test.n} images of {test.groups} groups, seed {result.seed}",
    )
    (folder / EVAL_RESULTS).mkdir()
    _write(folder / EVAL_RESULTS / f"{data_id.rpartition('/')[2]}.yaml", eval_result_entries_to_yaml([entry]))


def _braced(text: str) -> str:
    """Text that stays as it is where a template puts values in the place of {names}."""
    return text.replace("{", "{{").replace("}", "}}")


def _write(path: Path, content: Any) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8", newline="\n")
