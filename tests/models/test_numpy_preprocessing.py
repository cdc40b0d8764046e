"""What an image processor does, in numpy: the same pixels, without torch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional
from transformers import TimmWrapperConfig, TimmWrapperForImageClassification, ViTImageProcessor

from brainmri.io.decode import resized
from brainmri.models.load import load_processor, save_model
from brainmri.models.numpy_preprocessing import numpy_preprocessing, resized_as_torchvision
from brainmri.models.preprocessing import FORMULAS, image_processor, normalized
from brainmri.recipe import Normalization

native = pytest.mark.skipif(
    not {"AVX2", "AVX512"} & {torch.backends.cpu.get_cpu_capability()}, reason="torch resizes floats on this processor"
)


@native
@pytest.mark.parametrize("seed", range(40))
def test_the_resize_is_that_of_torchvision(seed: int) -> None:
    generator = np.random.default_rng(seed)
    h, w, height, width = (int(side) for side in generator.integers(8, 600, 4))
    pixels = generator.integers(0, 256, (h, w, int(generator.choice([1, 3]))), np.uint8)
    tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    expected = functional.resize(tensor, [height, width], antialias=True).numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(resized_as_torchvision(pixels, height, width), expected)


@native
def test_a_large_image_is_resized_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    whole = resized_as_torchvision(pixels, 32, 48)
    monkeypatch.setattr("brainmri.models.numpy_preprocessing.BLOCK", 500)
    np.testing.assert_array_equal(resized_as_torchvision(pixels, 32, 48), whole)


@native
@pytest.mark.parametrize("formula", FORMULAS)
def test_the_pixels_are_those_of_the_image_processor(formula: Normalization) -> None:
    processor = image_processor(64, formula)
    found = numpy_preprocessing(processor)
    assert found is not None
    assert found.settings.resampling == "torchvision"
    images = [
        Image.fromarray(np.random.default_rng(1).integers(0, 256, shape, np.uint8)) for shape in ((90, 80), (50, 64, 3))
    ]
    expected = processor(images=[image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"]
    scale = float(expected.abs().max())
    np.testing.assert_allclose(found(images), expected.numpy(), atol=2e-6 * max(1.0, scale))


def test_timm_resizes_by_pillow() -> None:
    from transformers.models.timm_wrapper.image_processing_timm_wrapper import TimmWrapperImageProcessor

    settings = {"input_size": [3, 64, 64], "interpolation": "bilinear", "crop_mode": "squash", "crop_pct": 1.0}
    settings |= {"mean": [0.5] * 3, "std": [0.5] * 3}
    found = numpy_preprocessing(TimmWrapperImageProcessor(settings))
    assert found is not None
    assert found.settings.resampling == "pillow"
    assert numpy_preprocessing(TimmWrapperImageProcessor(settings | {"crop_mode": "center", "crop_pct": 0.9})) is None


@pytest.mark.parametrize("changes", [{"resample": 3}, {"do_resize": False}, {"size": {"shortest_edge": 64}}])
def test_what_another_processor_does_is_left_to_it(changes: dict) -> None:
    plain = {"size": {"height": 64, "width": 64}, "resample": 2}
    assert numpy_preprocessing(ViTImageProcessor(**plain)) is not None
    assert numpy_preprocessing(ViTImageProcessor(**plain | changes)) is None


@native
def test_a_saved_timm_backbone_gets_the_pixels_that_it_was_trained_on(tmp_path: Path) -> None:
    """Whatever its preprocessor_config.json says, transformers resizes for timm by Pillow, up to two levels beside."""
    network = TimmWrapperForImageClassification(TimmWrapperConfig(architecture="test_resnet", num_labels=2))
    save_model(network, image_processor(64, "half"), tmp_path)
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 80), np.uint8))
    pixels = load_processor(str(tmp_path))(images=[image.convert("RGB")], return_tensors="pt")["pixel_values"]
    trained_on = normalized(torch.from_numpy(resized(image, 64))[None].float(), "half")
    torch.testing.assert_close(pixels, trained_on, atol=2e-6, rtol=0)
