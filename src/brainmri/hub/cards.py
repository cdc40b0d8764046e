"""The model card (`README.md`) of a run: metadata that the Hub understands, and the figures of `result.json`."""

import json
from pathlib import Path
from typing import Any

from brainmri.evaluation.results import (
    DASH,
    data_title,
    duration,
    floors_of,
    interval,
    leak_statement,
    limits,
    number,
    percent,
    published_figure,
    read_result,
    warnings_of,
    with_interval,
)

# The key in result.json, the metric's id on the Hub, and its arguments there.
METRICS: list[tuple[str, str, dict[str, str] | None]] = [
    ("accuracy", "accuracy", None),
    ("balanced_accuracy", "balanced_accuracy", None),
    ("macro_f1", "f1", {"average": "macro"}),
    ("auroc", "roc_auc", {"average": "macro", "multi_class": "ovr"}),
    ("ece", "ece", None),
]


def write_card(run_dir: Path, *, repo_id: str = "FOLDER_OR_REPO") -> Path:
    """Write `README.md` into a run folder, from its `result.json` and `config.json` (how the model is loaded).

    Args:
        run_dir: a finished run folder.
        repo_id: what stands in the snippet as the place of the model.

    Raises:
        FileNotFoundError: `result.json` or `config.json` is missing.
        ValueError: `result.json` is of another version or lacks keys.
    """
    run_dir = Path(run_dir)
    result = read_result(run_dir)
    config = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
    path = run_dir / "README.md"
    path.write_text(render_card(result, config, repo_id=repo_id), encoding="utf-8", newline="\n")
    return path


def render_card(result: dict[str, Any], config: dict[str, Any], *, repo_id: str) -> str:
    """The text of the card. `config` is the model's `config.json`; it tells the library and whether code is needed."""
    import jinja2
    from huggingface_hub import ModelCard

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("brainmri", "hub"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(percent=percent, duration=duration, number=number, interval=interval, cell=_cell)
    text = environment.get_template("card.md.jinja").render(
        metadata=_metadata(result, config).to_yaml(),
        result=result,
        title=result["recipe_title"] or result["arch"],
        own_code="auto_map" in config,
        repo_id=repo_id,
        accuracy=with_interval(result["test"]) if result["test"] else DASH,
        published=published_figure(result["published"]),
        floors=floors_of(result),
        warnings=warnings_of(result),
        leak_statement=leak_statement(result),
        limits=limits(result),
        dash=DASH,
    )
    ModelCard(text)  # raises ValueError here, and not on the Hub, if the metadata cannot be read back
    return text


def _metadata(result: dict[str, Any], config: dict[str, Any]) -> Any:
    """`ModelCardData` of the run. It names no licence: the licence of the training images is not ours to state."""
    from huggingface_hub import EvalResult, ModelCardData

    data = result["data"]
    figures = result["test"] or {}
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Image classification",
            dataset_type=data["name"],
            dataset_name=data_title(data),
            dataset_config=data["split"],
            dataset_split="test",
            dataset_args={"fingerprint": data["fingerprint"], "split_seed": result["split_seed"]},
            metric_type=metric,
            metric_name=key,
            metric_value=round(figures[key], 6),
            metric_args=arguments,
        )
        for key, metric, arguments in METRICS
        if figures.get(key) is not None
    ]
    return ModelCardData(
        model_name=f"{result['arch']}-{result['protocol']}",
        library_name="timm" if config.get("model_type") == "timm_wrapper" else "transformers",
        pipeline_tag="image-classification",
        tags=["brainmri", "image-classification", "mri", "brain-tumor", "medical-imaging", result["arch"]],
        metrics=[metric for key, metric, _ in METRICS if figures.get(key) is not None] or None,
        eval_results=results or None,
    )


def _cell(text: Any) -> str:
    """Text that stays inside its table cell: label and data names are the user's own."""
    return str(text).replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")
