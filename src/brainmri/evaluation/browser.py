"""A model for the demo that runs in a browser: `model.onnx`, and `model.json` with everything else that it knows.

The page computes what `brainmri predict` computes, from these files and from the weights of the small network that
tells sequence and plane; tests compare them slice by slice.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from brainmri.data.dataset import class_without_tumour
from brainmri.evaluation.explain.grad_cam import TargetLayer, grad_cam, target_layer
from brainmri.evaluation.run_warnings import cautions
from brainmri.evaluation.sequence import ESTIMATOR, estimator_weights
from brainmri.files import sha256
from brainmri.metrics.pooling import DEFAULT, MEAN
from brainmri.models.layers import NoClassifierLayer, bare_network, classifier_layer, features_of
from brainmri.models.numpy_preprocessing import numpy_preprocessing
from brainmri.models.onnx import TOLERANCE, export_onnx, some_pixels
from brainmri.models.sessions import onnx_session
from brainmri.schemas import (
    BrowserConformal,
    BrowserDetector,
    BrowserFigures,
    BrowserModel,
    FloatArray,
    write,
)

if TYPE_CHECKING:
    from brainmri.evaluation.model import LoadedModel
    from brainmri.evaluation.ood.detector import OODDetector

MODEL, NETWORK = "model.json", "model.onnx"


class BrowserNetwork(torch.nn.Module):
    """Pixels (B, 3, H, W) to logits (B, C), features (B, D) and maps (B, C, h, w), as far as a network has them.

    The map of a class is what `grad_cam` gives where the features are the means of maps and the classifier is linear:
    the maps, weighted by the class' weights, in the unit of the logits. No gradient is needed for that.
    """

    def __init__(self, model: torch.nn.Module, bare: torch.nn.Module, layer: str | None, maps: str | None) -> None:
        super().__init__()
        self.model = model
        self.bare = bare
        self.layer = layer
        self.maps = maps

    @property
    def outputs(self) -> list[str]:
        """The names of what it gives."""
        return ["logits", *["features"] * bool(self.layer), *["maps"] * bool(self.maps)]

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen: list[torch.Tensor] = []
        hooks = []
        if self.maps:
            module = self.bare.get_submodule(self.maps)
            hooks.append(module.register_forward_hook(lambda _module, _inputs, output: seen.append(output)))
        with features_of(self.model, self.layer) as features:
            logits = self.model(pixel_values=pixel_values).logits
        for hook in hooks:
            hook.remove()
        found = (logits, *features)
        if not self.maps:
            return found
        assert self.layer
        weight = self.model.get_submodule(self.layer).weight
        places = seen[0].shape[2] * seen[0].shape[3]
        assert isinstance(weight, torch.Tensor)
        return (*found, torch.relu(torch.einsum("bkhw,ck->bchw", seen[0], weight / places)))


def write_browser_model(model: LoadedModel, folder: Path) -> BrowserModel:
    """Write `model.onnx`, `model.json` and the estimator of sequence and plane into a folder, which exists.

    Raises:
        ValueError: if the image processor does what the page cannot (crops, pads, other filters), ONNX cannot express
            the network, or gives other values.
    """
    pixels = numpy_preprocessing(model.processor)
    if pixels is None:
        raise ValueError(
            f"{model.name}: its image processor crops, pads or filters in a way of its own, which the demo in the "
            "browser does not; train or choose a model that squashes its images to one size"
        )
    network = _network(model, pixels.size)
    path = folder / NETWORK
    try:
        export_onnx(network, some_pixels(2, pixels.size), path, outputs=network.outputs, any_batch=True)
    except Exception as error:  # exporters have many of their own, without a common class
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"{model.name}: ONNX cannot express this network: {first}") from error
    _compare(network, path, pixels.size)
    without = class_without_tumour(model.classes)
    uncertainty = model.uncertainty
    conformal = uncertainty.conformal if uncertainty else None
    pooling = uncertainty.pooling if uncertainty else None
    found = BrowserModel(
        name=model.name,
        classes=model.classes,
        without_tumour=None if without is None else model.classes.index(without),
        network=NETWORK,
        sha256=sha256(path),
        maps=network.maps is not None,
        features=network.layer is not None,
        pixels=pixels.settings,
        temperature=model.temperature,
        conformal=BrowserConformal(
            coverage=1 - conformal.alpha,
            thresholds=list(conformal.thresholds(model.classes)),
            calibrated=conformal.probabilities != "uncalibrated",
        )
        if conformal
        else None,
        detector=_detector(model.ood_detector) if model.ood_detector else None,
        pooling=pooling.rule if pooling else MEAN if without is None else DEFAULT,
        pooling_threshold=pooling.threshold if pooling else None,
        figures=_figures(model),
        kinds=uncertainty.kinds if uncertainty else None,
        cautions=cautions(model.result),
    )
    write(found, folder / MODEL)
    (folder / ESTIMATOR).write_bytes(estimator_weights())
    return found


def _network(model: LoadedModel, size: tuple[int, int]) -> BrowserNetwork:
    network, pixels = model.network.eval(), some_pixels(2, size)
    bare = bare_network(network)
    layer = model.ood_detector.layer if model.ood_detector else None
    if layer is None:
        try:
            layer = classifier_layer(network, pixels)
        except NoClassifierLayer:
            return BrowserNetwork(network, bare, None, None)
    try:
        target = target_layer(bare, pixels)
    except ValueError:  # no layer with places
        return BrowserNetwork(network, bare, layer, None)
    maps = target.name if _is_class_activation(network, bare, layer, target, pixels) else None
    return BrowserNetwork(network, bare, layer, maps).eval()


def _is_class_activation(
    network: torch.nn.Module, bare: torch.nn.Module, layer: str, target: TargetLayer, pixels: torch.Tensor
) -> bool:
    """Whether Grad-CAM at the layer `target` is the sum of its maps by the classifier's weights."""
    classifier = network.get_submodule(layer)
    if target.form != "maps" or not isinstance(classifier, torch.nn.Linear):
        return False
    seen: list[torch.Tensor] = []
    hook = bare.get_submodule(target.name).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        with torch.inference_mode():
            network(pixel_values=pixels)
    finally:
        hook.remove()
    if not isinstance(seen[0], torch.Tensor) or seen[0].shape[1] != classifier.in_features:
        return False
    with torch.inference_mode():
        found = BrowserNetwork(network, bare, layer, target.name)(pixels)
    expected, logits = grad_cam(bare, target, pixels)
    chosen = found[-1][torch.arange(len(pixels)), logits.argmax(1)]
    return bool((chosen - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp(min=1e-3))


@torch.inference_mode()
def _compare(network: BrowserNetwork, path: Path, size: tuple[int, int]) -> None:
    pixels = some_pixels(1, size)
    found = onnx_session(path).run(network.outputs, {"pixel_values": pixels.numpy()})
    for name, value, expected in zip(network.outputs, found, network(pixels), strict=True):
        difference = np.abs(value - expected.numpy()).max() / max(1.0, float(expected.abs().max()))
        if not difference <= TOLERANCE:
            raise ValueError(f"{path.name}: the {name} of ONNX Runtime differ from torch's by {difference:.1g}")


def _array(values: NDArray[np.float32]) -> FloatArray:
    contiguous = np.ascontiguousarray(values, "<f4")
    return FloatArray(shape=list(values.shape), base64=base64.urlsafe_b64encode(contiguous.tobytes()).decode())


def _detector(rule: OODDetector) -> BrowserDetector:
    return BrowserDetector(
        threshold=rule.threshold,
        means=_array(rule.means),
        directions=_array(rule.directions),
        deviations=_array(rule.deviations),
        statistics_mean=_array(rule.statistics_mean),
        statistics_whitening=_array(rule.statistics_whitening),
        units=_array(rule.units),
    )


def _figures(model: LoadedModel) -> BrowserFigures | None:
    result, uncertainty = model.result, model.uncertainty
    if result is None or uncertainty is None:
        return None
    test, conformal = result.test, uncertainty.conformal
    return BrowserFigures(
        data=result.data.name,
        simulated=result.data.simulated,
        accuracy=test.accuracy if test else None,
        accuracy_ci95=test.accuracy_ci95 if test else None,
        ece=uncertainty.calibration.test_ece_after if uncertainty.calibration else None,
        coverage=conformal.test_coverage if conformal else None,
        coverage_ci95=conformal.test_coverage_ci95 if conformal else None,
        refused=uncertainty.ood.test.rejected if uncertainty.ood else None,
    )
