"""Write a model as ONNX, OpenVINO or torch.export, compared with torch.

    brainmri export runs/brain-tumor-resnet50-clean-seed42 --out resnet50
    brainmri export OWNER/NAME@REVISION --format openvino  # needs pip install -e '.[export]'

MODEL is a run folder, a folder with a saved model, or a repository of the Hub. The file takes `pixel_values`, float32
(any number of images, 3, height, width), and gives `logits`. Beside it stand

  FORMAT.json               class names, preprocessing, temperature (probabilities are softmax(logits / temperature)),
                            conformal thresholds, and how far its logits are from torch's
  preprocessor_config.json  the same preprocessing, for transformers.AutoImageProcessor

The OOD detector is not part of it: `brainmri predict` has it.

onnx          model.onnx, for ONNX Runtime
openvino      model.xml and model.bin, weights in float32. Compile it with {"INFERENCE_PRECISION_HINT": "f32"}, as the
              comparison here does: by itself OpenVINO computes in bfloat16 where the processor has it.
torch_export  model.pt2, for torch.export.load(...).module(), without this package or transformers
"""

from __future__ import annotations

import argparse
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.cli.command import Parser, add_trust_remote_code

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from transformers import BaseImageProcessor

    from brainmri.evaluation.model import LoadedModel
    from brainmri.schemas import ExportedModel

FORMATS = ("onnx", "openvino", "torch_export")  # as of brainmri.models.export, for which --help does not wait
PACKAGES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino"), "torch_export": ()}
PREPROCESSING = ["do_convert_rgb", "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale"]
PREPROCESSING += ["rescale_factor", "do_normalize", "image_mean", "image_std"]
SUBJECTS = 3  # of the phantom, whose slices the comparison is made on
SLICES = 4  # of each


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="what is exported")
    parser.add_argument("--format", default="onnx", choices=FORMATS, help="of the file (default: %(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to write into (default: exports/NAME-DIGEST), one for all formats",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what --out holds of another model")
    add_trust_remote_code(parser)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()

    # Imported late, so that --help and a mistake in the arguments do not wait for everything.
    from brainmri.errors import writing
    from brainmri.evaluation.load import load_model
    from brainmri.evaluation.scored import weights_digest
    from brainmri.files import check_output, default_output, output
    from brainmri.models.export import check_installed, export_model
    from brainmri.schemas import write

    check_installed(arguments.format)
    model = load_model(arguments.model, trust_remote_code=arguments.trust_remote_code)
    processor = written_processor(model)
    pixels = _pixels(model, _images())
    inputs = weights_digest(model)
    out: Path = arguments.out or default_output(Path("exports"), Path(arguments.model).name, inputs)
    check_output(out, "export", dict.fromkeys(FORMATS, inputs), overwrite=arguments.overwrite)
    print(f"Writing {model.name} as {arguments.format} into {out}")
    with (
        writing(out),
        output(out, "export", inputs, part=arguments.format, overwrite=arguments.overwrite) as new,
    ):
        size = (pixels.shape[2], pixels.shape[3])
        difference = export_model(model.network, size, arguments.format, new, pixels)
        processor.save_pretrained(new)
        write(_described(model, processor, arguments.format, pixels, difference), new / f"{arguments.format}.json")
    print(f"Largest difference from torch on {len(pixels)} images: {difference:.1e} of the largest logit. Wrote {out}")


def _images() -> list[Image.Image]:
    """Slices of simulated heads."""
    import numpy as np
    from PIL import Image

    from brainmri.data.phantom.generate import draw_slices, draw_subject

    images = []
    for subject in range(SUBJECTS):
        rng = np.random.default_rng([0, subject])
        drawn = draw_slices(rng, draw_subject(rng, subject), SLICES, 128)
        images += [Image.fromarray(image) for _, _, image, _ in drawn]
    return images


def _pixels(model: LoadedModel, images: list[Image.Image]) -> torch.Tensor:
    """Preprocessed images (N, 3, H, W).

    Raises:
        ValueError: if the model takes images of any size, so that no size can be written into a file.
    """
    from PIL import Image

    sizes = {
        tuple(model.processor(images=[Image.new("RGB", size)], return_tensors="pt")["pixel_values"].shape)
        for size in ((320, 240), (240, 320))
    }
    if len(sizes) > 1:
        raise ValueError(f"{model.name} takes images of any size: set one in its preprocessor_config.json")
    pixels: torch.Tensor = model.processor(images=[image.convert("RGB") for image in images], return_tensors="pt")[
        "pixel_values"
    ]
    return pixels


def written_processor(model: LoadedModel) -> BaseImageProcessor:
    """The image processor as a file holds it; timm's stands in a config.json only, so that an equal one is written.

    Raises:
        ValueError: if timm's crops the images, which no processor of one resize does.
    """
    from PIL import Image
    from transformers import ViTImageProcessor

    timm: dict[str, Any] | None = getattr(model.processor, "data_config", None)
    if timm is None:
        return model.processor
    if timm["crop_pct"] != 1 or timm["crop_mode"] != "squash":
        raise ValueError(
            f"{model.name} crops its images ({timm['crop_mode']}, {timm['crop_pct']}), which preprocessor_config.json "
            "cannot say: export a model that squashes them, as those of this project do"
        )
    return ViTImageProcessor(
        do_convert_rgb=True,
        do_resize=True,
        size=dict(zip(("height", "width"), timm["input_size"][1:], strict=True)),
        resample=Image.Resampling[timm["interpolation"].upper()],
        do_rescale=True,
        do_normalize=True,
        image_mean=list(timm["mean"]),
        image_std=list(timm["std"]),
    )


def _described(
    model: LoadedModel, written: BaseImageProcessor, kind: str, pixels: torch.Tensor, difference: float
) -> ExportedModel:
    """What someone needs who has the file alone."""
    from brainmri.models.export import FORMATS as FILES
    from brainmri.schemas import ExportedModel, TensorSpec, TorchComparison

    processor = written.to_dict()
    plausible = (
        "classes with 1 - softmax(logits) <= conformal_thresholds, and the likeliest"
        if model.conformal_thresholds
        else None
    )
    return ExportedModel(
        format=kind,
        file=FILES[kind],
        model=model.name,
        classes=model.classes,
        input=TensorSpec(name="pixel_values", type="float32", shape=["images", *pixels.shape[1:]]),
        output=TensorSpec(name="logits", type="float32", shape=["images", len(model.classes)]),
        preprocessing={name: processor[name] for name in PREPROCESSING if processor.get(name) is not None},
        temperature=model.temperature,
        probabilities="softmax(logits)" if model.temperature is None else "softmax(logits / temperature)",
        conformal_thresholds=model.conformal_thresholds,
        prediction_set=plausible,
        compared_with_torch=TorchComparison(images=len(pixels), largest_difference=difference),
        versions={name: metadata.version(name) for name in ("torch", *PACKAGES[kind])},
    )
