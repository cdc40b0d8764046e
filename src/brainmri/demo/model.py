"""The models of the demo: opened once, then asked about images; and where a map lies in the image it was made from."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brainmri.environment import available_cpus
from brainmri.io.decode import upright_8_bit
from brainmri.schemas import read_record

if TYPE_CHECKING:
    import torch
    from transformers import BaseImageProcessor

    from brainmri.evaluation.backend import BackendName, Run
    from brainmri.evaluation.explain.grad_cam import TargetLayer
    from brainmri.evaluation.inference import Prediction
    from brainmri.evaluation.model import LoadedModel
    from brainmri.evaluation.pooling import PatientPrediction
    from brainmri.schemas import RunResult, Uncertainty

FLAT = 1e-4  # a map whose places differ by less than this share of its maximum points nowhere
EXAMPLE_SIZES = ((320, 240), (240, 320))  # whose preprocessed images differ in size where no one size is asked for


class DemoModel:
    """A model that is asked by many at once, once it is open.

    A run of this project is known by its record before that: torch and the rest take seconds to import.

    Attributes:
        name: shown to visitors, unlike that of any other model.
        place: the folder or Hub ID, as the settings have it.
        classes: the names of its outputs.
        result, uncertainty: `result.json` and `uncertainty.json` of a run of this project, or None.
        backend: what runs it, "ONNX Runtime", or "torch" with the reason.
        network: that, from preprocessed images to logits and features.
    """

    name: str
    classes: list[str]
    result: RunResult | None
    uncertainty: Uncertainty | None
    backend: str
    network: Run

    def __init__(self, place: str, threads: int | None = None) -> None:
        """Read the record of a run folder, or open what is none.

        Args:
            threads: of ONNX Runtime for one image; by default the processors that this program may use.

        Raises:
            ValueError: as of `open`.
        """
        self.place = place
        self._threads = threads or available_cpus()
        self._opened: LoadedModel | None = None
        self._torch = threading.Lock()  # of all that hooks the network
        self._layer: TargetLayer | None = None  # of the maps, found with the first one
        with _cannot_be_opened(place):
            record = _record(Path(place))
        if record is None:
            self.open()
        else:
            self.result, self.uncertainty = record
            self.classes = self.uncertainty.classes
            self.name = self.result.title

    def open(self) -> None:
        """Load the network, its processor and its OOD detector, where they are not loaded.

        From then on torch has one thread in this process: slices are small, many visitors come at once, and its
        threads would wait for each other. ONNX Runtime has its own.

        Raises:
            ValueError: if the place cannot be opened, naming it and the reason.
        """
        if self._opened:
            return
        import torch

        from brainmri.evaluation.backend import Backend, by_onnx_runtime, by_torch
        from brainmri.evaluation.load import load_model

        torch.set_num_threads(1)
        with _cannot_be_opened(self.place):
            opened = load_model(self.place)
            if opened.uncertainty and opened.uncertainty.classes != opened.classes:
                raise ValueError("its uncertainty.json is of other classes")
            if opened.ood_detector:
                opened.network.get_submodule(opened.ood_detector.layer)
            self._opened = opened
            self.name = getattr(self, "name", opened.name)  # of two that are called alike, one has another by now
            self.classes, self.result, self.uncertainty = opened.classes, opened.result, opened.uncertainty
            wide, tall = (self.preprocessed(Image.new("RGB", size)).shape for size in EXAMPLE_SIZES)
            try:
                if wide != tall:
                    raise ValueError("it takes images of any size")
                self.network = by_onnx_runtime(opened, (wide[2], wide[3]), self._threads)
                self.backend = "ONNX Runtime"
            except ValueError as reason:
                layer = opened.ood_detector.layer if opened.ood_detector else None
                self.network = by_torch(opened.network, layer, self._torch)
                self.backend = f"torch ({reason})"
            name: BackendName = "onnx" if self.backend == "ONNX Runtime" else "torch"
            self._one = Backend(name, lambda images: self.network(self.preprocessed(images[0]).numpy()), workers=1)

    @property
    def opened(self) -> LoadedModel:
        self.open()
        assert self._opened
        return self._opened

    def judge(self, images: Sequence[Image.Image], told: tuple[str, str] = ("", "")) -> list[Prediction]:
        """A judgement of each image, of any mode and size; see `upright_8_bit`.

        Args:
            told: sequence and plane, as their file says them; "" where it does not.

        Raises:
            RejectedImage: for an image of more than 8 bits that is blank.
        """
        found = self.opened
        return [one for image in images for one in found.classify([upright_8_bit(image)], self._one, [told])]

    def pooled(self, slices: Sequence[Prediction]) -> PatientPrediction:
        """One answer from those for the slices of a scan (at least one), as `LoadedModel.predict_scan` gives it."""
        from brainmri.evaluation.pooling import patient_prediction

        return patient_prediction(slices, self.opened.pooling)

    def map(self, image: Image.Image, label: str | None = None) -> NDArray[np.float32]:
        """Where the evidence for a class lies (Grad-CAM), over the image as it is seen, upright: float32 (H, W).

        It is 0..1, in shares of its own maximum. What the network's preprocessing cuts off is 0.

        Args:
            label: one of `classes`; None takes the predicted one.

        Raises:
            ValueError: if there is no such class, the network has no layer with places, or the map would point
                nowhere: the image is of one brightness, or no place speaks for the class more than another.
            RejectedImage: as of `judge`.
        """
        if label is not None and label not in self.classes:
            raise ValueError(f"{self.name} has no class {label!r}: it has {', '.join(self.classes)}")
        import torch

        from brainmri.evaluation.explain.grad_cam import grad_cam, target_layer
        from brainmri.models.layers import bare_network

        upright = upright_8_bit(image)
        darkest, brightest = upright.convert("L").getextrema()
        if darkest == brightest:
            raise ValueError("the slice is of one brightness, so there is nothing in it to point at")
        pixels = self.preprocessed(upright)
        chosen = None if label is None else torch.tensor([self.classes.index(label)])
        network = bare_network(self.opened.network)
        with self._torch:
            try:
                self._layer = self._layer or target_layer(network, pixels)
            except ValueError as error:
                raise ValueError("this network has no layer that has places") from error
            maps, _ = grad_cam(network, self._layer, pixels, chosen)
        highest = float(maps.max())
        if highest - float(maps.min()) <= FLAT * highest:
            raise ValueError("nothing in the slice speaks for this class more than the rest of it")
        found = laid_over(maps[0].numpy(), frame_of(self.opened.processor, *upright.size), *upright.size)
        return found / found.max()

    def preprocessed(self, image: Image.Image) -> torch.Tensor:
        """What the network gets of an upright 8-bit image, float (1, 3, h, w)."""
        prepared: torch.Tensor = self.opened.processor(images=[image.convert("RGB")], return_tensors="pt")[
            "pixel_values"
        ]
        return prepared


def known_models(places: Sequence[str], threads: int | None = None) -> list[DemoModel]:
    """Run folders, folders of saved models and Hub repositories `OWNER/NAME[@REVISION]`, each once.

    No code of a folder or repository is executed. Only places of the program's own settings may be given, never one
    that a visitor typed. Run folders are not open yet: `DemoModel.open`.

    Args:
        threads: of ONNX Runtime for one image; by default the processors that this program may use.

    Raises:
        ValueError: for the first place that cannot be opened, naming it and the reason.
    """
    models = [DemoModel(place, threads) for place in dict.fromkeys(places)]
    same = Counter(model.name for model in models)
    for number, model in enumerate(models, 1):
        if same[model.name] > 1:
            model.name = f"{model.name}, model {number}"
    return models


def open_models(places: Sequence[str], threads: int | None = None) -> list[DemoModel]:
    """`known_models`, all of them open."""
    models = known_models(places, threads)
    for model in models:
        model.open()
    return models


def _record(folder: Path) -> tuple[RunResult, Uncertainty] | None:
    """`result.json` and `uncertainty.json` of a finished run of this project; None for anything else."""
    model = all((folder / name).is_file() for name in ("config.json", "model.safetensors"))
    return read_record(folder) if model else None


@contextmanager
def _cannot_be_opened(place: str) -> Iterator[None]:
    """Raises ValueError, naming the place, for what a folder that is no model or another's raises."""
    try:
        yield
    except (ValueError, KeyError, OSError, AttributeError) as error:  # AttributeError: a rule of another network
        reason = str(error).removeprefix(f"{place}: ") or type(error).__name__
        raise ValueError(f"{place} cannot be opened: {reason}") from error


def file_of(place: str, name: str) -> Path | None:
    """A file of a run folder or of a repository on the Hub (`OWNER/NAME[@REVISION]`); None where it has none."""
    if Path(place).is_dir():
        file = Path(place) / name
        return file if file.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repo_id, _, revision = place.partition("@")
    try:
        return Path(hf_hub_download(repo_id, name, revision=revision or None))
    except (EntryNotFoundError, LocalEntryNotFoundError):  # not published, or not in the cache and no network
        return None


class Frame(NamedTuple):
    """The part of an image that the network sees, in shares of the image's width and height.

    (0, 0, 1, 1) is the whole image. A network whose processor cuts the edges off sees less, one whose processor pads
    sees more.
    """

    left: float
    top: float
    right: float
    bottom: float


def frame_of(processor: BaseImageProcessor, width: int, height: int) -> Frame:
    """What an image processor takes of an image of this size, to about one part in a hundred.

    It is seen by what the processor makes of two ramps, one across and one down, beside black and white.
    """
    across, down = ((np.arange(length) + 0.5) / length for length in (width, height))
    ramps = np.zeros((height, width, 3), np.uint8)
    ramps[..., 0] = np.round(255 * across)
    ramps[..., 1] = np.round(255 * down)[:, None]
    images = [Image.new("RGB", (width, height), colour) for colour in ("black", "white")] + [Image.fromarray(ramps)]
    black, white, seen = (processor(images=[image], return_tensors="pt")["pixel_values"][0] for image in images)
    shares = (seen - black) / (white - black)  # no number where the processor pads
    left, right = _ends(shares[0].nanmean(dim=0).numpy())
    top, bottom = _ends(shares[1].nanmean(dim=1).numpy())
    return Frame(left, top, right, bottom)


def _ends(places: NDArray[np.floating]) -> tuple[float, float]:
    """Where the first of equal steps begins and the last one ends, from the middle half of the places (N,).

    Near the edges a smooth resampling moves the places, and padding has none.
    """
    low, high = len(places) // 4, len(places) - 1 - len(places) // 4
    step = (places[high] - places[low]) / (high - low)
    start = places[low] - step * (low + 0.5)
    return round(float(start), 2), round(float(start + step * len(places)), 2)


def laid_over(found: NDArray[np.floating], frame: Frame, width: int, height: int) -> NDArray[np.float32]:
    """A map (h, w) of what the network saw, on the whole image: float32 (height, width), bilinear.

    Each place of the map stands in the middle of its share of the frame. Outside of the frame it is 0.
    """
    rows = _weights(height, found.shape[0], frame.top, frame.bottom)
    columns = _weights(width, found.shape[1], frame.left, frame.right)
    return rows @ found.astype(np.float32) @ columns.T


def _weights(length: int, places: int, start: float, end: float) -> NDArray[np.float32]:
    """(length, places): how much each place counts for each pixel of a line."""
    share = ((np.arange(length) + 0.5) / length - start) / (end - start)
    weights = [np.interp(share * places - 0.5, np.arange(places), one) for one in np.eye(places)]
    inside = (share >= 0) & (share <= 1)
    return (np.stack(weights, axis=1) * inside[:, None]).astype(np.float32)
