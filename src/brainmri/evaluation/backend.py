"""How a network is run: by ONNX Runtime, which the benchmark found the fastest exact way on a CPU, or by torch.

The ONNX file of a network is written once into the cache, with what its image processor does beside it. From then on
neither torch nor transformers has to be imported, which alone takes longer than classifying some hundred slices.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from shutil import copy
from typing import TYPE_CHECKING, Literal, Protocol, cast

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

import brainmri
from brainmri.data.storage import cache_folder
from brainmri.environment import available_cpus
from brainmri.files import digest, replace_text, sha256
from brainmri.metrics.probabilities import softmax
from brainmri.models.numpy_preprocessing import NumpyPreprocessing, numpy_preprocessing
from brainmri.schemas import StoredNetwork, json_text, read

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from transformers import BaseImageProcessor, PreTrainedModel

    from brainmri.evaluation.ood.detector import OODDetector
    from brainmri.models.onnx import LogitsAndFeatures
    from brainmri.schemas import RunResult

logger = logging.getLogger(__name__)
BackendName = Literal["onnx", "torch"]
# Preprocessed images, float32 (B, 3, H, W), to logits (B, C) and what the OOD detector looks at, (B, D), or None
# where there is no rule.
Run = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32] | None]]
CLOSE = 1e-5  # of the probabilities by ONNX Runtime to those by torch, else torch is taken
WEIGHTS = ("*.safetensors", "*.bin")
SETTINGS = ("config.json", "preprocessor_config.json")
STORED = 2  # version of what the cache keeps; 1 had timm's own pixels of timm's backbones


class Opened(Protocol):
    """What a backend asks of a `LoadedModel`."""

    @property
    def classes(self) -> list[str]: ...
    @property
    def network(self) -> PreTrainedModel: ...
    @property
    def processor(self) -> BaseImageProcessor: ...
    @property
    def digest(self) -> str: ...
    @property
    def folder(self) -> Path | None: ...
    @property
    def repository(self) -> str | None: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def result(self) -> RunResult | None: ...
    @property
    def ood_detector(self) -> OODDetector | None: ...


@dataclass(frozen=True)
class Backend:
    """What gives the logits of images.

    Attributes:
        name: "onnx" or "torch".
        run: from images "L" or "RGB", 8 bits (at least one), to logits (B, C) and, for an OOD detector, features
            (B, D).
        workers: how many calls at once make the machine do its best.
    """

    name: BackendName
    run: Callable[[list[Image.Image]], tuple[NDArray[np.float32], NDArray[np.float32] | None]]
    workers: int


def cpu_threads() -> int:
    """Processors that this process may use; `OMP_NUM_THREADS` where it is set."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    return int(named) if named.isdigit() and int(named) else available_cpus()


def model_digest(folder: Path) -> str:
    """Of all that the logits of a saved model depend on: its weights and settings, and what computes them."""
    files = [folder / name for name in SETTINGS] + sorted(file for kind in WEIGHTS for file in folder.glob(kind))
    contents = [[file.name, sha256(file)] for file in files if file.is_file()]
    versions = [metadata.version(name) for name in ("onnxruntime", "transformers", "torch", "torchvision", "pillow")]
    return digest(contents, versions, brainmri.__version__, STORED)


def stored_network(key: str) -> tuple[StoredNetwork, Backend] | None:
    """The network that was stored under a key, without torch; None where there is none that can be used."""
    from brainmri.models.sessions import onnx_session, output_names

    try:
        stored = read(_settings_file(key), StoredNetwork)
        session = onnx_session(_onnx_file(key), threads=1)
    except Exception as error:  # not there, broken; those of ONNX Runtime share no class. It is written again then
        logger.debug("No ONNX file in the cache: %s", error)
        return None
    return stored, _onnx_backend(session, output_names(stored.layer), NumpyPreprocessing(stored.pixels))


def onnx_backend(opened: Opened) -> Backend:
    """A network by ONNX Runtime; its file is written into the cache, which takes some seconds.

    Raises:
        ValueError: if ONNX cannot express the network, gives other probabilities, or its image processor does what
            `numpy_preprocessing` does not.
    """
    from brainmri.models.onnx import LogitsAndFeatures

    layer = opened.ood_detector.layer if opened.ood_detector else None
    pixels = numpy_preprocessing(opened.processor)
    if pixels is None:
        raise ValueError("its image processor crops, pads or filters in a way of its own")
    network = LogitsAndFeatures(opened.network, layer)
    session = _session(opened, network, pixels.size, threads=1)
    found = _onnx_backend(session, network.outputs, pixels)
    images = [Image.fromarray(np.random.default_rng(k).integers(0, 256, (96, 96, 3), np.uint8)) for k in range(4)]
    torch_too = torch_backend(opened.network, opened.processor, layer)
    ours, theirs = (softmax(one.run(images)[0]) for one in (found, torch_too))
    if not np.abs(ours - theirs).max() <= CLOSE:
        raise ValueError("ONNX Runtime gives other probabilities than torch")
    own = _onnx_file(opened.digest)
    if not own.is_file():  # the published one
        own.parent.mkdir(parents=True, exist_ok=True)
        copy(cast(Path, _published(opened)), own.with_suffix(".unfinished"))
        own.with_suffix(".unfinished").replace(own)
    stored = StoredNetwork(classes=opened.classes, layer=layer, pixels=pixels.settings)
    replace_text(_settings_file(opened.digest), json_text(stored))
    return found


def torch_backend(network: PreTrainedModel, processor: BaseImageProcessor, layer: str | None) -> Backend:
    """The network itself, for one call at a time."""
    run = by_torch(network, layer, threading.Lock())
    own = numpy_preprocessing(processor)

    def pixels(images: list[Image.Image]) -> NDArray[np.float32]:
        if own:
            return own(images)
        prepared = processor(images=[image.convert("RGB") for image in images], return_tensors="pt")
        found: NDArray[np.float32] = prepared["pixel_values"].numpy()
        return found

    return Backend("torch", lambda images: run(pixels(images)), workers=1)


def _onnx_backend(session: InferenceSession, outputs: list[str], pixels: NumpyPreprocessing) -> Backend:
    run = _runs(session, outputs)
    # Each call has one thread: calls side by side do more than one call whose threads wait for each other.
    return Backend("onnx", lambda images: run(pixels(images)), workers=cpu_threads())


def by_onnx_runtime(opened: Opened, size: tuple[int, int], threads: int) -> Run:
    """The network as an ONNX file: the published one beside the model, or one that is written once into the cache.

    Either is compared with torch, so that a file of other weights or versions is not used.

    Args:
        size: H and W of the preprocessed images.
        threads: of one call.

    Raises:
        ValueError: if ONNX cannot express the network.
    """
    from brainmri.models.onnx import LogitsAndFeatures

    network = LogitsAndFeatures(opened.network, opened.ood_detector.layer if opened.ood_detector else None)
    return _runs(_session(opened, network, size, threads), network.outputs)


def by_torch(network: PreTrainedModel, layer: str | None, lock: threading.Lock) -> Run:
    """The network itself, for one call at a time: `lock` is held while it runs, as its features are seen by a hook."""
    import torch

    from brainmri.models.onnx import LogitsAndFeatures

    with_features = LogitsAndFeatures(network, layer)

    def run(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        inputs = torch.from_numpy(pixels)
        with lock, torch.inference_mode():
            logits, *features = (output.float().cpu().numpy() for output in with_features(inputs.to(network.device)))
        return logits, features[0] if features else None

    return run


def _session(opened: Opened, network: LogitsAndFeatures, size: tuple[int, int], threads: int) -> InferenceSession:
    """Of the published ONNX file beside the model, else that of the cache, else a new one there."""
    if published := _fitting(_published(opened), network, size, threads):
        return published
    own = _onnx_file(opened.digest)
    own.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(own.with_suffix(".lock")):
        return _fitting(own, network, size, threads) or _written(own, network, size, threads)


def _runs(session: InferenceSession, outputs: list[str]) -> Run:
    def run(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        logits, *features = session.run(outputs, {"pixel_values": pixels})
        return logits, features[0] if features else None

    return run


def _written(file: Path, network: LogitsAndFeatures, size: tuple[int, int], threads: int) -> InferenceSession:
    """The session of a new ONNX file, which gets its name when it is complete."""
    from brainmri.models.onnx import export_classifier
    from brainmri.models.sessions import onnx_session

    logger.info("Writing the network as an ONNX file into the cache, once: some seconds")
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
    from brainmri.models.onnx import TOLERANCE, largest_difference
    from brainmri.models.sessions import onnx_session

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


def _published(opened: Opened) -> Path | None:
    """The ONNX file that a publication of this project has beside the model."""
    from brainmri.models.sessions import ONNX_FILE

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


def _onnx_file(key: str) -> Path:
    return cache_folder() / "onnx" / f"{key}.onnx"


def _settings_file(key: str) -> Path:
    return _onnx_file(key).with_suffix(".json")
