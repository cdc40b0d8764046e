"""A finished classifier and what its training left beside it: the one type for a loaded model."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainmri.data.pseudonyms import read_key, with_patients
from brainmri.data.statistics import global_statistics
from brainmri.evaluation.backend import (
    Backend,
    BackendName,
    onnx_backend,
    torch_backend,
)
from brainmri.evaluation.batches import PIXELS, batches, from_array, slices_of
from brainmri.evaluation.inference import Prediction, prediction_of
from brainmri.evaluation.ood.detector import OODDetector
from brainmri.evaluation.sequence import looks
from brainmri.files import digest
from brainmri.io.decode import upright_8_bit
from brainmri.io.inputs import Slice, found_inputs, scan_and_files
from brainmri.io.scan import Scan
from brainmri.metrics.probabilities import softmax
from brainmri.schemas import Pooling, RunResult, Uncertainty
from brainmri.wording import counted

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

    from brainmri.evaluation.pooling import PatientPrediction

    Parts = tuple[PreTrainedModel, BaseImageProcessor]

logger = logging.getLogger(__name__)
BATCH = 16  # images; more of them leave the caches of a processor
Other = TypeVar("Other")


@dataclass(frozen=True)
class LoadedModel:
    """What `brainmri.load_model` gives: a network, how it wants its images, and how far to trust it.

    Attributes:
        name: for every figure and text.
        classes: the C names of its outputs, in their order.
        network: in evaluation mode; from pixels (B, 3, H, W), as `processor` makes them, to logits (B, C).
        processor: its image processor, from images of 8 bits to `pixel_values`. Both are loaded when they are first
            asked for, where predictions do not need them.
        backend: how it computes predictions: "onnx" or "torch".
        folder: where it lies; None for the Hub, where it is `repository` at `revision` (None: the newest).
        result, uncertainty: `result.json` and `uncertainty.json` of a run of this project, else None.
        ood_detector: of that run, or None.
        site: where the images that it is asked about come from, as the training data call it; "" if not known.
        digest: of all that its logits depend on.
    """

    name: str
    classes: list[str]
    parts: Callable[[], Parts] = field(repr=False, compare=False)
    digest: str = field(repr=False)
    wanted: BackendName = field(repr=False)
    folder: Path | None = None
    repository: str | None = None
    revision: str | None = None
    result: RunResult | None = field(default=None, repr=False)
    uncertainty: Uncertainty | None = field(default=None, repr=False)
    ood_detector: OODDetector | None = field(default=None, repr=False)
    stored: Backend | None = field(default=None, repr=False, compare=False)
    site: str = ""
    _lock: Any = field(default_factory=threading.RLock, init=False, repr=False, compare=False)

    @property
    def network(self) -> PreTrainedModel:
        return self.parts()[0]

    @property
    def processor(self) -> BaseImageProcessor:
        return self.parts()[1]

    @property
    def backend(self) -> BackendName:
        return self._many.name

    @property
    def answers_digest(self) -> str:
        """Of all that its predictions depend on: equal digests, equal predictions."""
        return digest(self.digest, self.uncertainty.as_json() if self.uncertainty else None)

    @property
    def _many(self) -> Backend:
        """What computes many predictions: the ONNX file is written for them, if it is not there."""
        with self._lock:
            return self.stored or self._written

    @property
    def _one(self) -> Backend:
        """What computes a single one, without writing a file."""
        with self._lock:
            return self.stored or self.__dict__.get("_written") or self._torch

    @cached_property
    def _written(self) -> Backend:
        if self.wanted == "onnx":
            try:
                return onnx_backend(self)
            except ValueError as reason:
                logger.info("%s is run by torch: %s", self.name, reason)
        return self._torch

    @cached_property
    def _torch(self) -> Backend:
        return torch_backend(*self.parts(), self.ood_detector.layer if self.ood_detector else None)

    @property
    def temperature(self) -> float | None:
        """What the logits are divided by before the softmax, so that probabilities are calibrated; None without one."""
        fitted = self.uncertainty.calibration if self.uncertainty else None
        return fitted.temperature if fitted else None

    @property
    def conformal_thresholds(self) -> dict[str, float] | None:
        """A class is in the prediction set where 1 - its uncalibrated probability is at most this, or where it is the
        likeliest; None without them."""
        conformal = self.uncertainty.conformal if self.uncertainty else None
        return dict(zip(self.classes, conformal.thresholds(self.classes), strict=True)) if conformal else None

    @property
    def pooling(self) -> Pooling | None:
        """How the slices of a patient become one answer, as was chosen on the validation split; None without one."""
        return self.uncertainty.pooling if self.uncertainty else None

    def predict(self, image: str | Path | Image.Image | NDArray[np.uint8]) -> Prediction:
        """Classify one image.

        Args:
            image: a file that holds one slice (PNG, JPEG, TIFF, BMP, WebP, GIF, DICOM), a Pillow image of any mode, or
                an array: (H, W) of any numbers, or uint8 (H, W, 3), RGB. What has more than 8 bits is scaled from the
                robust range of the head; transparent parts are laid on black.

        Raises:
            ValueError: if a file cannot be read, holds several slices or says that it is no MRI (a localizer, a CT, a
                screen capture), or an array is of another type or shape.

        Example:
            >>> model = brainmri.load_model("runs/NAME")
            >>> found = model.predict("slice.png")
            >>> found.label, found.probabilities[found.label], found.prediction_set, found.out_of_distribution
        """
        if isinstance(image, (str, Path)):
            scan = scan_and_files(image)[0]
            if len(scan) != 1:
                raise ValueError(
                    f"{image} holds {len(scan)} slices: predict_scan classifies all of them, and "
                    "predict(read_scan(...).slice(plane, index)) one"
                )
            try:
                opened = scan.image()
            except ValueError as error:
                raise ValueError(f"{image}: {error}") from error
            plane = scan.planes[0]
            found = self.classify([opened], self._one, [(scan.sequence, plane)])[0]
            return replace(found, path=str(image), plane=plane, slice=0)
        if isinstance(image, np.ndarray):
            image = from_array(image)
        if not isinstance(image, Image.Image):
            raise TypeError(
                f"predict takes one image (a path, a Pillow image or an array), not {type(image).__name__}; "
                "predict_many takes many"
            )
        return self.classify([upright_8_bit(image)], self._one)[0]

    def predict_many(
        self,
        paths: str | Path | Iterable[str | Path],
        batch_size: int = BATCH,
        *,
        errors: Literal["raise", "skip"] = "raise",
    ) -> Iterator[Prediction]:
        """Classify the slices of many files, in the order of `paths`, one batch in memory at a time.

        Folders and ZIP files are gone through in the order of their names; of a volume or series every slice of the
        acquired plane is classified. Each prediction says which `path`, `plane` and `slice` it is of, and which `scan`
        and `patient`: DICOM files of one PatientID share a hash under a new key, which is kept nowhere.

        Args:
            paths: files, folders and ZIP files; one of them may stand by itself.
            batch_size: images in one forward pass.
            errors: "raise" stops at the first file that cannot be used, after the predictions for those before it;
                "skip" goes on with the next. `brainmri predict` lists the reasons in rejected.csv.

        Raises:
            FileNotFoundError: before anything is read, if a path is not there.
            ValueError: at a file that cannot be used, with its path and the reason.

        Example:
            >>> for found in model.predict_many(["slices/", "more.zip"], errors="skip"):
            ...     print(found.path, found.label)
        """
        if isinstance(paths, (str, Path)):
            paths = [paths]
        if batch_size < 1 or errors not in ("raise", "skip"):
            raise ValueError(f'batch_size {batch_size}, errors {errors!r}: 1 or more, and "raise" or "skip"')
        return self._predict_many(list(paths), batch_size, errors)

    def _predict_many(self, paths: list[str | Path], batch_size: int, errors: str) -> Iterator[Prediction]:
        with found_inputs(paths) as inputs:
            named = with_patients(inputs, read_key(None))
            for found in self.predict_slices((one for each in named for one in each.slices()), batch_size):
                if isinstance(found, Prediction):
                    yield found
                elif errors == "raise":
                    raise ValueError(f"{found.path}: {found.reason}")

    def predict_slices(self, slices: Iterable[Slice | Other], batch_size: int = BATCH) -> Iterator[Prediction | Other]:
        """Classify slices of files, in their order; whatever else is among them passes through in its place.

        While some are read, others are classified. A few batches are in memory at once.
        """
        backend = self._many
        with ThreadPoolExecutor(backend.workers) as pool:
            waiting: deque[tuple[Future[list[Prediction | Other]], int]] = deque()
            try:
                for batch, pixels in batches(slices, batch_size):
                    waiting.append((pool.submit(self._of_batch, batch, backend), pixels))
                    while len(waiting) > 2 * backend.workers or sum(size for _, size in waiting) > 4 * PIXELS:
                        yield from waiting.popleft()[0].result()
                while waiting:
                    yield from waiting.popleft()[0].result()
            finally:
                for future, _ in waiting:
                    future.cancel()

    def predict_scan(self, scan: str | Path | Scan, batch_size: int = BATCH) -> PatientPrediction:
        """Classify every slice of a scan, in the plane that it was acquired in, and pool them by the model's `pooling`.

        Args:
            scan: a volume (NIfTI), a folder with the files of one series or with the slices of one scan as images, a
                single file, or what `read_scan` gave.

        Raises:
            ValueError: if it cannot be read, holds several scans or no MRI, or none of its slices can be drawn. Where
                some cannot, the answer is that of the others; a warning and `rejected` name them. Warnings and `notes`
                say what else there is to say: that slices are missing in the series, for example.

        Example:
            >>> study = model.predict_scan("series_folder/")
            >>> study.label, study.tumour_probability, study.interval
            >>> study.pooling, study.tumour, study.slices[["slice", "tumour_probability", "share"]].head()
        """
        from brainmri.evaluation.pooling import patient_prediction  # late: single slices need no pandas

        name = "" if isinstance(scan, Scan) else str(scan)
        opened, files, problems = (scan, [""] * len(scan), []) if isinstance(scan, Scan) else scan_and_files(scan)
        predictions = []
        for one in self.predict_slices(slices_of(opened, files, name), batch_size):
            if isinstance(one, Prediction):
                predictions.append(one)
            else:
                problems.append(f"{one.path}: {one.reason}")
        if not predictions:
            raise ValueError(problems[0])
        if problems:
            logger.warning(
                "%s: the answer is that of %s; %s cannot be used, the first: %s",
                *(name or "The scan", counted(len(predictions), "slice"), counted(len(problems), "other"), problems[0]),
            )
        for note in opened.notes:
            logger.warning("%s: %s", name or "The scan", note)
        return replace(patient_prediction(predictions, self.pooling), rejected=tuple(problems), notes=opened.notes)

    def _of_batch(self, batch: list[Slice | Other], backend: Backend) -> list[Prediction | Other]:
        slices = [one for one in batch if isinstance(one, Slice)]
        told = [(one.sequence, one.plane) for one in slices]
        predictions = iter(self.classify([one.image for one in slices], backend, told) if slices else [])
        return [
            replace(
                next(predictions),
                path=one.path,
                plane=one.plane,
                slice=one.index,
                patient=one.patient,
                scan=one.scan,
            )
            if isinstance(one, Slice)
            else one
            for one in batch
        ]

    def classify(
        self, images: list[Image.Image], backend: Backend, told: Sequence[tuple[str, str]] = ()
    ) -> list[Prediction]:
        """The predictions of images "L" or "RGB", upright, by a backend of this network.

        told: sequence and plane of each, as its file says them; "" where it does not.
        """
        started = time.perf_counter()
        logits, features = backend.run(images)
        probabilities = softmax(logits)
        scores: list[float | None] = [None] * len(images)
        if self.ood_detector is not None and features is not None:
            statistics = np.stack([global_statistics(image) for image in images])
            scores = self.ood_detector.score(features, statistics, logits.argmax(axis=1)).tolist()
        milliseconds = 1000 * (time.perf_counter() - started) / len(images)
        seen = looks(images)
        if told:
            seen = [look.told(*its) for look, its in zip(seen, told, strict=True)]
        return [
            prediction_of(
                *(plain, score, self.classes, self.uncertainty, self.ood_detector, milliseconds),
                site=self.site,
                look=look,
            )
            for plain, score, look in zip(probabilities, scores, seen, strict=True)
        ]
