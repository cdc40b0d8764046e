"""The models of the demo: opened once, then asked about pictures."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from brainmri.data.images import upright_8_bit
from brainmri.demo.backend import by_onnx_runtime, by_torch
from brainmri.demo.judging import Judgement, judgement
from brainmri.demo.maps import frame_of, laid_over
from brainmri.evaluation.explanation.grad_cam import TargetLayer, grad_cam, target_layer
from brainmri.evaluation.floors import global_statistics
from brainmri.evaluation.opening import OpenedModel, open_model
from brainmri.models.parts import bare_network
from brainmri.training.machine import available_cpus

EXAMPLE_SIZES = ((320, 240), (240, 320))  # whose preprocessed pictures differ in size where no one size is asked for


class DemoModel:
    """A model that is asked by many at once.

    name: shown to visitors, unlike that of any other model. place: the folder or Hub ID, as the settings have it.
    classes: the names of its outputs. result, trust: `result.json` and `trust.json` of a run of this project, or None.
    backend: what runs it, "ONNX Runtime", or "torch" with the reason. network: that, from preprocessed pictures to
    logits and features.
    """

    def __init__(self, place: str, opened: OpenedModel, threads: int) -> None:
        self.name = opened.name
        self.place = place
        self.classes = opened.classes
        self.result: dict[str, Any] | None = opened.result
        self.trust: dict[str, Any] | None = opened.trust
        self._opened = opened
        self._torch = threading.Lock()  # of all that hooks the network
        self._layer: TargetLayer | None = None  # of the maps, found with the first one
        wide, tall = (self.preprocessed(Image.new("RGB", size)).shape for size in EXAMPLE_SIZES)
        try:
            if wide != tall:
                raise ValueError("it takes pictures of any size")
            self.network = by_onnx_runtime(opened, (wide[2], wide[3]), threads)
            self.backend = "ONNX Runtime"
        except ValueError as reason:
            self.network = by_torch(opened, self._torch)
            self.backend = f"torch ({reason})"

    def judge(self, pictures: Sequence[Image.Image]) -> list[Judgement]:
        """A judgement of each picture, of any mode and size; see `upright_8_bit`.

        Raises:
            RejectedImage: for a picture of more than 8 bits that is blank.
        """
        return [self._judged(picture) for picture in pictures]

    def map(self, picture: Image.Image, label: str | None = None) -> NDArray[np.float32]:
        """Where the evidence for a class lies (Grad-CAM), over the picture as it is seen, upright: float32 (H, W).

        It is 0..1, in shares of its own maximum, and 0 everywhere where nothing speaks for the class. What the
        network's preprocessing cuts off is 0.

        Args:
            label: one of `classes`; None takes the predicted one.

        Raises:
            ValueError: if there is no such class, or the network has no layer with places.
            RejectedImage: as of `judge`.
        """
        if label is not None and label not in self.classes:
            raise ValueError(f"{self.name} has no class {label!r}: it has {', '.join(self.classes)}")
        upright = upright_8_bit(picture)
        pixels = self.preprocessed(upright)
        chosen = None if label is None else torch.tensor([self.classes.index(label)])
        network = bare_network(self._opened.model)
        with self._torch:
            try:
                self._layer = self._layer or target_layer(network, pixels)
            except ValueError as error:
                raise ValueError(f"{self.name} has no layer with places, so there is no map of it") from error
            maps, _ = grad_cam(network, self._layer, pixels, chosen)
        found = laid_over(maps[0].numpy(), frame_of(self._opened.processor, *upright.size), *upright.size)
        return found / highest if (highest := found.max()) > 0 else found

    def preprocessed(self, picture: Image.Image) -> torch.Tensor:
        """What the network gets of an upright 8-bit picture, float (1, 3, h, w)."""
        prepared: torch.Tensor = self._opened.processor(images=[picture.convert("RGB")], return_tensors="pt")[
            "pixel_values"
        ]
        return prepared

    def _judged(self, picture: Image.Image) -> Judgement:
        started = time.perf_counter()
        upright = upright_8_bit(picture)
        logits, features = self.network(self.preprocessed(upright).numpy())
        rule = self._opened.rule
        distance = None
        if rule is not None and features is not None:
            distance = float(rule.score(features, global_statistics(upright)[None])[0])
        milliseconds = 1000 * (time.perf_counter() - started)
        return judgement(logits[0], distance, self.classes, self.trust, rule, milliseconds)


def open_models(places: Sequence[str], threads: int | None = None) -> list[DemoModel]:
    """Open run folders, folders of saved models and Hub repositories `OWNER/NAME[@REVISION]`, each once.

    No code of a folder or repository is executed. Only places of the program's own settings may be given, never one
    that a visitor typed.

    From then on torch has one thread in this process: slices are small, many visitors come at once, and its threads
    would wait for each other. ONNX Runtime has its own.

    Args:
        threads: of ONNX Runtime for one picture; by default the processors that this program may use.

    Raises:
        ValueError: for the first place that cannot be opened, naming it and the reason.
    """
    torch.set_num_threads(1)
    models = [_opened(place, threads or available_cpus()) for place in dict.fromkeys(places)]
    same = Counter(model.name for model in models)
    for number, model in enumerate(models, 1):
        if same[model.name] > 1:
            model.name = f"{model.name}, model {number}"
    return models


def _opened(place: str, threads: int) -> DemoModel:
    try:
        opened = open_model(place)
        if opened.trust and opened.trust["classes"] != opened.classes:
            raise ValueError("its trust.json is of other classes")
        if opened.rule:
            opened.model.get_submodule(opened.rule.layer)
        return DemoModel(place, opened, threads)
    except (ValueError, KeyError, OSError, AttributeError) as error:  # AttributeError: a rule of another network
        reason = str(error).removeprefix(f"{place}: ") or type(error).__name__
        raise ValueError(f"{place} cannot be opened: {reason}") from error
