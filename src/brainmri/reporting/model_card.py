"""The model card (`README.md`) of a run: metadata for the Hub, the figures of `result.json`, licences, citations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.data.provenance import ORIGINS
from brainmri.reporting.card_metadata import EXAMPLES, base_model, card_metadata, package_of
from brainmri.reporting.html import shown
from brainmri.schemas import DataSummary, RunResult, read_result
from brainmri.wording import (
    PATIENT_UNIT,
    POOLING,
    bounds,
    change,
    duration,
    epochs,
    interval,
    number,
    percent,
)

if TYPE_CHECKING:
    import jinja2

FIGURES = {
    "figures/confusion_matrix.png": "Confusion matrix of the test split",
    "figures/reliability.png": "Reliability of the confidence on the test split",
    "figures/curves.png": "Loss and accuracy over the epochs",
}


def write_card(
    run_dir: Path,
    *,
    repo_id: str = "FOLDER_OR_REPO",
    licence: str | None = None,
    data_id: str | None = None,
    seeds: Sequence[RunResult] = (),
) -> Path:
    """Write `README.md` into a run folder, from its `result.json` and `config.json` (how the model is loaded).

    Snippets and figures are shown for what the folder holds.

    Args:
        run_dir: a finished run folder.
        repo_id: what stands in the snippets as the place of the model.
        licence: of the weights, an identifier of the Hub; without, that of `known_licence`, or none.
        data_id: where the data set lies on the Hub, if it does.
        seeds: of other runs that differ from this one in the seed only.

    Raises:
        FileNotFoundError: `result.json` or `config.json` is missing.
        ValueError: `result.json` is of another version or lacks keys.
    """
    run_dir = Path(run_dir)
    files = {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*")}
    path = run_dir / "README.md"
    text = render_card(
        read_result(run_dir),
        _config(run_dir),
        repo_id=repo_id,
        licence=licence,
        data_id=data_id,
        files=files,
        seeds=seeds,
    )
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def render_card(
    result: RunResult,
    config: dict[str, Any],
    *,
    repo_id: str,
    licence: str | None = None,
    data_id: str | None = None,
    files: set[str],
    seeds: Sequence[RunResult] = (),
) -> str:
    """The text of the card. `config` is the model's `config.json`; it tells the library and whether code is needed.

    files: what will lie beside the card (POSIX paths). seeds: of other runs that differ in the seed only.
    """
    from huggingface_hub import ModelCard

    licence = licence or known_licence(result.weights)
    text = (
        card_templates()
        .get_template("card.md.jinja")
        .render(
            metadata=card_metadata(result, config, licence, data_id, files),
            own_code="auto_map" in config,
            timm=config.get("model_type") == "timm_wrapper",
            repo_id=repo_id,
            data_id=data_id,
            licence=licence,
            files=files,
            figures=[(path, title) for path, title in FIGURES.items() if path in files],
            citations=citations(result.data),
            data_licence=data_licence(result.data),
            simulated=result.data.simulated,
            seeds=[one for one in sorted([result, *seeds], key=lambda one: one.seed) if one.test],
            base_model=base_model(result.weights),
            example_notice=ICBM_NOTICE if any(name.startswith(EXAMPLES) for name in files) else None,
            **shown(result),
        )
    )
    ModelCard(text)  # raises ValueError here, and not on the Hub, if the metadata cannot be read back
    return text


def card_templates() -> jinja2.Environment:
    """The templates of this folder, which fail on a name that they are not given."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("brainmri", "reporting/templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(percent=percent, duration=duration, number=number, interval=interval, epochs=epochs)
    environment.filters["bounds"] = bounds
    environment.filters["cell"] = _cell
    environment.globals.update(change=change, pooling_rule=POOLING.__getitem__, patient_unit=PATIENT_UNIT.__getitem__)
    return environment


def _config(run_dir: Path) -> dict[str, Any]:
    return dict(json.loads((run_dir / "config.json").read_text(encoding="utf-8")))


def _cell(text: Any) -> str:
    """Text that stays inside its table cell: label and data names are the user's own."""
    return str(text).replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")


OUR_LICENCE = "apache-2.0"

ICBM_LICENCE = {
    "license": "other",
    "license_name": "icbm-152",
    "license_link": "https://nist.mni.mcgill.ca/icbm-152-nonlinear-atlases-2009/",
}

# The notice that the template's makers ask to be kept; the package it comes in states no licence of it ("unknown").
ICBM_NOTICE = (
    "The head in every image derives from the MNI152 template (ICBM 152 nonlinear symmetric 2009a), which its makers "
    "give to be used, copied, modified and distributed for any purpose and without fee, if their notice is kept: "
    "Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill "
    "University; provided “as is”, without express or implied warranty. What was simulated around it is under "
    f"{OUR_LICENCE}."
)

TEMPLATE = (
    "Fonov V, Evans AC, Botteron K, Almli CR, McKinstry RC, Collins DL, BDCG. Unbiased average age-appropriate atlases "
    "for pediatric studies. NeuroImage 54(1), 2011, doi:10.1016/j.neuroimage.2010.07.033 (the template of the head)",
    "Fonov VS, Evans AC, McKinstry RC, Almli CR, Collins DL. Unbiased nonlinear average age-appropriate brain "
    "templates from birth to adulthood. NeuroImage 47(1), S102, 2009, doi:10.1016/S1053-8119(09)70884-5",
)


def known_licence(weights: str) -> str | None:
    """The licence of a network trained from `weights` (as in `result.json`), where those set none but ours.

    Random weights are our own, those of a package are known by their content; of any other the user knows.
    """
    if weights == "random":
        return OUR_LICENCE
    package = package_of(weights)
    return package.licence if package else None


def citations(data: DataSummary) -> tuple[str, ...]:
    """What to cite for a data set, by what is on record of it (`simulated`, `origin`); empty where nothing is."""
    if data.simulated:
        return TEMPLATE
    return ORIGINS[data.origin].citations if data.origin in ORIGINS else ()


def data_licence(data: DataSummary) -> str | None:
    """The licence of the images of the recorded origin, where it is known."""
    return ORIGINS[data.origin].licence if data.origin in ORIGINS else None
