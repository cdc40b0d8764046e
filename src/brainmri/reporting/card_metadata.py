"""The front matter of a model card: lineage, tags, examples, and the results as the Hub reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from brainmri.schemas import DataSummary, RunResult
from brainmri.wording import data_title

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from brainmri.models.packaged_weights import Package

TAGS = ["brainmri", "image-classification", "mri", "brain-tumor", "medical-imaging"]
LOCAL = "imagefolder"  # by which `datasets` opens a folder that lies nowhere on the Hub
EXAMPLES = "examples/"  # simulated slices beside the card
# The key in result.json, its name for readers, the metric's id on the Hub (huggingface.co/metrics) and its arguments
# there. The balanced accuracy is the mean recall; the Hub has no metric for the calibration error.
METRICS: list[tuple[str, str, str, dict[str, str] | None]] = [
    ("accuracy", "Accuracy", "accuracy", None),
    ("balanced_accuracy", "Balanced accuracy", "recall", {"average": "macro"}),
    ("macro_f1", "Macro F1", "f1", {"average": "macro"}),
    ("auroc", "AUROC, one class against the rest", "roc_auc", {"average": "macro", "multi_class": "ovr"}),
]
# How `result.json` tells the content of weights, by which their licence is known: a name can be anybody's.
DIGEST = re.compile(r", sha256 ([0-9a-f]{16})$")
# Weights from the Hub: repository and commit, of 40 digits, or 64 on servers with SHA-256.
FROM_HUB = re.compile(r"([\w.-]+/[\w.-]+)@(?:[0-9a-f]{40}|[0-9a-f]{64}), sha256 [0-9a-f]{16}")


def card_metadata(
    result: RunResult, config: dict[str, Any], licence: str | None, data_id: str | None, files: Iterable[str]
) -> str:
    """The front matter of a run's card, as YAML. `config` is its `config.json`; files: what lies beside the card."""
    from huggingface_hub import ModelCardData

    timm = config.get("model_type") == "timm_wrapper"
    results = eval_results(result, data_id)
    base = base_model(result.weights)
    return ModelCardData(
        model_name=f"{result.recipe_title or result.arch} ({result.protocol})",
        license=licence,
        library_name="timm" if timm else "transformers",
        pipeline_tag="image-classification",
        tags=[*tags(result.arch, timm=timm), *["simulated"] * result.data.simulated],
        base_model=base,
        base_model_relation="finetune" if base else None,
        datasets=[data_id] if data_id else None,
        metrics=list(dict.fromkeys(one.metric_type for one in results)) or None,
        eval_results=results or None,
        widget=_widget(files) or None,
    ).to_yaml()


def tags(arch: str, *, timm: bool) -> list[str]:
    """What a model is found by. A network of timm loads in transformers too, and `library_name` is one library."""
    return [*TAGS, *["transformers"] * timm, arch]


def base_model(weights: str) -> str | None:
    """The repository on the Hub of the weights that a run started from (as in `result.json`).

    None for random ones, and for a file or folder, of which nobody knows where it came from. Weights of a package are
    known by their content; the Hub's repository of the same network stands for them.
    """
    if found := FROM_HUB.fullmatch(weights):
        return found[1]
    package = package_of(weights)
    return package.hub_id if package else None


def package_of(weights: str) -> Package | None:
    """The package on the index that weights (as in `result.json`) came in, by their content."""
    from brainmri.models.packaged_weights import PACKAGED_WEIGHTS

    digest = DIGEST.search(weights)
    packages = {package.sha256[:16]: package for package in PACKAGED_WEIGHTS.values()}
    return packages.get(digest[1]) if digest else None


def eval_results(result: RunResult, data_id: str | None) -> list[EvalResult]:
    """The figures of the test split for the model-index; none without a test split.

    Results that share task, data set, config, split and revision become one entry, which keeps the name and the
    arguments of the first. So each way of splitting has a revision of its own (the fingerprint, a tag of the
    repository of published data), or a config of its own for data that lie nowhere on the Hub.
    """
    from huggingface_hub import EvalResult

    if result.test is None:
        return []
    data, figures = result.data, result.test.as_json()
    return [
        EvalResult(
            task_type="image-classification",
            task_name="Image classification",
            dataset_type=data_id or LOCAL,
            dataset_name=data_title(data),
            dataset_config="default" if data_id else f"default-{data.fingerprint}",
            dataset_split="test",
            dataset_revision=data.fingerprint if data_id else None,
            dataset_args={"fingerprint": data.fingerprint, "split": data.split, "split_seed": result.split_seed},
            metric_type=metric,
            metric_name=name,
            metric_value=round(figures[key], 6),
            metric_args=arguments,
        )
        for key, name, metric, arguments in METRICS
        if figures.get(key) is not None
    ]


def pretty_name(data: DataSummary) -> str:
    """The name of a data set for readers of the Hub."""
    return f"Brain MRI slices: {data_title(data)}"


def _widget(files: Iterable[str]) -> list[dict[str, str]]:
    """The simulated slices that lie beside the card, as examples of the model's page."""
    examples = sorted(name for name in files if name.startswith(EXAMPLES) and name.endswith(".png"))
    titles = [name.removeprefix(EXAMPLES).removesuffix(".png").replace("-", " ").capitalize() for name in examples]
    return [{"src": name, "example_title": title} for name, title in zip(examples, titles, strict=True)]
