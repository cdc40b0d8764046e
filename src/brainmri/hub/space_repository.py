"""The demo as a Space: app.py, requirements.txt and tables of the checkout, and a README that names the models."""

from __future__ import annotations

import re
import shutil
from importlib import metadata, resources
from pathlib import Path

import yaml

from brainmri.hub.checks import MARK, Publication, PublishError, metadata_of
from brainmri.hub.licence_file import write_licence
from brainmri.hub.shown_models import ShownModel
from brainmri.reporting.model_card import OUR_LICENCE, card_templates

PYTHON = "3.12"  # what ZeroGPU runs
TITLE = "Brain MRI slices: classes with honest evidence"
SHORT = "Classify brain MRI slices; research only"  # 60 characters at most
REVISIONS = "model_revisions.txt"  # beside app.py: OWNER/NAME and the commit that the demo pulls, one model a line
# Of the package: "browser" is the page that runs without a server, and the folds are for preparing data.
LEFT_OUT = ("__pycache__", "browser", "browser.sha256", "patient_folds.csv.gz")
OWN_PACKAGE = re.compile(r"^\s*(?:from|import) brainmri\b", re.MULTILINE)


def check_app(checkout: Path, models: list[str]) -> None:
    """Raises PublishError if app.py or requirements.txt is missing, or no model is named."""
    for name in ("app.py", "requirements.txt"):
        if not (checkout / name).is_file():
            raise PublishError(f"{checkout} has no {name}, so there is no demo to publish: --app_dir names its folder")
    if not models:
        raise PublishError("the Space needs the models that it shows: name them with --models OWNER/NAME ...")


def space_repository(
    checkout: Path, repo_id: str, folder: Path, *, models: list[str], datasets: list[str]
) -> Publication:
    """Write the tree of the Space into the new folder `folder`.

    Args:
        checkout: the folder with app.py, requirements.txt and perhaps results/*.csv.
        models, datasets: identifiers on the Hub (of models OWNER/NAME[@REVISION]), which the demo pulls.

    Raises:
        PublishError: if app.py or requirements.txt is missing, or no model is named.
    """
    check_app(checkout, models)
    folder.mkdir(parents=True)
    for name in ("app.py", "requirements.txt"):
        shutil.copyfile(checkout / name, folder / name)
    if (checkout / "CITATION.cff").is_file():
        shutil.copyfile(checkout / "CITATION.cff", folder / "CITATION.cff")
    for table in sorted((checkout / "results").rglob("*.csv")):  # what the demo's page Compare shows
        (folder / table.relative_to(checkout)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(table, folder / table.relative_to(checkout))
    if OWN_PACKAGE.search((checkout / "app.py").read_text(encoding="utf-8")):
        with resources.as_file(resources.files("brainmri")) as package:
            shutil.copytree(package, folder / "brainmri", ignore=shutil.ignore_patterns(*LEFT_OUT))
    asked = [place.partition("@") for place in models]
    _write_card(folder, [ShownModel(name, revision or None) for name, _, revision in asked], datasets)
    write_licence(folder)
    own = ("brainmri", "results")
    return Publication("space", repo_id, folder, "the demo", own_folders=own, models=tuple(models))


def pin_models(space: Publication, models: list[ShownModel]) -> None:
    """Write the models as they are on the Hub into the tree of a Space: their commits, and what is loaded at once."""
    _write_card(space.folder, models, metadata_of(space.folder / "README.md")["datasets"])


def _write_card(folder: Path, models: list[ShownModel], datasets: list[str]) -> None:
    front = yaml.safe_dump(_front(models, datasets), sort_keys=False, allow_unicode=True).strip()
    template = card_templates().get_template("space_card.md.jinja")
    card = template.render(metadata=front, title=TITLE, models=models)
    (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")
    pinned = [f"{model.repo_id} {model.revision}\n" for model in models if model.revision]
    (folder / REVISIONS).write_text("".join(pinned), encoding="utf-8", newline="\n")


def _front(models: list[ShownModel], datasets: list[str]) -> dict[str, object]:
    front: dict[str, object] = {
        "title": TITLE,
        "emoji": "🧠",
        "colorFrom": "gray",
        "colorTo": "blue",
        "sdk": "gradio",
        "sdk_version": metadata.version("gradio"),
        "python_version": PYTHON,
        "app_file": "app.py",
        "license": OUR_LICENCE,
        "short_description": SHORT,
        "suggested_hardware": "cpu-basic",
        "tags": [MARK, "mri", "brain-tumor", "medical-imaging"],
        "models": [model.repo_id for model in models],
        "datasets": datasets,
    }
    preloaded = [f"{model.repo_id} {','.join(model.files)} {model.revision}" for model in models if model.files]
    return front | ({"preload_from_hub": preloaded} if preloaded else {})
