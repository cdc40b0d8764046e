"""The model card (`README.md`) of a run: metadata that the Hub understands, and the figures of `result.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.reporting.citations import citations, data_licence, known_licence
from brainmri.reporting.html import shown
from brainmri.schemas import RunResult, read_result
from brainmri.wording import change, data_title, duration, epochs, interval, number, percent

if TYPE_CHECKING:
    import jinja2

# The key in result.json, the metric's id on the Hub, and its arguments there.
METRICS: list[tuple[str, str, dict[str, str] | None]] = [
    ("accuracy", "accuracy", None),
    ("balanced_accuracy", "balanced_accuracy", None),
    ("macro_f1", "f1", {"average": "macro"}),
    ("auroc", "roc_auc", {"average": "macro", "multi_class": "ovr"}),
    ("ece", "ece", None),
]
FIGURES = {
    "figures/confusion_matrix.png": "Confusion matrix of the test split",
    "figures/reliability.png": "Reliability of the confidence on the test split",
    "figures/curves.png": "Loss and accuracy over the epochs",
}


def write_card(
    run_dir: Path, *, repo_id: str = "FOLDER_OR_REPO", licence: str | None = None, data_id: str | None = None
) -> Path:
    """Write `README.md` into a run folder, from its `result.json` and `config.json` (how the model is loaded).

    Snippets and figures are shown for what the folder holds.

    Args:
        run_dir: a finished run folder.
        repo_id: what stands in the snippets as the place of the model.
        licence: of the weights, an identifier of the Hub; without, that of `known_licence`, or none.
        data_id: where the data set lies on the Hub, if it does.

    Raises:
        FileNotFoundError: `result.json` or `config.json` is missing.
        ValueError: `result.json` is of another version or lacks keys.
    """
    run_dir = Path(run_dir)
    files = {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*")}
    path = run_dir / "README.md"
    text = render_card(
        read_result(run_dir), _config(run_dir), repo_id=repo_id, licence=licence, data_id=data_id, files=files
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
) -> str:
    """The text of the card. `config` is the model's `config.json`; it tells the library and whether code is needed.

    files: what will lie beside the card (POSIX paths).
    """
    from huggingface_hub import ModelCard

    licence = licence or known_licence(result.weights)
    text = (
        card_templates()
        .get_template("card.md.jinja")
        .render(
            metadata=_metadata(result, config, licence, data_id).to_yaml(),
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
    environment.filters["cell"] = _cell
    environment.globals["change"] = change
    return environment


def _config(run_dir: Path) -> dict[str, Any]:
    return dict(json.loads((run_dir / "config.json").read_text(encoding="utf-8")))


def _metadata(result: RunResult, config: dict[str, Any], licence: str | None, data_id: str | None) -> Any:
    """`ModelCardData` of the run. Its data set's revision is the fingerprint, which is a tag of a published one."""
    from huggingface_hub import EvalResult, ModelCardData

    data = result.data
    figures = result.test.as_json() if result.test else {}
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Image classification",
            dataset_type=data_id or data.name,
            dataset_name=data_title(data),
            dataset_config=data.split,
            dataset_split="test",
            dataset_revision=data.fingerprint,
            dataset_args={"fingerprint": data.fingerprint, "split_seed": result.split_seed},
            metric_type=metric,
            metric_name=key,
            metric_value=round(figures[key], 6),
            metric_args=arguments,
        )
        for key, metric, arguments in METRICS
        if figures.get(key) is not None
    ]
    return ModelCardData(
        model_name=f"{result.arch}-{result.protocol}",
        license=licence,
        library_name="timm" if config.get("model_type") == "timm_wrapper" else "transformers",
        pipeline_tag="image-classification",
        tags=["brainmri", "image-classification", "mri", "brain-tumor", "medical-imaging", result.arch],
        datasets=[data_id] if data_id else None,
        metrics=[metric for key, metric, _ in METRICS if figures.get(key) is not None] or None,
        eval_results=results or None,
    )


def _cell(text: Any) -> str:
    """Text that stays inside its table cell: label and data names are the user's own."""
    return str(text).replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")
