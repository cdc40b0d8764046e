"""How the demo runs a network: by ONNX Runtime, which the benchmark found the fastest exact way, or else by torch."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from brainmri.data.storage import cache_folder
from brainmri.hub.checks import ONNX_FILE
from brainmri.models.onnx import TOLERANCE, LogitsAndFeatures, export_classifier, largest_difference, onnx_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from brainmri.evaluation.model import LoadedModel

logger = logging.getLogger(__name__)
# Preprocessed images, float32 (B, 3, H, W), to logits (B, C) and what the OOD detector looks at, (B, D), or None
# where there is no rule.
Run = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32] | None]]


def by_onnx_runtime(opened: LoadedModel, size: tuple[int, int], threads: int) -> Run:
    """The network as an ONNX file: the published one beside the model, or one that is written once into the cache.

    Either is compared with torch at each start, so that a file of other weights or versions is not used.

    Args:
        size: H and W of the preprocessed images.
        threads: of one call.

    Raises:
        ValueError: if ONNX cannot express the network.
    """
    network = LogitsAndFeatures(opened.network, opened.ood_detector.layer if opened.ood_detector else None)
    own = cache_folder() / "onnx" / f"{_key(network, size)}.onnx"
    session = _fitting(_published(opened), network, size, threads)
    if session is None:
        own.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(own.with_suffix(".lock")):
            session = _fitting(own, network, size, threads) or _written(own, network, size, threads)
    return _runs(session, network.outputs)


def by_torch(opened: LoadedModel, lock: threading.Lock) -> Run:
    """The network itself, for one call at a time: `lock` is held while it runs, as its features are seen by a hook."""
    network = LogitsAndFeatures(opened.network, opened.ood_detector.layer if opened.ood_detector else None)

    def run(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        with lock, torch.inference_mode():
            logits, *features = (output.numpy() for output in network(torch.from_numpy(pixels)))
        return logits, features[0] if features else None

    return run


def _runs(session: InferenceSession, outputs: list[str]) -> Run:
    def run(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        logits, *features = session.run(outputs, {"pixel_values": pixels})
        return logits, features[0] if features else None

    return run


def _written(file: Path, network: LogitsAndFeatures, size: tuple[int, int], threads: int) -> InferenceSession:
    """The session of a new ONNX file, which gets its name when it is complete."""
    logger.info("Writing the ONNX file of a network, once")
    unfinished = file.with_suffix(".unfinished")
    try:
        export_classifier(network.model, size, unfinished, layer=network.layer)
    except Exception as error:  # the exporter and ONNX Runtime have many of their own, without a common class
        logger.warning("No ONNX file can be written: %s", error)
        raise ValueError("ONNX cannot express it") from error
    unfinished.replace(file)
    return onnx_session(file, threads)


def _fitting(
    file: Path | None, network: LogitsAndFeatures, size: tuple[int, int], threads: int
) -> InferenceSession | None:
    """The session of an ONNX file that gives what the network gives; None where there is none."""
    if file is None or not file.is_file():
        return None
    try:
        session = onnx_session(file, threads)
        fits = largest_difference(session, network, size) <= TOLERANCE
    except Exception:  # of ONNX Runtime, whose exceptions share no other class: broken, or without these outputs
        fits = False
    if not fits:
        logger.info("%s is not used: it is not the ONNX file of these weights", file.name)
    return session if fits else None


def _published(opened: LoadedModel) -> Path | None:
    """The ONNX file that a publication of this project has beside the model."""
    if opened.folder:
        return opened.folder / ONNX_FILE
    if not opened.result:
        return None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(cast(str, opened.repository), ONNX_FILE, revision=opened.revision))
    except EntryNotFoundError:
        return None


def _key(network: LogitsAndFeatures, size: tuple[int, int]) -> str:
    """A name for the ONNX file of these weights in this architecture."""
    digest = hashlib.sha256(f"{network.model.config.to_json_string()}{network.layer}{size}".encode())
    for part in _bytes(network.model.state_dict()):
        digest.update(part)
    return digest.hexdigest()[:32]


def _bytes(weights: dict[str, Any]) -> Iterator[bytes]:
    for name, tensor in weights.items():
        yield name.encode()
        yield tensor.contiguous().flatten().view(torch.uint8).numpy().data
