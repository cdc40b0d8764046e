"""A finished run as a model repository: network, ONNX file, trust, evidence and card."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import yaml

from brainmri.data.folder import NUMBERED
from brainmri.hub.checks import Publication, PublishError, check_licence
from brainmri.hub.leak_scan import without_paths
from brainmri.models.load import check_timm, load_classifier, name_labels
from brainmri.models.onnx import export_classifier
from brainmri.models.sessions import ONNX_FILE
from brainmri.reporting.model_card import known_licence, write_card
from brainmri.reporting.run_report import write_report
from brainmri.schemas import EARLIER_UNCERTAINTY, json_text, read_result, uncertainty_file

# All that is published of a run folder; JSON and YAML without this machine's paths. The rest stays here.
NEEDED = ("config.json", "preprocessor_config.json", "model.safetensors", "recipe.yaml", "uncertainty.json")
COPIED = (
    *("config.json", "preprocessor_config.json", "*.safetensors", "*.py"),
    *("recipe.yaml", "result.json", "uncertainty.json", "predictions.csv", "history.csv"),
    *(f"figures/{name}.png" for name in ("class_counts", "confusion_matrix", "curves", "reliability")),
    *("robustness/*.json", "robustness/*.csv", "robustness/figures/robustness.png"),
    *("explain/maps/maps.json", "explain/maps/randomisation.png"),
)
# Figures that show images of the data, whose licence need not allow that.
OF_SIMULATED_IMAGES = (
    *(f"figures/{name}.png" for name in ("samples", "augmentation", "confident_errors")),
    *("robustness/figures/corruptions.png", "explain/maps/montage.png"),
)


def default_name(run_dir: Path) -> str:
    """The name of a run's repository: recipe, protocol where it is not the clean one, and fold."""
    result = read_result(run_dir)
    parts = ["brainmri", result.arch, *({result.protocol} - {"clean"})]
    parts += [] if result.fold is None else [f"fold{result.fold}"]
    return re.sub(r"[^\w.]+", "-", "-".join(parts)).strip("-.")


def model_repository(
    run_dir: Path, repo_id: str, folder: Path, *, licence: str | None = None, data_id: str | None = None
) -> Publication:
    """Write the tree of a run's repository into the new folder `folder`.

    Args:
        run_dir: a finished run folder.
        licence: of the weights; without, that of the weights that the run started from, where it is known.
        data_id: where the data set of the run lies on the Hub, if it does.

    Raises:
        FileNotFoundError, ValueError: if the run is not finished, lacks something or was made by another version.
        PublishError: if the licence of its weights is not known.
    """
    result = read_result(run_dir)
    if uncertainty_file(run_dir).name == EARLIER_UNCERTAINTY:
        raise PublishError(
            f"{run_dir} was made by an earlier version, whose record a stranger's program would not find: "
            f"python -m brainmri.cli.fit_ood {run_dir} DATA writes it anew"
        )
    if missing := [name for name in NEEDED if not (run_dir / name).is_file()]:
        hint = " (of a cross-validation, publish the folds: fold0, fold1, ...)" if (run_dir / "fold0").is_dir() else ""
        raise PublishError(f"{run_dir} lacks {', '.join(missing)}, so there is no model to publish{hint}")
    licence = check_licence(licence or known_licence(result.weights), f"the network that started from {result.weights}")
    simulated = result.data.simulated
    folder.mkdir(parents=True)
    for pattern in COPIED + OF_SIMULATED_IMAGES * simulated:
        for file in sorted(run_dir.glob(pattern)):
            target = folder / file.relative_to(run_dir)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    name_labels(folder)  # of a run of an earlier version
    _without_paths(folder)
    _without_names(folder / "predictions.csv")
    model, size = load_classifier(str(folder)), _side(folder)
    if model.config.model_type == "timm_wrapper":
        check_timm(folder, model, size)
    layer = result.ood.layer if result.ood else None
    export_classifier(model, (size, size), folder / ONNX_FILE, layer=layer)
    write_report(folder)
    write_card(folder, repo_id=repo_id, licence=licence, data_id=data_id)
    return Publication("model", repo_id, folder, result.title, own_folders=("explain", "figures", "onnx", "robustness"))


def _without_paths(folder: Path) -> None:
    for file in folder.glob("**/*.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        if (clean := without_paths(content)) != content:
            file.write_text(json_text(clean), encoding="utf-8", newline="\n")
    file = folder / "recipe.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    if (clean := without_paths(content)) != content:
        file.write_text(yaml.safe_dump(clean, sort_keys=False, allow_unicode=True), encoding="utf-8", newline="\n")


def _without_names(file: Path) -> None:
    """Numbers for images that are named after their source, as those of runs of earlier versions are."""
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if not table["file_name"].str.fullmatch(NUMBERED).all():
        numbers = [f"{place:05d}.png" for place in range(1, len(table) + 1)]
        table["file_name"] = table["split"] + "/" + table["label"] + "/" + numbers
        table.to_csv(file, index=False, lineterminator="\n")


def _side(folder: Path) -> int:
    """Height of the model's input in pixels."""
    size = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))["size"]
    return int(size["height"])
