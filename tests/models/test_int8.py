"""Weights of 8 bits: a quarter of the file, and rounded so that the outputs change least."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from brainmri.models.int8 import quantize_weights, rounded
from brainmri.models.onnx import export_onnx
from brainmri.models.sessions import onnx_session


def correlated(count: int, inputs: int) -> np.ndarray:
    """What enters a layer, (inputs, count): few causes in many inputs, as in networks."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(inputs, 4)) @ rng.normal(size=(4, count)) + 0.05 * rng.normal(size=(inputs, count))


def test_gptq_changes_the_outputs_less_than_rounding_to_the_nearest() -> None:
    seen = correlated(500, 32)
    weights = np.random.default_rng(1).normal(size=(24, 32))
    scales = (np.abs(weights).max(axis=1) / 7).astype(np.float32)  # coarse, so that the difference is plain
    wrong = []
    for moments in (None, seen @ seen.T / 500):
        found = rounded(weights, scales, moments)
        assert found.dtype == np.int8
        wrong.append(np.linalg.norm((found * scales[:, None] - weights) @ seen))
    assert wrong[1] < 0.5 * wrong[0]


def test_inputs_without_a_common_cause_are_rounded_to_the_nearest() -> None:
    weights = np.random.default_rng(1).normal(size=(6, 9))
    scales = (np.abs(weights).max(axis=1) / 127).astype(np.float32)
    np.testing.assert_array_equal(rounded(weights, scales, np.eye(9)), rounded(weights, scales, None))
    assert np.abs(rounded(weights, scales, None)).max() == 127


def test_an_input_that_is_always_zero_does_no_harm() -> None:
    moments = np.diag([1.0, 0, 0])
    weights = np.array([[0.5, -0.2, 0.1]])
    assert rounded(weights, np.full(1, 0.1, np.float32), moments).tolist() == [[5, -2, 1]]


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers: list[torch.nn.Module] = [torch.nn.Conv2d(3, 64, 3, stride=2, padding=1), torch.nn.ReLU()]
        layers += [torch.nn.Conv2d(64, 96, 1, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(96, 64, 1)]
        layers += [torch.nn.Conv2d(64, 64, 3, padding=1, groups=64), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
        self.body = torch.nn.Sequential(*layers, torch.nn.Linear(64, 3))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.body(pixel_values)


@pytest.mark.integration
@pytest.mark.parametrize("gptq", [True, False])
def test_a_file_is_smaller_and_says_nearly_the_same(tmp_path: Path, gptq: bool) -> None:
    pixels = torch.randn(8, 3, 32, 32)
    export_onnx(Net().eval(), pixels[:2], tmp_path / "a.onnx", outputs=["logits"], any_batch=True)
    quantize_weights(tmp_path / "a.onnx", tmp_path / "b.onnx", pixels.numpy(), gptq=gptq)
    kinds = [node.op_type for node in onnx.load(tmp_path / "b.onnx").graph.node]
    assert kinds.count("DequantizeLinear") == 2  # the two of one pixel; the others have few weights
    assert (tmp_path / "b.onnx").stat().st_size < 0.5 * (tmp_path / "a.onnx").stat().st_size
    feeds = {"pixel_values": torch.randn(5, 3, 32, 32).numpy()}
    before, after = (onnx_session(tmp_path / name).run(None, feeds)[0] for name in ("a.onnx", "b.onnx"))
    assert 0 < np.abs(before - after).max() < 0.02 * np.abs(before).max()
    quantize_weights(tmp_path / "a.onnx", tmp_path / "c.onnx", pixels.numpy(), gptq=gptq)
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "c.onnx").read_bytes()
