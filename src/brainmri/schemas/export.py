"""`FORMAT.json` beside an exported model, and `simulated.json` beside simulated images."""

from __future__ import annotations

from typing import Any, Literal

from brainmri.schemas.base import Record


class TensorSpec(Record):
    """An input or output of an exported model.

    Attributes:
        shape: numbers, or a word for what may be any number.
    """

    name: str
    type: str
    shape: list[int | str]


class TorchComparison(Record):
    """By how much the exported model differs from torch.

    Attributes:
        images: number of simulated slices that both were asked of.
        largest_difference: of their logits, as a share of the largest logit.
    """

    images: int
    largest_difference: float


class ExportedModel(Record):
    """`onnx.json`, `openvino.json` or `torch_export.json`: what someone needs who has the exported file alone.

    Attributes:
        format: as `--format` names it. file: that holds the network. model: its name.
        classes: the label names, in the order of the outputs.
        preprocessing: the settings of the image processor that are set.
        temperature: by which logits are divided; None without one. probabilities: the same as a formula.
        conformal_threshold: of the prediction sets, 0..1; None without them. prediction_set: the same as a formula.
        versions: of the packages that wrote the file.
    """

    schema_version: Literal[1] = 1
    format: str
    file: str
    model: str
    classes: list[str]
    input: TensorSpec
    output: TensorSpec
    preprocessing: dict[str, Any]
    temperature: float | None
    probabilities: str
    conformal_threshold: float | None
    prediction_set: str | None
    compared_with_torch: TorchComparison
    versions: dict[str, str]


class SimulatedImages(Record):
    """`simulated.json` in the folder of a generator's images.

    Attributes:
        generator, version, seed: what made them.
        images: a digest of the pixels of each image, by its path in the folder.
    """

    schema_version: Literal[1] = 1
    generator: str
    version: int
    seed: int
    images: dict[str, str]
