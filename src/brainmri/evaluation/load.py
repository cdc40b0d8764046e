"""From a run folder, a saved model or a repository of the Hub to a `LoadedModel`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from brainmri.evaluation.backend import BackendName, model_digest, stored_network
from brainmri.evaluation.model import LoadedModel
from brainmri.evaluation.ood.detector import OODDetector
from brainmri.files import digest, sha256
from brainmri.schemas import EARLIER_UNCERTAINTY, RunResult, Uncertainty, read_record, read_uncertainty

if TYPE_CHECKING:
    from brainmri.evaluation.model import Parts

logger = logging.getLogger(__name__)
Record = tuple[RunResult | None, Uncertainty | None, OODDetector | None]
NO_RECORD: Record = (None, None, None)


def load_model(
    place: str | Path,
    *,
    device: str = "cpu",
    trust_remote_code: bool = False,
    backend: BackendName | None = None,
    site: str = "",
) -> LoadedModel:
    """Load a trained model with its image processor, temperature, conformal thresholds and OOD detector.

    Args:
        place: a run folder ("runs/NAME"), a folder with a saved model, a repository of the Hub
            ("OWNER/NAME[@REVISION]"), or "timm:NAME". Models that are no runs of this project have no temperature,
            conformal thresholds or OOD detector.
        device: where it computes: "cpu", "cuda", ...
        trust_remote_code: execute code that comes with the model; networks of this project need none.
        backend: what computes predictions: "onnx" (ONNX Runtime, on the CPU only; the first prediction of many images
            writes the network as an ONNX file into the cache, which takes some seconds, once) or "torch". None takes
            "onnx" on the CPU. Their probabilities differ by less than 0.00001.
        site: where the images that it will be asked about come from, as the training data call it; the type of a tumour
            counts at a site that it was trained on, and is doubtful elsewhere unless the run shows that types hold. A
            site that it was not trained on is told in the log.

    Raises:
        ValueError: if there is no such thing, it cannot be used, or it does not tell classes apart.
        FileNotFoundError: if a run lacks the file of its OOD detector.

    Example:
        >>> import brainmri
        >>> model = brainmri.load_model("runs/NAME")
        >>> model.classes, model.temperature
    """
    if backend == "onnx" and device != "cpu":
        raise ValueError(f'backend "onnx" computes on the CPU, and the device is {device}')
    wanted: BackendName = backend or ("onnx" if device == "cpu" else "torch")
    place = str(place)
    path = Path(place)
    if path.is_dir():
        if not (path / "config.json").is_file():
            runs = sorted(str(inner.parent) for inner in path.glob("*/config.json"))
            raise ValueError(
                f"{place}: no config.json, so it is neither a finished run nor a folder of a saved model"
                + (f"; did you mean {' or '.join(runs[:3])}?" if runs else "")
            )
        parts = cache(partial(_parts, place, None, device, trust_remote_code))
        key = digest(model_digest(path), trust_remote_code)
        stored = stored_network(key) if wanted == "onnx" else None
        classes = stored[0].classes if stored else _class_names(parts)
        result, uncertainty, detector = _record(path)
        name = result.title if result else path.resolve().name
        found = LoadedModel(name, classes, parts, key, wanted, folder=path)
    elif path.exists():
        raise ValueError(f"{place} is a file: give the folder of a run or of a saved model")
    else:
        from huggingface_hub import hf_hub_download

        from brainmri.models.introspect import on_hub

        repository, revision = on_hub(_repository(place))
        parts = cache(partial(_parts, repository, revision, device, trust_remote_code))
        classes = _class_names(parts)
        result, uncertainty, detector = _record_on_hub(repository, revision)
        snapshot = Path(hf_hub_download(repository, "config.json", revision=revision)).parent
        key = digest(model_digest(snapshot), trust_remote_code)
        stored = stored_network(key) if wanted == "onnx" else None
        found = LoadedModel(place, classes, parts, key, wanted, repository=repository, revision=revision)
    if stored and stored[0].layer != (detector.layer if detector else None):
        stored = None  # of the time before this OOD detector
    sites = uncertainty.kinds.sites if uncertainty and uncertainty.kinds else []
    if site and site not in sites:
        known = f"its sites are {', '.join(sites)}" if sites else "its record has no site"
        told = "%s was not trained on the site %s (%s): the types of tumours are judged as without a site"
        logger.warning(told, place, site, known)
    return replace(
        found,
        result=result,
        uncertainty=uncertainty,
        ood_detector=detector,
        stored=stored[1] if stored else None,
        site=site,
    )


def _class_names(parts: Callable[[], Parts]) -> list[str]:
    from brainmri.models.load import class_names

    return class_names(parts()[0])


def _parts(place: str, revision: str | None, device: str, trust_remote_code: bool) -> Parts:
    from brainmri.models.load import class_names, load_classifier, load_processor

    model = load_classifier(place, revision, trust_remote_code=trust_remote_code)
    processor = load_processor(place, revision, trust_remote_code=trust_remote_code)
    classes = class_names(model)
    if len(classes) < 2 or model.config.problem_type == "multi_label_classification":
        raise ValueError(f"{place}: its outputs ({', '.join(classes[:8])}) are not the probabilities of classes")
    return model.to(device), processor  # type: ignore[arg-type]


def _record(folder: Path) -> Record:
    """What a run left beside its model; nothing for a model that is no run of this project.

    Raises:
        ValueError: if it is the record of other weights, or cannot be read.
    """
    found = read_record(folder)
    if found is None:
        return NO_RECORD
    result, uncertainty = found
    measured = result.model_sha256  # runs of before did not keep it
    if measured and measured != sha256(folder / "model.safetensors"):
        raise ValueError(f"{folder}: result.json was measured with other weights than its model.safetensors")
    return result, uncertainty, OODDetector.load(folder) if uncertainty.ood else None


def _record_on_hub(repository: str, revision: str | None) -> Record:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    def fetched(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except EntryNotFoundError:  # most repositories have none; offline: not in the cache
            return None

    result = fetched("result.json")
    if result is None or not (fetched("uncertainty.json") or fetched(EARLIER_UNCERTAINTY)):
        return NO_RECORD
    if found := read_uncertainty(result.parent).ood:
        hf_hub_download(repository, found.arrays, revision=revision)
    return _record(result.parent)


def _repository(place: str) -> str:
    """The Hub's name of what was asked for: timm:NAME and hf:NAME as scripts/train.py takes them."""
    if not place.startswith("timm:"):
        return place.removeprefix("hf:")
    from brainmri.models.introspect import timm_repository

    return timm_repository(place.removeprefix("timm:"))
