from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

from brainmri.data.statistics import global_statistics
from brainmri.evaluation.inference import infer
from brainmri.evaluation.ood.detector import OODDetector
from brainmri.models.layers import classifier_layer, features_of
from brainmri.models.preprocessing import image_processor

SIDE = 64


def slices(n, seed):
    """Grey blobs on black."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    discs = [(x / a) ** 2 + (y / b) ** 2 < 1 for a, b in rng.uniform(0.5, 0.9, (n, 2))]
    return [Image.fromarray((disc * rng.integers(60, 200, (SIDE, SIDE))).astype(np.uint8)) for disc in discs]


@pytest.fixture(scope="module")
def judge():
    torch.manual_seed(0)
    config = TimmWrapperConfig(architecture="test_efficientnet", num_labels=3)
    model, processor = TimmWrapperForImageClassification(config).eval(), image_processor(SIDE, "half")
    layer = classifier_layer(model, torch.randn(2, 3, SIDE, SIDE))

    def features(images):
        inputs = processor(images=[image.convert("RGB") for image in images], return_tensors="pt")
        with torch.no_grad(), features_of(model, layer) as seen:
            named = model(**inputs).logits.argmax(1).numpy()
        return seen[0].numpy(), np.stack([global_statistics(image) for image in images]), named

    return model, processor, OODDetector.fit(layer, 3, features(slices(60, 1)), features(slices(40, 2)))


def test_probabilities_scores_and_verdict_come_together(judge):
    model, processor, rule = judge
    found = infer(slices(7, 3), model, processor, rule, batch_size=3)
    assert found.probabilities.shape == (7, 3)
    assert np.allclose(found.probabilities.sum(1), 1)
    assert found.scores.shape == found.rejected.shape == (7,)
    assert np.array_equal(found.rejected, found.scores > rule.threshold)
    plain = infer(slices(7, 3), model, processor)
    assert np.array_equal(plain.probabilities, infer(slices(7, 3), model, processor, rule).probabilities)
    assert plain.scores is None
    assert plain.rejected is None


def test_the_batch_size_does_not_matter(judge):
    model, processor, rule = judge
    images = slices(6, 4)
    together, apart = (infer(images, model, processor, rule, batch_size=size) for size in (6, 1))
    assert np.allclose(together.scores, apart.scores, rtol=1e-4)
    assert np.allclose(together.probabilities, apart.probabilities, atol=1e-6)


def test_images_of_any_mode_are_judged_as_what_they_show(judge):
    model, processor, rule = judge
    grey = slices(1, 5)[0]
    values = np.asarray(grey)
    alpha = Image.fromarray(np.where(values > 0, 255, 0).astype(np.uint8))
    transparent = Image.merge(
        "RGBA", (*[Image.fromarray(np.where(values > 0, values, 90).astype(np.uint8))] * 3, alpha)
    )
    same = [grey, grey.convert("RGB"), grey.convert("P"), grey.convert("LA"), transparent]
    found = infer(same, model, processor, rule)
    assert np.allclose(found.scores, found.scores[0], rtol=1e-4)
    deep = (values.astype(np.float64) - values.min()) * (60000 / (values.max() - values.min()))
    wide = (values.astype(np.float64) - values.min()) * (255 / (values.max() - values.min()))
    pair = [Image.fromarray(deep.astype(np.uint16)), Image.fromarray(np.round(wide).astype(np.uint8))]
    found = infer(pair, model, processor, rule)
    assert found.scores[0] == pytest.approx(found.scores[1], rel=0.02)


def test_a_rule_of_another_network_is_no_silent_success(judge):
    model, processor, rule = judge
    with pytest.raises(AttributeError, match="no"):
        infer(slices(1, 1), model, processor, replace(rule, layer="no.such.layer"))
