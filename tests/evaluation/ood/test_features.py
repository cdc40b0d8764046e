import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    TimmWrapperConfig,
    TimmWrapperForImageClassification,
)
from transformers.modeling_outputs import ImageClassifierOutput

from brainmri.models.build import OWN_NETWORKS
from brainmri.models.layers import NoClassifierLayer, classifier_layer, features_of

CLASSES = 4
OWN = {
    "plain_cnn": {"image_size": 32, "hidden_size": CLASSES},  # a hidden layer as wide as the classifier
    "six_block_cnn": {},
    "small_resnet": {},
    "backbone_cnn": {"backbone": "test_resnet"},
    "hybrid_cnn_vit": {"image_size": 32},
}


def own(family):
    config, network = OWN_NETWORKS[family]
    return network(config(**OWN[family], num_labels=CLASSES)).eval()


def timm_wrapper(architecture):
    config = TimmWrapperConfig(architecture=architecture, num_labels=CLASSES)
    return TimmWrapperForImageClassification(config).eval()


def transformers_model(model_type, **arguments):
    config = AutoConfig.for_model(model_type, num_labels=CLASSES, image_size=32, **arguments)
    return AutoModelForImageClassification.from_config(config).eval()


TINY_VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
MODELS = {
    **{family: (lambda family=family: own(family)) for family in OWN},
    **{name: (lambda name=name: timm_wrapper(name)) for name in ("test_resnet", "test_vit", "test_efficientnet")},
    "vit": lambda: transformers_model("vit", patch_size=8, **TINY_VIT),
    "resnet": lambda: transformers_model("resnet", embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1]),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_logits_are_the_last_layer_of_the_features(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    side = 160 if "test_" in name else 64 if name == "six_block_cnn" else 32
    images = torch.randn(3, 3, side, side)
    layer = classifier_layer(model, images)
    with torch.no_grad(), features_of(model, layer) as seen:
        logits = model(pixel_values=images).logits
        model(pixel_values=images[:1])
    assert [len(features) for features in seen] == [3, 1]
    last = model.get_submodule(layer)
    expected = last.weight.reshape(CLASSES, -1) @ seen[0].T + last.bias[:, None]
    assert torch.allclose(expected.T, logits, atol=1e-5)
    assert not last._forward_pre_hooks  # nobody watches any more


class TwoHeads(nn.Module):
    """As DeiT has them: the logits are the mean of two classifiers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(12, CLASSES), nn.Linear(12, CLASSES)

    def forward(self, pixel_values):
        flat = pixel_values.flatten(1)
        return ImageClassifierOutput(logits=(self.first(flat) + self.second(flat)) / 2)


class Convolution(nn.Module):
    """A classifier that is a convolution of a 1x1 map."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, CLASSES, 1)

    def forward(self, pixel_values):
        return ImageClassifierOutput(logits=self.head(pixel_values.mean((2, 3), keepdim=True)).flatten(1))


def test_a_network_without_one_last_layer_says_so():
    with pytest.raises(NoClassifierLayer, match="TwoHeads has no single last layer"):
        classifier_layer(TwoHeads(), torch.randn(2, 3, 2, 2))


def test_a_convolution_may_be_the_last_layer():
    model, images = Convolution(), torch.randn(2, 3, 4, 4)
    assert classifier_layer(model, images) == "head"
    with features_of(model, "head") as seen:
        model(images)
    assert torch.allclose(seen[0], images.mean((2, 3)))
