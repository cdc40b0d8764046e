"""A finished classifier and what its training left beside it: the one type for a loaded model."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainmri.evaluation.inference import Prediction, infer, prediction_of
from brainmri.evaluation.ood.detector import OODDetector
from brainmri.evaluation.pooling import PatientPrediction, patient_prediction
from brainmri.files import sha256
from brainmri.io.inputs import Rejected, Slice, found_inputs, read_scan, scan_and_files
from brainmri.io.scan import Scan
from brainmri.models.introspect import on_hub
from brainmri.models.load import class_names, load_classifier, load_processor
from brainmri.schemas import (
    EARLIER_UNCERTAINTY,
    Pooling,
    RunResult,
    Uncertainty,
    read_record,
    read_uncertainty,
)

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

Record = tuple[RunResult | None, Uncertainty | None, OODDetector | None]
NO_RECORD: Record = (None, None, None)
BATCH = 32


@dataclass(frozen=True)
class LoadedModel:
    """What `brainmri.load_model` gives: a network, how it wants its images, and how far to trust it.

    Attributes:
        name: for every figure and text.
        network: in evaluation mode; from pixels (B, 3, H, W), as `processor` makes them, to logits (B, C).
        processor: its image processor, from images of 8 bits to `pixel_values`.
        classes: the C names of its outputs, in their order.
        folder: where it lies; None for the Hub, where it is `repository` at `revision` (None: the newest).
        result, uncertainty: `result.json` and `uncertainty.json` of a run of this project, else None.
        ood_detector: of that run, or None.
    """

    name: str
    network: PreTrainedModel
    processor: BaseImageProcessor
    classes: list[str]
    folder: Path | None = None
    repository: str | None = None
    revision: str | None = None
    result: RunResult | None = None
    uncertainty: Uncertainty | None = None
    ood_detector: OODDetector | None = None

    @property
    def temperature(self) -> float | None:
        """What the logits are divided by before the softmax, so that probabilities are calibrated; None without one."""
        fitted = self.uncertainty.calibration if self.uncertainty else None
        return fitted.temperature if fitted else None

    @property
    def conformal_threshold(self) -> float | None:
        """A class is in the prediction set where 1 - its uncalibrated probability is at most this; None without one."""
        conformal = self.uncertainty.conformal if self.uncertainty else None
        return conformal.threshold if conformal else None

    @property
    def pooling(self) -> Pooling | None:
        """How the slices of a patient become one answer, as was chosen on the validation split; None without one."""
        return self.uncertainty.pooling if self.uncertainty else None

    def predict(self, image: str | Path | Image.Image | NDArray[np.uint8]) -> Prediction:
        """Classify one image.

        Args:
            image: a file that holds one slice (PNG, JPEG, TIFF, BMP, WebP, GIF, DICOM), a Pillow image of any mode, or
                an array uint8 (H, W) or (H, W, 3), RGB. Images of more than 8 bits are scaled from their darkest to
                their brightest value; transparent parts are laid on black.

        Raises:
            ValueError: if a file cannot be read or holds several slices, or an array is of another type or shape.

        Example:
            >>> model = brainmri.load_model("runs/NAME")
            >>> found = model.predict("slice.png")
            >>> found.label, found.probabilities[found.label], found.prediction_set, found.out_of_distribution
        """
        if isinstance(image, (str, Path)):
            scan = read_scan(image)
            if len(scan) != 1:
                raise ValueError(
                    f"{image} holds {len(scan)} slices: predict_scan classifies all of them, and "
                    "predict(read_scan(...).slice(plane, index)) one"
                )
            try:
                opened = scan.image()
            except ValueError as error:
                raise ValueError(f"{image}: {error}") from error
            return replace(self._classify([opened])[0], path=str(image), plane=scan.planes[0], slice=0)
        if isinstance(image, np.ndarray):
            image = _from_array(image)
        return self._classify([image])[0]

    def predict_many(
        self, paths: Iterable[str | Path], batch_size: int = BATCH, *, errors: Literal["raise", "skip"] = "raise"
    ) -> Iterator[Prediction]:
        """Classify the slices of many files, in the order of `paths`, one batch in memory at a time.

        Folders and ZIP files are gone through in the order of their names; of a volume or series every slice of the
        acquired plane is classified. Each prediction says which `path`, `plane` and `slice` it is of.

        Args:
            paths: files, folders and ZIP files.
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
        if batch_size < 1 or errors not in ("raise", "skip"):
            raise ValueError(f'batch_size {batch_size}, errors {errors!r}: 1 or more, and "raise" or "skip"')
        return self._predict_many(list(paths), batch_size, errors)

    def _predict_many(self, paths: list[str | Path], batch_size: int, errors: str) -> Iterator[Prediction]:
        with found_inputs(paths) as inputs:
            for found in self.predict_slices((one for each in inputs for one in each.slices()), batch_size):
                if isinstance(found, Prediction):
                    yield found
                elif errors == "raise":
                    raise ValueError(f"{found.path}: {found.reason}")

    def predict_slices(
        self, slices: Iterable[Slice | Rejected], batch_size: int = BATCH
    ) -> Iterator[Prediction | Rejected]:
        """Classify slices of files, in their order; what was rejected passes through in its place."""
        waiting: list[Slice | Rejected] = []
        images = 0
        for one in slices:
            waiting.append(one)
            images += isinstance(one, Slice)
            if images == batch_size:
                yield from self._of_batch(waiting)
                waiting, images = [], 0
        yield from self._of_batch(waiting)

    def predict_scan(self, scan: str | Path | Scan, batch_size: int = BATCH) -> PatientPrediction:
        """Classify every slice of a scan, in the plane that it was acquired in, and pool them by the model's `pooling`.

        Args:
            scan: a volume (NIfTI), a folder with the files of one series or with the slices of one scan as images, a
                single file, or what `read_scan` gave.

        Raises:
            ValueError: if it cannot be read, holds several scans, or one of its slices is broken.

        Example:
            >>> study = model.predict_scan("series_folder/")
            >>> study.label, study.tumour_probability, study.interval
            >>> study.pooling, study.tumour, study.slices[["slice", "tumour_probability", "share"]].head()
        """
        name = "" if isinstance(scan, Scan) else str(scan)
        opened, files = (scan, [""] * len(scan)) if isinstance(scan, Scan) else scan_and_files(scan)
        found = self.predict_slices(_slices(opened, files, name), batch_size)
        return patient_prediction([one for one in found if isinstance(one, Prediction)], self.pooling)

    def _of_batch(self, batch: list[Slice | Rejected]) -> Iterator[Prediction | Rejected]:
        images = [one.image for one in batch if isinstance(one, Slice)]
        predictions = iter(self._classify(images) if images else [])
        for one in batch:
            if isinstance(one, Rejected):
                yield one
            else:
                yield replace(next(predictions), path=one.path, plane=one.plane, slice=one.index, patient=one.patient)

    def _classify(self, images: list[Image.Image]) -> list[Prediction]:
        started = time.perf_counter()
        found = infer(images, self.network, self.processor, self.ood_detector, batch_size=len(images))
        milliseconds = 1000 * (time.perf_counter() - started) / len(images)
        return [
            prediction_of(
                found.probabilities[k],
                None if found.scores is None else float(found.scores[k]),
                self.classes,
                self.uncertainty,
                self.ood_detector,
                milliseconds,
            )
            for k in range(len(images))
        ]


def _slices(scan: Scan, files: list[str], patient: str) -> Iterator[Slice]:
    """All slices of the first plane.

    Raises:
        ValueError: for the first that is broken; names its file.
    """
    plane = scan.planes[0]
    for index, file in enumerate(files):
        try:
            image = scan.image(plane, index)
        except ValueError as error:
            raise ValueError(f"{file or 'slice ' + str(index)}: {error}") from error
        yield Slice(file, plane, index, patient, image)


def _from_array(values: NDArray[Any]) -> Image.Image:
    if values.dtype != np.uint8 or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)):
        raise ValueError(
            f"an array {values.dtype} of shape {values.shape}: uint8 (H, W), or (H, W, 3) as RGB, is needed"
        )
    if 0 in values.shape:
        raise ValueError(f"an array of shape {values.shape} holds no pixels")
    return Image.fromarray(np.ascontiguousarray(values))


def load_model(place: str | Path, *, device: str = "cpu", trust_remote_code: bool = False) -> LoadedModel:
    """Load a trained model with its image processor, temperature, conformal thresholds and OOD detector.

    Args:
        place: a run folder ("runs/NAME"), a folder with a saved model, a repository of the Hub
            ("OWNER/NAME[@REVISION]"), or "timm:NAME". Models that are no runs of this project have no temperature,
            conformal thresholds or OOD detector.
        device: where it computes: "cpu", "cuda", ...
        trust_remote_code: execute code that comes with the model; networks of this project need none.

    Raises:
        ValueError: if there is no such thing, it cannot be used, or it does not tell classes apart.
        FileNotFoundError: if a run lacks the file of its OOD detector.

    Example:
        >>> import brainmri
        >>> model = brainmri.load_model("runs/NAME")
        >>> model.classes, model.temperature
    """
    place = str(place)
    path = Path(place)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(f"{place}: no config.json, so it is neither a finished run nor a folder of a saved model")
        parts = _parts(place, None, device, trust_remote_code)
        result, uncertainty, detector = _record(path)
        name = result.title if result else path.resolve().name
        return LoadedModel(name, *parts, folder=path, result=result, uncertainty=uncertainty, ood_detector=detector)
    if path.exists():
        raise ValueError(f"{place} is a file: give the folder of a run or of a saved model")
    repository, revision = on_hub(_repository(place))
    parts = _parts(repository, revision, device, trust_remote_code)
    result, uncertainty, detector = _record_on_hub(repository, revision)
    return LoadedModel(
        place,
        *parts,
        repository=repository,
        revision=revision,
        result=result,
        uncertainty=uncertainty,
        ood_detector=detector,
    )


def _parts(
    place: str, revision: str | None, device: str, trust_remote_code: bool
) -> tuple[PreTrainedModel, BaseImageProcessor, list[str]]:
    model = load_classifier(place, revision, trust_remote_code=trust_remote_code)
    processor = load_processor(place, revision, trust_remote_code=trust_remote_code)
    classes = class_names(model)
    if len(classes) < 2 or model.config.problem_type == "multi_label_classification":
        raise ValueError(f"{place}: its outputs ({', '.join(classes[:8])}) are not the probabilities of classes")
    return model.to(device), processor, classes  # type: ignore[arg-type]


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
