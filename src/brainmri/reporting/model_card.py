"""The model card (`README.md`) of a run: metadata that the Hub understands, and the figures of `result.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.reporting.citations import citations, data_licence, known_licence
from brainmri.schemas import read_result
from brainmri.wording import data_title, duration, interval, number, percent, shown

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
    result: dict[str, Any],
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

    licence = licence or known_licence(result["weights"])
    estimate = carbon(result)
    text = (
        card_templates()
        .get_template("card.md.jinja")
        .render(
            metadata=_metadata(result, config, licence, data_id, estimate).to_yaml(),
            own_code="auto_map" in config,
            timm=config.get("model_type") == "timm_wrapper",
            repo_id=repo_id,
            data_id=data_id,
            licence=licence,
            files=files,
            figures=[(path, title) for path, title in FIGURES.items() if path in files],
            carbon=estimate,
            citations=citations(result["data"]),
            data_licence=data_licence(result["data"]),
            simulated=result["data"]["simulated"],
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
    environment.filters.update(percent=percent, duration=duration, number=number, interval=interval, cell=_cell)
    return environment


def _config(run_dir: Path) -> dict[str, Any]:
    return dict(json.loads((run_dir / "config.json").read_text(encoding="utf-8")))


def _metadata(
    result: dict[str, Any], config: dict[str, Any], licence: str | None, data_id: str | None, estimate: Carbon | None
) -> Any:
    """`ModelCardData` of the run. Its data set's revision is the fingerprint, which is a tag of a published one."""
    from huggingface_hub import EvalResult, ModelCardData

    data = result["data"]
    figures = result["test"] or {}
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Image classification",
            dataset_type=data_id or data["name"],
            dataset_name=data_title(data),
            dataset_config=data["split"],
            dataset_split="test",
            dataset_revision=data["fingerprint"],
            dataset_args={"fingerprint": data["fingerprint"], "split_seed": result["split_seed"]},
            metric_type=metric,
            metric_name=key,
            metric_value=round(figures[key], 6),
            metric_args=arguments,
        )
        for key, metric, arguments in METRICS
        if figures.get(key) is not None
    ]
    emissions: dict[str, Any] = {"co2_eq_emissions": estimate.metadata(result)} if estimate else {}
    return ModelCardData(
        model_name=f"{result['arch']}-{result['protocol']}",
        license=licence,
        library_name="timm" if config.get("model_type") == "timm_wrapper" else "transformers",
        pipeline_tag="image-classification",
        tags=["brainmri", "image-classification", "mri", "brain-tumor", "medical-imaging", result["arch"]],
        datasets=[data_id] if data_id else None,
        metrics=[metric for key, metric, _ in METRICS if figures.get(key) is not None] or None,
        eval_results=results or None,
        **emissions,
    )


def _cell(text: Any) -> str:
    """Text that stays inside its table cell: label and data names are the user's own."""
    return str(text).replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")


# Assumptions, not measurements; each stands in every text that shows the estimate.
WATTS_OF_A_CORE = 10  # a server processor of 64 cores takes about 280 W, and its machine as much again
WATTS_OF_A_GPU = 500  # a data-centre GPU at work, with its share of the machine
GRAMS_PER_KWH = 475  # CO2 equivalents of the world's electricity on average (IEA, 2018)


@dataclass(frozen=True)
class Carbon:
    """watt_hours and grams (of CO2 equivalents) of one training; `assumptions` in words."""

    watt_hours: float
    grams: float
    assumptions: str

    def metadata(self, result: dict[str, Any]) -> dict[str, Any]:
        """The key `co2_eq_emissions` of a model card."""
        return {
            "emissions": float(f"{self.grams:.2g}"),
            "source": f"estimated, not measured: {self.assumptions}",
            "training_type": "pre-training" if result["weights"] == "random" else "fine-tuning",
            "hardware_used": str(result["environment"].get("hardware")),
        }


def carbon(result: dict[str, Any]) -> Carbon | None:
    """The estimate for a run; None where its time or its processors are not known."""
    seconds, environment = result["training"]["time_to_converge_s"], result["environment"]
    hardware, world = str(environment.get("hardware") or ""), int(result["training"].get("world_size") or 1)
    on_cpu = hardware.endswith("cores")
    threads = environment.get("threads")
    if seconds is None or not hardware or (on_cpu and not threads):
        return None
    watts = WATTS_OF_A_CORE * int(threads) * world if on_cpu else WATTS_OF_A_GPU * world
    each = f"{WATTS_OF_A_CORE} W for each processor core in use" if on_cpu else f"{WATTS_OF_A_GPU} W for each GPU"
    hours = seconds / 3600
    return Carbon(watts * hours, watts * hours / 1000 * GRAMS_PER_KWH, f"{each}, {GRAMS_PER_KWH} g CO2eq per kWh")
