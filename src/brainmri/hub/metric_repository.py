"""The metric as a Space: accuracy with an interval by group, for `evaluate.load`."""

from __future__ import annotations

from importlib import metadata, resources
from pathlib import Path

import yaml

from brainmri.hub.checks import MARK, Publication
from brainmri.hub.licence_file import write_licence
from brainmri.reporting.model_card import OUR_LICENCE, card_templates

TITLE = "Accuracy with an interval by group"
NAME = "grouped_accuracy"  # `evaluate` looks for a file of the repository's name
REQUIREMENTS = "evaluate>=0.4.6\ndatasets>=5.0\npandas>=2.2\nnumpy>=2.0\nscipy>=1.14\n"


def metric_repository(repo_id: str, folder: Path) -> Publication:
    """Write the tree of the metric's Space into the new folder `folder`: the module, and what it takes from here."""
    folder.mkdir(parents=True)
    name = repo_id.rpartition("/")[2]
    for source, target in (
        (f"metrics/{NAME}.py", f"{name}.py"),
        ("metrics/bootstrap.py", "bootstrap.py"),
        (f"hub/{NAME}_app.py", "app.py"),
    ):
        text = (resources.files("brainmri") / source).read_text(encoding="utf-8")
        (folder / target).write_text(text.replace(f"{NAME}.py", f"{name}.py"), encoding="utf-8", newline="\n")
    (folder / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8", newline="\n")
    write_licence(folder)
    front = yaml.safe_dump(_front(), sort_keys=False, allow_unicode=True).strip()
    template = card_templates().get_template("metric_card.md.jinja")
    card = template.render(metadata=front, title=TITLE, repo_id=repo_id)
    (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")
    return Publication("space", repo_id, folder, "the metric")


def _front() -> dict[str, object]:
    return {
        "title": TITLE,
        "emoji": "📏",
        "colorFrom": "gray",
        "colorTo": "blue",
        "sdk": "gradio",
        "sdk_version": metadata.version("gradio"),
        "app_file": "app.py",
        "license": OUR_LICENCE,
        "tags": ["evaluate", "metric", MARK],
        "short_description": "Accuracy, its interval by group, and the baseline",
    }
