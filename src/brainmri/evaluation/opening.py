"""A finished classifier and what its training left beside it: of a run folder, a saved model or the Hub."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.durable import sha256
from brainmri.evaluation.reject.rule import ARRAYS, RejectRule
from brainmri.evaluation.results import read_result
from brainmri.faults import reading
from brainmri.models.loading import class_names, load_classifier, load_processor
from brainmri.models.places import on_hub

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

RECORD = ("trust.json", "result.json")  # other projects may have a result.json too, but hardly both
Record = tuple[dict[str, Any] | None, dict[str, Any] | None, RejectRule | None]  # result.json, trust.json, its rule
NO_RECORD: Record = (None, None, None)


@dataclass(frozen=True)
class OpenedModel:
    """name: for every figure and text. model: in evaluation mode, on the CPU. classes: the names of its outputs.

    folder: where it lies, None for the Hub; there it is `repository` at `revision` (None: the newest). result, trust,
    rule: `result.json`, `trust.json` and the reject rule of a run of this project, else None.
    """

    name: str
    model: PreTrainedModel
    processor: BaseImageProcessor
    classes: list[str]
    folder: Path | None = None
    repository: str | None = None
    revision: str | None = None
    result: dict[str, Any] | None = None
    trust: dict[str, Any] | None = None
    rule: RejectRule | None = None


def open_model(place: str, *, trust_remote_code: bool = False) -> OpenedModel:
    """Open a run folder, a folder with a saved model, a Hub repository `OWNER/NAME[@REVISION]`, or `timm:NAME`.

    Raises:
        ValueError: if there is no such thing, it cannot be used (`load_classifier`), or it does not tell classes apart.
        FileNotFoundError: if a run lacks the file of its reject rule.
    """
    path = Path(place)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(f"{place}: no config.json, so it is neither a finished run nor a folder of a saved model")
        parts = _parts(place, None, trust_remote_code)
        result, trust, rule = _record(path)
        name = f"{result['arch']} ({result['protocol']}, seed {result['seed']})" if result else path.resolve().name
        return OpenedModel(name, *parts, folder=path, result=result, trust=trust, rule=rule)
    if path.exists():
        raise ValueError(f"{place} is a file: give the folder of a run or of a saved model")
    repository, revision = on_hub(_repository(place))
    parts = _parts(repository, revision, trust_remote_code)
    result, trust, rule = _record_on_hub(repository, revision)
    return OpenedModel(place, *parts, repository=repository, revision=revision, result=result, trust=trust, rule=rule)


def _parts(
    place: str, revision: str | None, trust_remote_code: bool
) -> tuple[PreTrainedModel, BaseImageProcessor, list[str]]:
    model = load_classifier(place, revision, trust_remote_code=trust_remote_code)
    processor = load_processor(place, revision, trust_remote_code=trust_remote_code)
    classes = class_names(model)
    if len(classes) < 2 or model.config.problem_type == "multi_label_classification":
        raise ValueError(f"{place}: its outputs ({', '.join(classes[:8])}) are not the probabilities of classes")
    return model, processor, classes


def _record(folder: Path) -> Record:
    """What a run left beside its model; nothing for a model that is no run of this project.

    Raises:
        ValueError: if it is the record of other weights, or cannot be read.
    """
    if not all((folder / name).is_file() for name in RECORD):
        return NO_RECORD
    result = read_result(folder)
    measured = result.get("model_sha256")  # runs of before did not keep it
    if measured and measured != sha256(folder / "model.safetensors"):
        raise ValueError(f"{folder}: result.json was measured with other weights than its model.safetensors")
    with reading(folder / "trust.json"):
        trust = json.loads((folder / "trust.json").read_text(encoding="utf-8"))
        parts = {name: trust[name] for name in ("classes", "calibration", "conformal", "reject")}
        rule = RejectRule.load(folder) if parts["reject"] else None
    return result, trust, rule


def _record_on_hub(repository: str, revision: str | None) -> Record:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        files = [hf_hub_download(repository, name, revision=revision) for name in RECORD]
    except EntryNotFoundError:  # most repositories have none; offline: not in the cache
        return NO_RECORD
    if json.loads(Path(files[0]).read_text(encoding="utf-8")).get("reject"):
        hf_hub_download(repository, ARRAYS, revision=revision)
    return _record(Path(files[0]).parent)


def _repository(place: str) -> str:
    """The Hub's name of what was asked for: timm:NAME and hf:NAME as scripts/train.py takes them."""
    if not place.startswith("timm:"):
        return place.removeprefix("hf:")
    from brainmri.models.described import timm_repository

    return timm_repository(place.removeprefix("timm:"))
